"""The tile index of a header: length and checksums of every payload."""

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
    """Bytes of the payload."""
    payload_crc: int
    """CRC-32 of the payload."""
    content_crc: int
    """CRC-32 of what it decodes to: symbols (int32, little-endian), or samples."""


def make_tile(payload: bytes, content_crc: int) -> Tile:
    """The index entry of a payload."""
    return Tile(len(payload), zlib.crc32(payload), content_crc)


def in_file_order(planes: Sequence[Sequence[_T]]) -> list[_T]:
    """Tile by tile what `Header.planes` has plane by plane."""
    return list(itertools.chain(*zip(*planes, strict=True)))


def write_index(planes: Sequence[Sequence[Tile]]) -> bytes:
    """The entries of all planes (see `Header.planes`), in the order of the file."""
    out = bytearray()
    for tile in in_file_order(planes):
        out += write_varint(tile.length)
        out += tile.payload_crc.to_bytes(4, "little") + tile.content_crc.to_bytes(4, "little")
    return bytes(out)


def read_index(reader: Reader, count: int, planes: int) -> list[tuple[Tile, ...]]:
    """The inverse of `write_index`, for `count` tiles: the entries of each plane. Raises `FormatError`."""
    entries = [Tile(reader.varint(), reader.uint32(), reader.uint32()) for _ in range(planes * count)]
    return [tuple(entries[plane::planes]) for plane in range(planes)]
