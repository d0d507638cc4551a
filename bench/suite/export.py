"""Result files: JSON in the format of CompressAI's benchmark, CSV with one row per measurement."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from codec.pictures.atomic import write_atomically

from .measure import cores
from .summary import FIGURES, SPEEDS, Summary

_COLUMNS = {
    "bpp": "bpp", "mse": "mse", "psnr_rgb": "psnr-rgb", "psnr_y": "psnr-y", "ms_ssim": "ms-ssim-rgb",
    "ssimulacra2": "ssimulacra2", "encode_s": "encoding_time", "decode_s": "decoding_time",
}
"""Our names and CompressAI's. CompressAI's plots read `bpp`, `psnr-rgb` and `ms-ssim-rgb`."""


def write_json(summary: Summary, folder: Path) -> list[Path]:
    """Write one file per codec that ran: name, description, results by setting, environment."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for codec in summary["codecs"]:
        if codec["kind"] == "published" or not codec["points"]:
            continue
        path = folder / (codec["name"].replace("/", "_").replace(":", "-") + ".json")
        text = json.dumps(compressai(codec, summary), indent=1, ensure_ascii=False) + "\n"
        write_atomically(path, text.encode())
        written.append(path)
    return written


def compressai(codec: dict[str, Any], summary: Summary) -> dict[str, Any]:
    """Results of a codec in the format of CompressAI.

    Times are mean seconds per picture on all cores.
    """
    means = [point["mean"] for point in codec["points"]]
    megapixels = sum(p["width"] * p["height"] for p in summary["pictures"]) / 1e6
    results: dict[str, list[Any]] = {theirs: [m[ours] for m in means] for ours, theirs in _COLUMNS.items()}
    return {
        "name": codec["label"],
        "codec": codec["name"],
        "ours": codec["ours"],
        "description": f"{codec['version']}; {codec['settings']}",
        "results": results,
        "settings": [point["setting"] for point in codec["points"]],
        "megapixels_per_second": {name: [m[name] for m in means] for name in SPEEDS},
        "peak_memory_mib": codec["memory"],
        "lossless": codec["kind"] == "lossless",
        "pictures": {
            "set": summary["title"], "fingerprint": summary["fingerprint"],
            "count": len(summary["pictures"]), "megapixels": megapixels,
        },
        "environment": summary["environment"],
    }


def write_csv(summary: Summary, path: Path) -> None:
    """Write one row per picture, codec and setting.

    Failures, unavailable codecs and skipped files also get a row each.
    """
    columns = ["codec", "version", "setting", "picture", "bytes", *FIGURES, *SPEEDS, "cores", "error"]
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", restval="")
    writer.writeheader()
    for codec in summary["codecs"]:
        about = {"codec": codec["name"], "version": codec["version"], "cores": cores()}
        for point in codec["points"]:
            for picture, figures in point["pictures"].items():
                writer.writerow({**about, "setting": point["setting"], "picture": picture, **figures})
        for failure in codec["failures"]:
            writer.writerow({**about, **failure})
        if codec["unavailable"]:
            writer.writerow({**about, "error": codec["unavailable"]})
    for item in summary["skipped"]:
        writer.writerow({"picture": item["name"], "error": item["reason"]})
    write_atomically(path, out.getvalue().encode())
