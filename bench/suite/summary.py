"""Results of a benchmark as one dictionary for JSON: means, figures per picture, BD-rates."""

from __future__ import annotations

import dataclasses
import datetime
import statistics
from collections.abc import Sequence
from typing import Any

from .anchors import PREFIX, Published, fingerprint, published
from .environment import environment
from .measure import cores
from .metrics import METRICS, Metric, bd_rate, ms_ssim_db
from .pictures import Picture, Skipped
from .results import Record, Store
from .run import Entry

Summary = dict[str, Any]

SPEEDS = ("encode_mps_1", "decode_mps_1", "encode_mps_all", "decode_mps_all")
FIGURES = ("bpp", "mse", "psnr_rgb", "psnr_y", "ms_ssim", "ms_ssim_db", "ssimulacra2")


def summarise(
    title: str, command: str, entries: Sequence[Entry], pictures: Sequence[Picture],
    skipped: Sequence[Skipped], store: Store, anchors: Sequence[str] = (),
) -> Summary:
    """Everything that the tables, the files and the report show. `anchors` are shown first."""
    exact = exactly_kept(entries, pictures, store)
    # Their 100 dB at any setting would dominate every mean.
    compared = [picture for picture in pictures if picture.name not in exact] or list(pictures)
    codecs = [
        _codec(entry, pictures if entry.baseline.lossless else compared, pictures, store) for entry in entries
    ]
    codecs += [published_codec(curve) for curve in published(fingerprint(pictures))]
    return {
        "title": title,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "fingerprint": fingerprint(pictures),
        "environment": environment(),
        "pictures": [
            {"name": p.name, "width": p.width, "height": p.height,
             "note": "; ".join(filter(None, (p.note, exact.get(p.name)))) or None}
            for p in pictures
        ],
        "skipped": [dataclasses.asdict(item) for item in skipped],
        "metrics": [{"key": m.key, "label": m.label, "unit": m.unit} for m in METRICS],
        "codecs": codecs,
        "bd_rate": bd_rates(codecs, anchors),
    }


def exactly_kept(entries: Sequence[Entry], pictures: Sequence[Picture], store: Store) -> dict[str, str]:
    """Pictures (flat ones) that a lossy codec reproduces exactly at some setting.

    The value is a note that names the codec.
    """
    kept = {}
    for picture in pictures:
        for entry in entries:
            records = (store.get(entry.identity(picture, setting)) or {} for setting in entry.settings)
            if not entry.baseline.lossless and any(record.get("mse") == 0 for record in records):
                kept[picture.name] = f"not in the curves: {entry.baseline.label} reproduces it exactly"
                break
    return kept


def _codec(
    entry: Entry, pictures: Sequence[Picture], everything: Sequence[Picture], store: Store
) -> dict[str, Any]:
    baseline = entry.baseline
    about: dict[str, Any] = {
        "name": baseline.name, "label": baseline.label, "ours": baseline.ours,
        "kind": "lossless" if baseline.lossless else "lossy",
        "version": entry.version, "settings": baseline.describe, "unavailable": entry.unavailable,
        "failures": [], "memory": None, "points": [],
    }
    if entry.unavailable:
        return about
    memory = store.get(entry.memory_identity(everything)) or {}
    about["memory"] = memory.get("memory")
    if "error" in memory:
        about["failures"].append({"picture": "peak memory", "setting": "", "error": memory["error"]})
    for setting in entry.settings:
        records = [store.get(entry.identity(picture, setting)) for picture in pictures]
        whole = []
        for picture, record in zip(pictures, records, strict=True):
            if record is None or "error" in record:
                error = "not measured" if record is None else record["error"]
                about["failures"].append(
                    {"picture": picture.name, "setting": f"{setting:g}", "error": error}
                )
            else:
                whole.append((picture, record))
        if len(whole) == len(pictures):  # a mean over fewer pictures does not belong to this curve
            about["points"].append(_point(f"{setting:g}", whole))
    return about


def _point(setting: str, whole: Sequence[tuple[Picture, Record]]) -> dict[str, Any]:
    figures = {picture.name: _figures(picture, record) for picture, record in whole}
    return {"setting": setting, "mean": _means(whole, list(figures.values())), "pictures": figures}


def _figures(picture: Picture, record: Record) -> dict[str, float | None]:
    values = {name: record.get(name) for name in FIGURES}
    values |= {"bytes": record["bytes"], "bpp": 8 * record["bytes"] / picture.pixels}
    return values | _speeds(picture, record)


def _means(
    whole: Sequence[tuple[Picture, Record]], rows: list[dict[str, float | None]]
) -> dict[str, float | None]:
    """Arithmetic means over pictures. Speeds are medians, because a busy machine causes outliers.

    A measure that one of the pictures lacks has no mean, because that mean would be over other
    pictures than the mean of the rate.
    """
    means: dict[str, float | None] = {}
    for name in FIGURES:
        known = [value for row in rows if (value := row[name]) is not None]
        means[name] = statistics.fmean(known) if len(known) == len(rows) else None
    structure = means["ms_ssim"]  # in dB of the mean, as in the literature
    means["ms_ssim_db"] = None if structure is None else ms_ssim_db(structure)
    means["bytes"] = sum(record["bytes"] for _, record in whole)
    for work in ("encode_s", "decode_s"):
        means[work] = statistics.fmean(record[work][str(cores())] for _, record in whole)
    for name in SPEEDS:
        known = [value for row in rows if (value := row[name]) is not None]
        means[name] = statistics.median(known) if known else None
    return means


def _speeds(picture: Picture, record: Record) -> dict[str, float | None]:
    """Megapixels per second on one core and on all cores."""
    speeds: dict[str, float | None] = {}
    for work in ("encode", "decode"):
        for label, count in (("1", 1), ("all", cores())):
            seconds = record[f"{work}_s"].get(str(count))
            speeds[f"{work}_mps_{label}"] = picture.pixels / 1e6 / seconds if seconds else None
    return speeds


def published_codec(curve: Published) -> dict[str, Any]:
    """A published curve in the form of a codec of the summary."""
    return {
        "name": curve.name, "label": curve.name.removeprefix(PREFIX), "ours": False,
        "kind": "published", "version": curve.source, "settings": curve.measured, "unavailable": None,
        "failures": [], "memory": None,
        "points": [{"setting": None, "mean": point, "pictures": {}} for point in curve.points],
    }


def bd_rates(codecs: Sequence[dict[str, Any]], first: Sequence[str] = ()) -> dict[str, Any]:
    """BD-rates of every lossy codec against every other, in every metric that both have.

    The anchors in `first` come first.
    """
    curves = [codec for codec in codecs if codec["kind"] != "lossless" and codec["points"]]
    rows = []
    for anchor in curves:
        for metric in METRICS:
            base = _curve(anchor, metric)
            for codec in curves:
                curve = _curve(codec, metric)
                if codec is not anchor and base and curve:
                    value = bd_rate(base, curve, metric.min_overlap)
                    rows.append({"anchor": anchor["name"], "metric": metric.key, "codec": codec["name"],
                                 **dataclasses.asdict(value)})
    curves.sort(key=lambda codec: first.index(codec["name"]) if codec["name"] in first else len(first))
    return {"anchors": [{"name": c["name"], "label": c["label"]} for c in curves], "rows": rows}


def _curve(codec: dict[str, Any], metric: Metric) -> list[tuple[float, float]]:
    """Curve of a codec in a metric. Empty if a point lacks the metric."""
    means = [point["mean"] for point in codec["points"]]
    values = [(mean["bpp"], mean.get(metric.key)) for mean in means]
    return [] if any(value is None for _, value in values) else values
