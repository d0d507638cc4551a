"""Boxes of ISO media files and of JPEG 2000: a length, a type and a content that may hold boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from codec.pictures.containers.found import Found, read_at

_MAX_BOXES = 1 << 16


def boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box from `at` to `end`, and start and end of its content."""
    for _ in range(_MAX_BOXES):
        head = read_at(file, at, min(16, end - at))
        if len(head) < 8:
            return
        length, start = int.from_bytes(head[:4], "big"), at + 8
        if length == 1 and len(head) == 16:
            length, start = int.from_bytes(head[8:], "big"), at + 16
        stop = end if length == 0 else at + length
        if stop < start or stop > end:
            return
        yield head[4:8], start, stop
        at = stop
    raise ValueError(f"more than {_MAX_BOXES} boxes")


def keep_code_points(data: bytes, found: Found) -> None:
    """Keep the code points of a colour box."""
    if len(data) < 6:
        found.say("colour box (colr) that cannot be read")
    else:
        found.keep_cicp(int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"))
