"""How much of 16 bits comes back: the error of 16-bit photographs, beside that of rounding them to 8 bits.

    python -m bench.deep PHOTOGRAPHS

The photographs are averages of 2×2 pixels of those in the folder, which have more than eight bits.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import codec
from codec.training.data import list_images, read_rgb

QUALITIES = (50, 75, 90, 100)


def halved(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Means of 2×2 pixels in 16 bits."""
    height, width = (length // 2 * 2 for length in image.shape[:2])
    blocks = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).astype(np.float64)
    means: NDArray[np.uint16] = np.round(blocks.mean((1, 3)) * 257).astype(np.uint16)
    return means


def rmse(a: NDArray[np.uint16], b: NDArray[np.float64] | NDArray[np.uint16]) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean(np.square(a.astype(np.float64) - b))))


@click.command()
@click.argument("photographs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--most", default=24, show_default=True, help="At most so many pictures.")
def main(photographs: Path, most: int) -> None:
    """Compress 16-bit pictures at several qualities."""
    images = [halved(read_rgb(path)) for path in list_images(photographs)[:most]]
    worker = codec.Codec()
    table = Table(title=f"Error of {len(images)} 16-bit pictures, of 65,535 (means)")
    for column in ("", "RMSE", "bits per pixel"):
        table.add_column(column, justify="right")
    eight = np.mean([rmse(image, np.round(image / 257) * 257) for image in images])
    table.add_row("rounded to 8 bits", f"{eight:.0f}", "")
    for quality in QUALITIES:
        files = [worker.compress(image, quality=quality, bit_depth=16) for image in images]
        pairs = zip(images, files, strict=True)
        error = np.mean([rmse(image, worker.decompress(data)) for image, data in pairs])
        bits = np.mean([codec.inspect(data).bits_per_pixel for data in files])
        table.add_row(f"quality {quality}", f"{error:.0f}", f"{bits:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
