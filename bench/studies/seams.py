"""Test whether tile edges are visible: PSNR of the same pixels coded with and without tile edges.

    python -m bench.studies.seams PHOTOGRAPHS [--held-out] [--model mse]

Crops of PHOTOGRAPHS are coded in several tiles and as one tile. The difference in PSNR is the cost
of tiling. It is measured within 8 pixels of the tile edges and elsewhere. The cost at the edges
must not be higher.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import codec
from codec.engine.encoding import encode_pictures
from codec.pictures.picture import to_picture
from codec.training.data import list_images, read_rgb, split

_NEAR = 8
_ONE_TILE = 4096


def near_edges(height: int, width: int, tile: int) -> NDArray[np.bool_]:
    """H×W bool, True within 8 pixels of an edge between tiles."""

    def line(length: int) -> NDArray[np.bool_]:
        near = np.zeros(length, bool)
        for edge in range(tile, length, tile):
            near[edge - _NEAR : edge + _NEAR] = True
        return near

    return line(height)[:, None] | line(width)[None]


def squared_error(
    worker: codec.Codec, image: NDArray[np.uint8], level: int, tile: int
) -> NDArray[np.float64]:
    """H×W squared error, mean over channels, of `image` coded in tiles of the given side."""
    data = encode_pictures(worker._loaded, [to_picture(image)], level, tile)[0]
    error: NDArray[np.float64] = np.square(worker.decompress(data).astype(np.float64) - image).mean(2)
    return error


@click.command()
@click.argument("photographs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--held-out", is_flag=True, help="Use only the pictures that training on the folder holds out.")
@click.option("--side", default=768, show_default=True,
              help="Side of the centre crops. Smaller pictures are skipped.")
@click.option("--tile", "tiles", default=(256,), multiple=True, show_default=True, help="Side of the tiles.")
@click.option("--most", default=12, show_default=True, help="Maximum number of pictures.")
@click.option("--model", help="Shipped model or weights file.")
def main(
    photographs: Path, held_out: bool, side: int, tiles: tuple[int, ...], most: int, model: str | None
) -> None:
    """Compare pictures coded in tiles with the same pictures coded as one tile."""
    files = list_images(photographs)
    files = split(files)[1] if held_out else files
    worker = codec.Codec(model=model)
    table = Table(title="PSNR in tiles minus PSNR in one tile (dB)")
    for column in ("tile", "quality", "pictures", "near edges", "elsewhere", "edges minus elsewhere"):
        table.add_column(column, justify="right")
    crops: list[NDArray[np.uint8]] = []
    for path in files:
        image = read_rgb(path)
        top, left = ((length - side) // 2 for length in image.shape[:2])
        if min(top, left) >= 0 and len(crops) < most:
            crops.append(np.ascontiguousarray(image[top : top + side, left : left + side]))
    if not crops:
        raise click.ClickException(f"no picture has at least {side}×{side} pixels")
    for tile in tiles:
        near = near_edges(side, side, tile)
        for level in (256, 512, 768):
            sums = np.zeros((2, 2))  # tiled or not; near or elsewhere
            for crop in crops:
                for row, size in enumerate((tile, _ONE_TILE)):
                    error = squared_error(worker, crop, level, size)
                    sums[row] += error[near].mean(), error[~near].mean()
            edges, elsewhere = 10 * np.log10(sums[1] / sums[0])
            values = [f"{value:+.4f}" for value in (edges, elsewhere, edges - elsewhere)]
            table.add_row(str(tile), f"{level * 100 / 1024:g}", str(len(crops)), *values)
    Console().print(table)


if __name__ == "__main__":
    main()
