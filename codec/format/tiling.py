"""The geometry of tiles: which pixels and latents belong to which tile. Integers only.

A picture is cut into square tiles. The last row and column of tiles may be smaller. The latents of
a tile are coded separately, so a tile can be decoded separately. The transforms run over the
*window* of a tile, which is the tile and a halo of neighbouring latents. Therefore no seams appear
between tiles. A window depends only on the size of the picture and on the tile. Therefore decoding
a region gives the same pixels as decoding the whole picture.
"""

from __future__ import annotations

import dataclasses

LATENT = 16
"""Side of a latent in pixels."""


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle of rows top…bottom and columns left…right, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """The row slice and the column slice."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def overlaps(self, other: Box) -> bool:
        """Whether both boxes have a position in common."""
        common = self.intersection(other)
        return common.height > 0 and common.width > 0

    def intersection(self, other: Box) -> Box:
        """Return the part that both boxes have in common; without one, a side is not positive."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def scaled(self, factor: int) -> Box:
        """Return the box with every edge multiplied by `factor`, to convert latents to pixels."""
        return Box(*(edge * factor for edge in dataclasses.astuple(self)))

    def relative_to(self, other: Box) -> Box:
        """Return the same box relative to the top left corner of `other`."""
        return Box(
            self.top - other.top,
            self.left - other.left,
            self.bottom - other.top,
            self.right - other.left,
        )


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of latents that cover a picture, which is padded to them."""
    return -(-height // LATENT), -(-width // LATENT)


def tile_count(height: int, width: int, tile: int) -> int:
    """Return the number of tiles of `tile`×`tile` pixels that cover a picture."""
    return -(-height // tile) * -(-width // tile)


def tiles(height: int, width: int, tile: int) -> list[Box]:
    """Return the latents of each tile in row order; `tile` is in pixels, a multiple of 64."""
    return [tile_box(number, height, width, tile) for number in range(tile_count(height, width, tile))]


def tile_box(number: int, height: int, width: int, tile: int) -> Box:
    """Return the latents of one tile: `tiles(…)[number]`."""
    rows, columns = latent_size(height, width)
    step = tile // LATENT
    row, column = divmod(number, -(-width // tile))
    top, left = row * step, column * step
    return Box(top, left, min(top + step, rows), min(left + step, columns))


def window(box: Box, halo: int, height: int, width: int) -> Box:
    """Return the latents of a tile and up to `halo` latents around them, within the picture."""
    around = Box(box.top - halo, box.left - halo, box.bottom + halo, box.right + halo)
    return around.intersection(Box(0, 0, *latent_size(height, width)))


def tiles_within(box: Box, height: int, width: int, tile: int) -> list[int]:
    """Return the numbers of the tiles that share latents with `box`, in row order."""
    columns, step = -(-width // tile), tile // LATENT
    return [
        row * columns + column
        for row in range(box.top // step, -(-box.bottom // step))
        for column in range(box.left // step, -(-box.right // step))
    ]


def covering(region: Box) -> Box:
    """Return the latents that cover a region of pixels."""
    return Box(
        region.top // LATENT, region.left // LATENT, -(-region.bottom // LATENT), -(-region.right // LATENT)
    )
