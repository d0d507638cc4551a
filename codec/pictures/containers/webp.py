"""WebP: chunks of a RIFF file."""

from __future__ import annotations

from typing import Any, BinaryIO

from codec.pictures.containers.found import Found, printable, read_at, say_rest, size_of

_LAYOUT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
_KINDS = {b"ICCP": ("icc", "ICC profile"), b"EXIF": ("exif", "EXIF"), b"XMP ": ("xmp", "XMP")}
_MAX_CHUNKS = 1 << 18


def read(file: BinaryIO, image: Any, found: Found) -> None:
    size = size_of(file)
    end, at = min(size, 8 + int.from_bytes(read_at(file, 4, 4), "little")), 12
    for _ in range(_MAX_CHUNKS):
        head = read_at(file, at, 8)
        if at + 8 > end or len(head) < 8:
            say_rest(file, end, found)
            return
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        if kind in _KINDS:
            found.keep(_KINDS[kind][0], read_at(file, at + 8, length), _KINDS[kind][1])
        elif kind not in _LAYOUT:
            found.say(f"WebP chunk {printable(kind)!r}")
        at += 8 + length + length % 2
    raise ValueError(f"more than {_MAX_CHUNKS} chunks")
