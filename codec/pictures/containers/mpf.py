"""MPF: the index of the further pictures of a JPEG file, which follow the end of the first one.

Cameras add smaller copies, other views, and gain maps (Ultra HDR, ISO 21496-1, Apple).
"""

from __future__ import annotations

import dataclasses
import struct
from typing import BinaryIO

from codec.pictures.containers.found import read_at

SIGNATURE = b"MPF\0"
"""Start of the segment (APP2) of the index. Positions in it count from its end."""

_ENTRIES = 0xB002
"""Tag of the list of pictures. An entry is a kind, a size, a position and two numbers."""
_ENTRY_BYTES = 16
_COPY = 1
"""The first byte of three for a kind of picture that is a smaller copy."""

_HEAD = 1 << 16
_GAIN_MAPS = (b"hdrgm:", b"HDRGainMap", b"hdr-gain-map", b"urn:iso:std:iso:ts:21496")
"""Parts of XMP, and a segment, that describe a gain map."""


@dataclasses.dataclass
class Further:
    """A further picture of a JPEG file."""

    end: int
    is_copy: bool
    is_gain_map: bool


def describes_gain_map(data: bytes | None) -> bool:
    """Whether XMP, or the start of a JPEG file, describes a gain map."""
    return data is not None and any(mark in data for mark in _GAIN_MAPS)


def pictures(file: BinaryIO, at: int, data: bytes, has_gain_map: bool) -> list[Further]:
    """Return the further pictures of an index, without those that the file does not hold.

    `at` is the position of its content, `data`. `has_gain_map` tells that the first picture has a
    gain map: if no picture states that it is one, it is the first that is no copy.
    """
    found = []
    for kind, size, offset in _entries(data):
        head = read_at(file, at + offset, min(size, _HEAD)) if offset else b""
        if head.startswith(b"\xff\xd8"):
            is_copy = kind >> 16 & 0xFF == _COPY
            found.append(Further(at + offset + size, is_copy, describes_gain_map(head)))
    if has_gain_map and not any(one.is_gain_map for one in found):
        first = next((one for one in found if not one.is_copy), None)
        if first is not None:
            first.is_gain_map = True
    return found


def _entries(data: bytes) -> list[tuple[int, int, int]]:
    """Return kind, size and position of the pictures. Returns none if the index is damaged."""
    order = ">" if data[:2] == b"MM" else "<"
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for number in range(count):
            tag, _, size, place = struct.unpack_from(f"{order}HHII", data, start + 2 + 12 * number)
            if tag == _ENTRIES:
                places = range(place, place + size - _ENTRY_BYTES + 1, _ENTRY_BYTES)
                return [struct.unpack_from(f"{order}3I", data, one) for one in places]
    except struct.error:
        pass
    return []
