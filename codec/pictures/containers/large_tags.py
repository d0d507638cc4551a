"""Tags of TIFF files that are larger than metadata may be, and a file without them.

Pillow reads the content of every tag when it opens a file. A small sparse file may have tags of
gigabytes.
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

from codec import limits
from codec.errors import LimitExceeded
from codec.pictures.containers.found import read_at

_SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}
"""Bytes of a value of each type."""

_POINTERS = (330, 34665, 34853)
"""Tags with the positions of directories: SubIFDs, EXIF and GPS."""

_PLACES = (273, 279, 324, 325)
"""Positions and sizes of strips and tiles. The pixels cannot be read without them."""

OTHER = -1
"""Directories that are not those of the first page."""

_MAX_DIRECTORIES = 2000
_MAX_POINTERS = 16
_MAX_ENTRIES = 1 << 16


@dataclasses.dataclass(frozen=True)
class LargeTag:
    """A tag over the limit."""

    at: int
    """Position of its number of values."""
    width: int
    """Bytes of that number."""
    tag: int
    size: int
    """Bytes of its content."""
    directory: int
    """0 for the first page, the tag that points at one of its directories, or `OTHER`."""


def large_tags(file: BinaryIO) -> list[LargeTag]:
    """Return the tags of all directories that are over the limit.

    Raises `LimitExceeded` for lists of strips or tiles over twice the limit.
    """
    found = []
    for one in _tags(file):
        if one.tag not in _PLACES:
            found.append(one)
        elif one.size > 2 * limits.MAX_METADATA:
            raise LimitExceeded(
                f"the list of strips or tiles (TIFF tag {one.tag}) has {one.size} bytes, over the limit of "
                f"{2 * limits.MAX_METADATA}"
            )
    return found


def without_large_tags(file: BinaryIO) -> BinaryIO:
    """Return a TIFF file in which tags over the limit have no values: `file` if it has none."""
    found = large_tags(file)
    return io.BufferedReader(_Patched(file, found)) if found else file


class _Patched(io.RawIOBase):
    """A file in which the numbers of values of some tags are 0. Closing it leaves `file` open."""

    def __init__(self, file: BinaryIO, tags: list[LargeTag]) -> None:
        self._file = file
        self._places = [(one.at, one.at + one.width) for one in tags]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()  # libtiff would need the whole file in memory without it

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = self._file.seek(offset, whence) if start is None else start + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        self._file.seek(self._at)
        data = bytearray(self._file.read(len(buffer)))
        for start, end in self._places:
            first, last = max(start - self._at, 0), min(end - self._at, len(data))
            if first < last:
                data[first:last] = bytes(last - first)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _tags(file: BinaryIO) -> Iterator[LargeTag]:
    """Yield the tags over the limit of the pages, and of the directories that they point at."""
    head = read_at(file, 0, 16)
    endian: Literal["big", "little"] = "big" if head[:2] == b"MM" else "little"
    big = 43 in head[2:4]
    entry = struct.Struct((">" if endian == "big" else "<") + ("HHQ8s" if big else "HHL4s"))
    width, start = (8, 8) if big else (4, 2)
    waiting, seen = [(int.from_bytes(head[8:16] if big else head[4:8], endian), 0)], set[int]()
    while waiting and len(seen) < _MAX_DIRECTORIES:
        place, directory = waiting.pop(0)
        if place in seen or not place:
            continue
        seen.add(place)
        count = int.from_bytes(_read(file, place, start), endian)
        data = _read(file, place + start, min(count, _MAX_ENTRIES) * entry.size)
        entries = entry.iter_unpack(data[: len(data) // entry.size * entry.size])
        for number, (tag, kind, values, content) in enumerate(entries):
            unit = _SIZES.get(kind, 0)
            size = values * unit
            if size > limits.MAX_METADATA:
                yield LargeTag(place + start + number * entry.size + 4, width, tag, size, directory)
            elif tag in _POINTERS and unit >= 4:
                size = min(size, _MAX_POINTERS * unit)
                if size > width:
                    content = _read(file, int.from_bytes(content, endian), size)
                places = [int.from_bytes(content[at : at + unit], endian) for at in range(0, size, unit)]
                waiting += [(one, OTHER if directory else tag) for one in places]
        after = _read(file, place + start + count * entry.size, width)
        waiting.append((int.from_bytes(after, endian), OTHER))


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    return read_at(file, at, length) if at < 1 << 62 else b""
