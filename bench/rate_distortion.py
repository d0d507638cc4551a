"""Rate and distortion of the codec on a folder of pictures, from real files and decoded pixels.

    python -m bench.rate_distortion FOLDER [--anchors bench/anchors/kodak.json] [--out results.json]

Prints bits per pixel and RGB PSNR, each averaged over pictures, at every quality, and the BD-rate
against each published curve in --anchors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import codec
from bench.metrics import bd_rate, psnr
from codec.training.data import list_images, read_rgb

QUALITIES = tuple(range(0, 101, 10))


def measure(folder: Path, qualities: tuple[float, ...], model: str | None) -> dict[str, Any]:
    """Mean bpp and PSNR at each quality, and the figures of every picture."""
    worker = codec.Codec(model=model)
    images = [(path.name, read_rgb(path)) for path in list_images(folder)]
    rows = []
    for quality in track(qualities, console=Console(stderr=True)):
        pictures = {}
        for name, image in images:
            data = worker.compress(image, quality=quality)
            decoded = worker.decompress(data)
            bpp = 8 * len(data) / (image.shape[0] * image.shape[1])
            pictures[name] = {"bpp": bpp, "psnr_rgb": psnr(image, decoded)}
        means = {key: float(np.mean([p[key] for p in pictures.values()])) for key in ("bpp", "psnr_rgb")}
        rows.append({"quality": quality, **means, "pictures": pictures})
    return {"codec": codec.__version__, "model": worker.model_id, "images": len(images), "rows": rows}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--anchors", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", help="Shipped model or weights file.")
def main(folder: Path, anchors: Path | None, out: Path | None, model: str | None) -> None:
    """Measure the codec on the pictures in FOLDER."""
    result = measure(folder, QUALITIES, model)
    console = Console()
    table = Table(title=f"{result['images']} pictures, model {result['model']}, whole files")
    for name in ("quality", "bpp", "PSNR (dB)"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        table.add_row(f"{row['quality']}", f"{row['bpp']:.4f}", f"{row['psnr_rgb']:.2f}")
    console.print(table)
    if anchors is not None:
        result["bd_rate"] = _compare(console, json.loads(anchors.read_text()), result["rows"])
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1))


def _compare(console: Console, anchors: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    table = Table(title="BD-rate against published curves (negative: fewer bits)")
    for name in ("anchor", "BD-rate", "overlap (dB)"):
        table.add_column(name, justify="right")
    figures = {}
    for name, curve in anchors.items():
        value, (low, high) = bd_rate(
            curve["bpp"], curve["psnr_rgb"],
            [row["bpp"] for row in rows], [row["psnr_rgb"] for row in rows],
        )
        text = "n/a" if value is None else f"{value:+.1f} %"
        table.add_row(name, text, f"{low:.1f}…{high:.1f}")
        figures[name] = {"bd_rate": value, "overlap": [low, high]}
    console.print(table)
    return figures


if __name__ == "__main__":
    main()
