"""A parser written from FORMAT.md alone reads every golden; the example there is a real file."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codec
from tests.make_goldens import GOLDEN

FORMAT = (Path(codec.__file__).parent / "FORMAT.md").read_text(encoding="utf-8")
FILES = sorted(GOLDEN.glob("v1-*/*.cae"))


def parse(data: bytes) -> dict[str, Any]:
    """FORMAT.md, section Layout, line by line."""

    def varint(position: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value, position

    assert data[:8] == bytes.fromhex("89 43 41 45 0D 0A 1A 0A")
    assert data[8] == 1
    length, at = varint(9)
    end = at + length
    assert zlib.crc32(data[:end]) == int.from_bytes(data[end : end + 4], "little")
    fields: dict[str, Any] = {"mode": data[at]}
    fields["width"], at = varint(at + 1)
    fields["height"], at = varint(at)
    if fields["mode"] < 2:
        fields["model"], at = data[at : at + 6].hex(), at + 6
        fields["level"], at = varint(at)
    unit, at = varint(at)
    side = 64 * unit
    fields["tile_size"] = side
    lengths = []
    crcs = []
    for _ in range(-(-fields["height"] // side) * -(-fields["width"] // side)):
        size, at = varint(at)
        lengths.append(size)
        crcs.append(int.from_bytes(data[at : at + 4], "little"))
        at += 8
    assert at == end
    at += 4
    for size, crc in zip(lengths, crcs, strict=True):
        assert zlib.crc32(data[at : at + size]) == crc
        at += size
    assert at == len(data)
    fields["tiles"] = len(lengths)
    return fields


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_specification_reads_goldens(path: Path) -> None:
    data = path.read_bytes()
    fields = parse(data)
    info = codec.inspect(data)
    assert (fields["width"], fields["height"]) == (info.width, info.height)
    assert (fields["tile_size"], fields["tiles"]) == (info.tile_size, info.tiles)
    assert fields["mode"] == 2 * info.lossless + (info.channels == 3)
    assert fields.get("model") == info.model
    if not info.lossless:
        assert info.quality == round(fields["level"] * 100 / 1024, 1)


def test_the_example() -> None:
    block = FORMAT.split("### Example")[1].split("```")[1]
    digits = re.findall(r"^(?:[0-9A-F]{2} ?)+", block, re.MULTILINE)
    data = bytes.fromhex("".join(digits))
    assert len(data) == 28
    assert parse(data)["mode"] == 2
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
