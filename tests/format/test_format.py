"""FORMAT.md agrees with the package: its example is a valid file, and the limits are the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import codec
from tests.support import layout

FORMAT = (Path(codec.__file__).parent / "format" / "FORMAT.md").read_text(encoding="utf-8")


def test_the_example() -> None:
    block = FORMAT.split("### Example")[1].split("```")[1]
    digits = re.findall(r"^(?:[0-9A-F]{2} ?)+", block, re.MULTILINE)
    data = bytes.fromhex("".join(digits))
    assert len(data) == 28
    assert layout.parse(data)[0].mode == layout.STORED
    picture = codec.decompress(data)
    assert picture.shape == (1, 1)
    assert picture[0, 0] == 200
    assert codec.compress(np.full((1, 1), 200, np.uint8)) == data


def test_limits_are_those_of_the_text() -> None:
    from codec import limits

    assert (limits.DEFAULT.max_pixels, limits.MAX_SIDE) == (2**28, 2**20)
    assert (limits.MAX_TILES, limits.MAX_HEADER) == (2**16, 2**21)
    assert limits.MAX_TILE_SIDE == 64 * 64
    assert limits.MAX_METADATA == 2**24
