"""Photoshop image resources, as in PSD, JPEG (APP13), TIFF (34377) and PNG text."""

from __future__ import annotations

import fractions
from collections.abc import Iterator
from typing import Any, BinaryIO

from codec.pictures.containers.found import Found, read_at, size_of

_LAYOUT = {
    1006, 1045,  # names of alpha channels
    1057,  # version of the file
    1061,  # digest of the IPTC
}
"""Resources that only repeat others or name what is not kept anyway."""

_MAX_RESOURCES = 1 << 16


def resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each resource; end at the first that is not valid."""
    at = 0
    for _ in range(_MAX_RESOURCES):
        if data[at : at + 4] not in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR") or at + 12 > len(data):
            return
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        at += 6 + (1 + data[at + 6] + 1) // 2 * 2
        size = int.from_bytes(data[at : at + 4], "big")
        if at + 4 + size > len(data):
            return
        yield number, data[at + 4 : at + 4 + size]
        at += 4 + (size + 1) // 2 * 2


def names(data: bytes) -> list[str]:
    """Return names of the resources beside a picture of another container."""
    numbers = [number for number, _ in resources(data) if number not in _LAYOUT]
    found = ["IPTC"] if 1028 in numbers else []
    return found + (["Photoshop resources"] if set(numbers) - {1028} else [])


def read(file: BinaryIO, image: Any, found: Found) -> None:
    end = size_of(file)
    at = 30 + int.from_bytes(read_at(file, 26, 4), "big")
    size = int.from_bytes(read_at(file, at, 4), "big")
    data = read_at(file, at + 4, min(size, end))
    others = []
    for number, content in resources(data):
        if number == 1039:
            found.keep("icc", content, "ICC profile")
        elif number == 1058:
            found.keep("exif", content, "EXIF")
        elif number == 1060:
            found.keep("xmp", content, "XMP")
        elif number == 1028:
            found.say("IPTC")
        elif number == 1005 and len(content) >= 12:
            x, y = (int.from_bytes(content[start : start + 4], "big") for start in (0, 8))
            found.keep_resolution(fractions.Fraction(x, 1 << 16), fractions.Fraction(y, 1 << 16), 2)
        elif number not in _LAYOUT:
            others.append(number)
    if others:
        found.say("Photoshop resources " + ", ".join(map(str, others[:20])) + ", …" * (len(others) > 20))
