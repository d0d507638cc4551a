"""Every limit, with its reason. Limits are checked before anything is allocated."""

from codec.errors import LimitExceeded

MAX_PIXELS = 1 << 28
"""Pixels of one picture (268 million). Decoding holds about 20 bytes a pixel: 5 GB at the limit."""

MAX_SIDE = 1 << 20
"""Width or height. Keeps every product of sizes far from overflow."""

MAX_TILES = 1 << 16
"""Tiles of one picture: bounds the tile index, and so the header."""

MAX_HEADER = 1 << 20
"""Bytes of the header: MAX_TILES entries of at most 13 bytes, and room to spare."""

MAX_TILE_SIDE = 4096
"""Pixels along a tile: bounds the memory that one tile needs."""


def check_size(height: int, width: int) -> None:
    """Raise `LimitExceeded` for a picture that is too large."""
    if max(height, width) > MAX_SIDE:
        raise LimitExceeded(f"side of {max(height, width)} pixels is over {MAX_SIDE}")
    if height * width > MAX_PIXELS:
        raise LimitExceeded(f"{height * width} pixels are over the limit of {MAX_PIXELS}")
