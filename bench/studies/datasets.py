"""Comparison of datasets with folders of JPEG and PNG files: bytes, PSNR, pictures per second.

    python -m bench.studies.datasets PHOTOS [--count 2000] [--side 256] [--quality 60] [--bare]

Pictures are cut out of photographs at half size, so that they are as sharp as those of usual
training sets. They are packed and read back: the folders with Pillow, the dataset with
`codec.data.loader`, as pixels and as latents.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import codec
import codec.data

from ..suite.environment import machine

Pixels = NDArray[np.uint8]


def cut(photos: Path, count: int, side: int) -> Iterator[Pixels]:
    """`count` crops of side × side pixels, equally many from each photograph.

    A fixed seed chooses their positions.
    """
    paths = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    rng = np.random.default_rng(0)
    for number, path in enumerate(paths):
        wanted = (number + 1) * count // len(paths) - number * count // len(paths)
        if not wanted:
            continue
        with PIL.Image.open(path) as image:
            small = np.asarray(image.convert("RGB").reduce(2))
        for _ in range(wanted):
            top = rng.integers(0, max(1, small.shape[0] - side + 1))
            left = rng.integers(0, max(1, small.shape[1] - side + 1))
            found = small[top : top + side, left : left + side]
            yield np.pad(found, ((0, side - found.shape[0]), (0, side - found.shape[1]), (0, 0)), "reflect")


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def squared_error(found: Pixels, wanted: list[Pixels]) -> float:
    """Sum of the mean squared errors of the pictures."""
    return sum(float(np.mean((a.astype(np.float32) - b) ** 2)) for a, b in zip(found, wanted, strict=True))


def psnr(error: float) -> float:
    return 10 * float(np.log10(255**2 / error))


@click.command()
@click.argument("photos", type=click.Path(exists=True, path_type=Path))
@click.option("--count", default=2000, show_default=True)
@click.option("--side", default=256, show_default=True)
@click.option("--quality", "qualities", default=[40.0, 60.0, 75.0], multiple=True, show_default=True)
@click.option("--bare", is_flag=True, help="Also pack bare rows.")
@click.option("--workers", default=2, show_default=True, help="Loader processes for the last column.")
def main(
    photos: Path, count: int, side: int, qualities: tuple[float, ...], bare: bool, workers: int
) -> None:
    """Compare datasets with folders of pictures."""
    pictures = list(cut(photos, count, side))
    pixels = count * side * side
    table = Table(title=f"{count} pictures of {side}×{side}, codec {codec.__version__}; {machine()}")
    speeds = ("write/s", "read/s", f"read/s, {workers} workers", "latents/s")
    for name in ("", "bytes", "of PNG", "bpp", "PSNR", *speeds):
        table.add_column(name, justify="right" if name else "left")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        png = 0
        folders: list[tuple[str, dict[str, Any]]] = [("PNG", {}), ("JPEG", {"quality": 90})]
        for kind, options in folders:
            folder = root / kind
            folder.mkdir()
            began = time.perf_counter()
            for number, picture in enumerate(pictures):
                PIL.Image.fromarray(picture).save(folder / f"{number:05d}.{kind.lower()}", **options)
            wrote = time.perf_counter() - began
            began = time.perf_counter()
            decoded = []
            for file in sorted(folder.iterdir()):
                with PIL.Image.open(file) as image:
                    decoded.append(np.asarray(image))
            read = time.perf_counter() - began
            error = squared_error(np.stack(decoded), pictures) / count
            size = size_of(folder)
            png = png or size
            table.add_row(
                f"{kind}{' 90' if options else ''} folder", f"{size:,}", f"{size / png:.1%}",
                f"{8 * size / pixels:.3f}", f"{psnr(error):.2f}" if error else "exact",
                f"{count / wrote:.0f}", f"{count / read:.0f}", "", "",
            )
        for quality in qualities:
            for rows in (False, True) if bare else (False,):
                out = root / f"set-{quality}-{rows}"
                began = time.perf_counter()
                codec.data.pack(root / "PNG", out, quality=quality, bare=rows)
                wrote = time.perf_counter() - began
                dataset = codec.Dataset(out)
                rates = []
                error = 0.0
                for processes in (0, workers):
                    began, seen = time.perf_counter(), 0
                    for batch in codec.data.loader(dataset, 64, num_workers=processes):
                        images = batch["image"].permute(0, 2, 3, 1).numpy()
                        if processes == 0:
                            error += squared_error(images, pictures[seen : seen + len(images)]) / count
                        seen += len(images)
                    rates.append(count / (time.perf_counter() - began))
                there = [row for row in range(count) if not codec.inspect(dataset.read(row)).lossless]
                began = time.perf_counter()
                for _ in codec.data.loader(dataset, 64, output="latents", sampler=there):
                    pass
                rates.append(len(there) / (time.perf_counter() - began))
                size = size_of(out)
                table.add_row(
                    f"codec {quality:g}{' bare' if rows else ''}", f"{size:,}", f"{size / png:.1%}",
                    f"{8 * size / pixels:.3f}", f"{psnr(error):.2f}", f"{count / wrote:.0f}",
                    *(f"{rate:.0f}" for rate in rates),
                )
                shutil.rmtree(out)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
