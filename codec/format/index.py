"""The tile index of a header: the length and the checksums of every payload."""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Sequence
from typing import TypeVar

from codec.format.fields import Reader, write_varint

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Tile:
    """One entry of the tile index."""

    length: int
    """Length of the payload in bytes."""
    payload_crc: int
    """CRC-32 of the payload."""
    content_crc: int
    """CRC-32 of the decoded content: symbols (int32, little-endian) or samples."""


def make_tile(payload: bytes, content_crc: int) -> Tile:
    """Return the index entry of a payload."""
    return Tile(len(payload), zlib.crc32(payload), content_crc)


def in_file_order(planes: Sequence[Sequence[_T]]) -> list[_T]:
    """Return the items of all planes (see `Header.planes`) tile by tile."""
    return list(itertools.chain(*zip(*planes, strict=True)))


def write_index(planes: Sequence[Sequence[Tile]]) -> bytes:
    """Return the bytes of the entries of all planes (see `Header.planes`), in file order."""
    out = bytearray()
    for tile in in_file_order(planes):
        out += write_varint(tile.length)
        out += tile.payload_crc.to_bytes(4, "little") + tile.content_crc.to_bytes(4, "little")
    return bytes(out)


def read_index(reader: Reader, count: int, planes: int) -> list[tuple[Tile, ...]]:
    """Read the index of `count` tiles. Returns the entries of each plane.

    The inverse of `write_index`. Raises `FormatError`.
    """
    entries = [Tile(reader.varint(), reader.uint32(), reader.uint32()) for _ in range(planes * count)]
    return [tuple(entries[plane::planes]) for plane in range(planes)]
