"""All limits and the reasons for them. Limits are checked before memory is allocated."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

from codec.errors import LimitExceeded

MAX_SIDE = 1 << 20
"""Maximum width or height in pixels. It keeps every product of sizes far from overflow."""

MAX_TILES = 1 << 16
"""Maximum number of tiles of a picture. It bounds the tile index and therefore the header."""

MAX_HEADER = 1 << 21
"""Maximum size of the header in bytes.

Each of up to MAX_TILES entries takes about 11 bytes, or twice as much with alpha. With a residual
layer as well, there is room for about 61,000 tiles (60 gigapixels)."""

MAX_METADATA = 1 << 24
"""Maximum size in bytes of an ICC profile, EXIF or XMP. It is far larger than any camera needs."""

MAX_TILE_SIDE = 4096
"""Maximum side of a tile in pixels. It bounds the memory that one tile needs."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits that a caller sets for one picture. The limits above belong to the format."""

    max_pixels: int = 1 << 28
    """Maximum number of pixels of a picture, or of the decoded region of it (268 million).

    An array of so many pixels takes three bytes per pixel. A file of 200 bytes may require it. Nor
    may the rows of tiles that are held at the same time have more pixels, which take about five
    bytes each: a region of one row of a wide picture needs them. 16 tiles are always allowed."""
    max_tile_pixels: int = 1 << 20
    """Maximum number of pixels of one tile of latents. The encoder writes tiles of 1024² pixels.

    Decoding takes memory in proportion to it."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            number = integer(value, name)
            if number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")
            object.__setattr__(self, name, number)

    def check(self, height: int, width: int) -> None:
        """Raise `LimitExceeded` for a picture or region that is too large."""
        check_side(height, width)
        if height * width > self.max_pixels:
            raise LimitExceeded(f"{height}×{width} pixels are over the limit of {self.max_pixels}")

    def check_tile(self, height: int, width: int) -> None:
        """Raise `LimitExceeded` for a tile of latents that is too large."""
        if height * width > self.max_tile_pixels:
            raise LimitExceeded(
                f"tiles of {height}×{width} pixels are over the limit of {self.max_tile_pixels}"
            )


    def check_rows(self, height: int, width: int) -> None:
        """Raise `LimitExceeded` for rows of tiles of latents that are too large."""
        most = max(self.max_pixels, 16 * self.max_tile_pixels)
        if height * width > most:
            raise LimitExceeded(
                f"tiles of {height}×{width} pixels are needed at the same time, over the limit of {most}: "
                "decode a narrower region, or allow more pixels"
            )


def integer(value: Any, name: str) -> int:
    """Return an integer of Python, NumPy or another library as an int.

    Raises `TypeError`, with `name` in its message, for anything else. A bool is no integer.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None


DEFAULT = Limits()


def check_bytes(size: int, limit: int, what: str) -> None:
    """Raise `LimitExceeded` if a part of a file, named `what`, has more bytes than `limit`."""
    if size > limit:
        raise LimitExceeded(f"{what} of {size} bytes is over the limit of {limit}")


def check_side(height: int, width: int) -> None:
    """Raise `LimitExceeded` for a picture that is too high or too wide for the format."""
    if max(height, width) > MAX_SIDE:
        raise LimitExceeded(f"side of {max(height, width)} pixels is over the limit of {MAX_SIDE}")
