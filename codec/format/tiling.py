"""Which pixels and latents belong to which tile. Pure geometry: integers in, integers out.

A picture is cut into square tiles, the last row and column smaller. A tile's latents are coded
alone, so that it can be decoded alone; the transforms run over the tile's *window*, the tile and a
halo of neighbouring latents, so that tiles leave no seam. A window depends on the picture's size
and the tile only: decoding a region gives the same pixels as decoding everything.
"""

from __future__ import annotations

import dataclasses

LATENT = 16
"""Pixels along a latent."""


@dataclasses.dataclass(frozen=True)
class Box:
    """Rows top…bottom and columns left…right, ends excluded."""

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
        """Row and column slices."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def overlaps(self, other: Box) -> bool:
        """Whether both have something in common."""
        return (
            max(self.top, other.top) < min(self.bottom, other.bottom)
            and max(self.left, other.left) < min(self.right, other.right)
        )

    def intersection(self, other: Box) -> Box:
        """What both have in common; they must overlap."""
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def scaled(self, factor: int) -> Box:
        """Every edge times `factor`: latents to pixels."""
        return Box(*(edge * factor for edge in dataclasses.astuple(self)))

    def relative_to(self, other: Box) -> Box:
        """The same box counted from the top left corner of `other`."""
        return Box(
            self.top - other.top,
            self.left - other.left,
            self.bottom - other.top,
            self.right - other.left,
        )


def latent_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of latents that cover a picture; its edges are padded up to them."""
    return -(-height // LATENT), -(-width // LATENT)


def tile_count(height: int, width: int, tile: int) -> int:
    """Number of tiles of `tile`×`tile` pixels that cover a picture."""
    return -(-height // tile) * -(-width // tile)


def tiles(height: int, width: int, tile: int) -> list[Box]:
    """Latents of each tile in row order; `tile` is in pixels, a multiple of 64."""
    rows, columns = latent_size(height, width)
    step = tile // LATENT
    return [
        Box(top, left, min(top + step, rows), min(left + step, columns))
        for top in range(0, rows, step)
        for left in range(0, columns, step)
    ]


def tile_box(number: int, height: int, width: int, tile: int) -> Box:
    """Latents of one tile: `tiles(…)[number]`."""
    rows, columns = latent_size(height, width)
    step = tile // LATENT
    row, column = divmod(number, -(-width // tile))
    top, left = row * step, column * step
    return Box(top, left, min(top + step, rows), min(left + step, columns))


def window(box: Box, halo: int, height: int, width: int) -> Box:
    """A tile's latents and up to `halo` around them, within the picture."""
    rows, columns = latent_size(height, width)
    return Box(
        max(box.top - halo, 0),
        max(box.left - halo, 0),
        min(box.bottom + halo, rows),
        min(box.right + halo, columns),
    )


def tiles_within(box: Box, height: int, width: int, tile: int) -> list[int]:
    """Numbers of the tiles that share latents with `box`, in row order."""
    columns, step = -(-width // tile), tile // LATENT
    return [
        row * columns + column
        for row in range(box.top // step, -(-box.bottom // step))
        for column in range(box.left // step, -(-box.right // step))
    ]


def covering(region: Box) -> Box:
    """The latents that cover a region of pixels."""
    return Box(
        region.top // LATENT, region.left // LATENT, -(-region.bottom // LATENT), -(-region.right // LATENT)
    )
