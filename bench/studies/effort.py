"""Gain and cost of each effort level in bits, decibels and seconds, measured on real files.

    python -m bench.studies.effort FOLDER [--model mse] [--held-out] [--side 256] [--effort 9 …]
        [--steps 200 …] [--quality 25 …]

BD-rates are relative to effort 3, over the measured qualities (PCHIP over log rate, RGB PSNR).
Times are those of one pass with a fixed number of threads. `bench.studies.speed` measures the other
times of the codec. A model that was trained for MS-SSIM gains less at equal PSNR: its search lowers
another distortion.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import codec
from codec.coding.effort import DEFAULT_EFFORT, EFFORTS, Effort
from codec.engine.encoding import encode_pictures
from codec.engine.goal import quality_level
from codec.pictures.picture import to_picture
from codec.training.data import list_images, split, validation_images

from ..suite.metrics import bd_rate, psnr


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--held-out", is_flag=True, help="Use only the pictures that training on FOLDER holds out.")
@click.option("--side", default=512, show_default=True, help="Maximum side of the centre crops.")
@click.option("--every", default=1, show_default=True, help="Use every N-th picture.")
@click.option("--effort", "efforts", multiple=True, type=click.IntRange(1, 9), default=tuple(EFFORTS))
@click.option("--steps", multiple=True, type=click.IntRange(1), help="Also measure this many search steps.")
@click.option("--quality", "qualities", multiple=True, type=float, default=(10.0, 35.0, 60.0, 85.0))
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@click.option("--model", help="Shipped model or weights file.")
def main(
    folder: Path, held_out: bool, side: int, every: int, efforts: tuple[int, ...], steps: tuple[int, ...],
    qualities: tuple[float, ...], threads: int, model: str | None,
) -> None:
    """Measure effort levels on the pictures in FOLDER."""
    files = list_images(folder)
    files = (split(files)[1] if held_out else files)[::every]
    images = list(validation_images(files, side, most=len(files)))
    worker = codec.Codec(model=model)
    torch.set_num_threads(threads)
    megapixels = sum(image.shape[0] * image.shape[1] for image in images) / 1e6
    table = Table(title=f"{len(images)} pictures, {megapixels:.2f} MP, model {worker.model_id}")
    for name in ("effort", "steps", "bpp", "PSNR (dB)", "bits at equal PSNR", "s/MP"):
        table.add_column(name, justify="right")
    levels = {str(n): EFFORTS[n] for n in (DEFAULT_EFFORT, *efforts)}
    levels |= {f"{n} steps": dataclasses.replace(EFFORTS[max(EFFORTS)], iterations=n) for n in steps}
    reference: list[tuple[float, float]] = []
    for name, effort in levels.items():
        encode_pictures(worker._loaded, [to_picture(images[0])], 500, effort=effort)  # warm up
        start = time.perf_counter()
        packed = [[encode(worker, image, q, effort) for image in images] for q in sorted(qualities)]
        seconds = (time.perf_counter() - start) / megapixels / len(qualities)
        curve = [_point(worker, images, data) for data in packed]
        reference = reference or curve
        change = bd_rate(reference, curve, 0.0).percent
        table.add_row(
            name, str(effort.iterations), " ".join(f"{bpp:.4f}" for bpp, _ in curve),
            " ".join(f"{psnr:.2f}" for _, psnr in curve),
            "" if change is None else f"{change:+.2f} %", f"{seconds:.2f}",
        )
    Console(width=140).print(table)


def encode(worker: codec.Codec, image: np.ndarray, quality: float, effort: Effort) -> bytes:
    """Like `compress`, but with any number of steps."""
    return encode_pictures(worker._loaded, [to_picture(image)], quality_level(quality), effort=effort)[0]


def _point(worker: codec.Codec, images: list[np.ndarray], files: list[bytes]) -> tuple[float, float]:
    """Mean bpp and mean PSNR."""
    points = [
        (8 * len(data) / (image.shape[0] * image.shape[1]), psnr(image, worker.decompress(data)))
        for image, data in zip(images, files, strict=True)
    ]
    bpp, decibels = np.mean(points, axis=0)
    return float(bpp), float(decibels)


if __name__ == "__main__":
    main()
