"""Every limit, with its reason. Limits are checked before anything is allocated."""

from __future__ import annotations

import dataclasses

from codec.errors import LimitExceeded

MAX_SIDE = 1 << 20
"""Width or height. Keeps every product of sizes far from overflow."""

MAX_TILES = 1 << 16
"""Tiles of one picture: bounds the tile index, and so the header."""

MAX_HEADER = 1 << 21
"""Bytes of the header. MAX_TILES entries take 11 or so, twice as much with alpha; with a residual layer too
there is room for some 61,000 tiles, 60 gigapixels."""

MAX_METADATA = 1 << 24
"""Bytes of an ICC profile, EXIF or XMP: far beyond those of any camera."""

MAX_TILE_SIDE = 4096
"""Pixels along a tile: bounds the memory that one tile needs."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a caller is ready to spend on a picture; the limits above are those of the format."""

    max_pixels: int = 1 << 28
    """Pixels of one picture, or of the region that is decoded of it (268 million).

    An array of them takes three bytes each, which a file of 200 bytes may ask for."""
    max_tile_pixels: int = 1 << 20
    """Pixels of one tile of latents: 1024², as our encoder writes them. Each takes about 0.3 kB to decode."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")

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


DEFAULT = Limits()


def check_side(height: int, width: int) -> None:
    """Raise `LimitExceeded` for a picture that is too high or too wide for the format."""
    if max(height, width) > MAX_SIDE:
        raise LimitExceeded(f"side of {max(height, width)} pixels is over {MAX_SIDE}")
