"""Errors and sizes of 16-bit photographs, compared with rounding to 8 bits and with JPEG 2000.

    python -m bench.studies.deep PHOTOGRAPHS [--model mse]

The test pictures are averages of 2×2 pixels of the photographs in the folder. These averages have
more than eight bits. JPEG 2000 is the irreversible mode of OpenJPEG at the smallest size whose RMSE
is no larger. This size is found by bisection for each picture. Needs `codec[deep]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import codec
from codec.training.data import list_images, read_rgb

QUALITIES = (50, 75, 90, 92, 94, 96, 98, 100)


def halved(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Means of 2×2 pixels as 16-bit samples."""
    height, width = (length // 2 * 2 for length in image.shape[:2])
    blocks = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).astype(np.float64)
    means: NDArray[np.uint16] = np.round(blocks.mean((1, 3)) * 257).astype(np.uint16)
    return means


def rmse(a: NDArray[np.uint16], b: NDArray[np.float64] | NDArray[np.uint16]) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean(np.square(a.astype(np.float64) - b))))


def jpeg_2000(image: NDArray[np.uint16], decibels: float) -> bytes:
    """Encode at this PSNR."""
    options: dict[str, Any] = {"level": decibels, "reversible": False, "mct": True}
    return bytes(imagecodecs.jpeg2k_encode(image, **options))


def jpeg_2000_bits(image: NDArray[np.uint16], error: float) -> float:
    """Bits per pixel of the smallest file whose RMSE is at most `error`."""
    low, high = 10.0, 110.0  # in decibels
    size = 0
    while high - low > 0.05:
        middle = (low + high) / 2
        data = jpeg_2000(image, middle)
        if rmse(image, imagecodecs.jpeg2k_decode(data)) <= error:
            high, size = middle, len(data)
        else:
            low = middle
    bits: float = 8 * size / (image.shape[0] * image.shape[1])
    return bits


@click.command()
@click.argument("photographs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--most", default=24, show_default=True, help="Maximum number of pictures.")
@click.option("--model", help="Shipped model or weights file.")
def main(photographs: Path, most: int, model: str | None) -> None:
    """Compress 16-bit pictures at several qualities."""
    images = [halved(read_rgb(path)) for path in list_images(photographs)[:most]]
    worker = codec.Codec(model=model)
    table = Table(title=f"{len(images)} 16-bit pictures: errors on a scale of 65,535, bits per pixel (means)")
    for column in ("", "RMSE", "largest error", "bits", "bits of JPEG 2000"):
        table.add_column(column, justify="right")
    eight = np.mean([rmse(image, np.round(image / 257) * 257) for image in images])
    table.add_row("rounded to 8 bits", f"{eight:.0f}", "128", "", "")
    for quality in QUALITIES:
        files = [worker.compress(image, quality=quality, bit_depth=16) for image in images]
        decoded = [worker.decompress(data) for data in files]
        pairs = list(zip(images, decoded, strict=True))
        errors = [rmse(image, other) for image, other in pairs]
        largest = max(int(np.abs(image.astype(int) - other).max()) for image, other in pairs)
        bits = np.mean([codec.inspect(data).bits_per_pixel for data in files])
        others = [jpeg_2000_bits(image, error) for image, error in zip(images, errors, strict=True)]
        table.add_row(
            f"quality {quality}", f"{np.mean(errors):.0f}", f"{largest:,}", f"{bits:.2f}",
            f"{np.mean(others):.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
