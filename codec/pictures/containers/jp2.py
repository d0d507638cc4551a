"""JPEG 2000: the boxes of JP2 and JPX files, and the comments of the codestream."""

from __future__ import annotations

import fractions
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from codec.pictures.containers.boxes import boxes, keep_code_points
from codec.pictures.containers.found import Found, printable, read_at, size_of

_LAYOUT = {b"jP  ", b"ftyp", b"jp2c", b"ihdr", b"bpcc", b"pclr", b"cmap", b"cdef", b"rreq", b"ftbl", b"free"}
"""Boxes that describe pixels or the file."""

_NAMES = {b"xml ": "JP2 XML box", b"jp2i": "intellectual property (jp2i)", b"uinf": "UUID information (uinf)",
          b"asoc": "associations (asoc)", b"lbl ": "label (lbl)", b"resd": "display resolution (resd)"}

_UUIDS = {
    "be7acfcb97a942e89c71999491e3afac": "XMP", "4a706754696666457869662d3e4a5032": "EXIF",
    "33c7a4d2b81d4723a0baf1a3e097ad38": "IPTC", "b14bf8bd083d4b43a5ae8cd7d5a6ce03": "GeoJP2 tags",
    "96a9f1f1dc98402da7aed68e34451809": "world file",
}

_SPACES = {12: "CMYK", 14: "CIELab", 20: "e-sRGB", 21: "ROMM-RGB", 24: "e-sYCC"}
_DEFAULT_SPACES = (0, 15, 16, 17, 18)
"""Bilevel, sRGB, gray with the curve of sRGB, and sYCC: what samples mean without a statement."""

_HELD = {b"": b"jp2h", b"jp2h": b"res "}
"""Boxes that hold boxes, by the box that holds them."""

_ENCODER = b"Created by OpenJPEG"


def read(file: BinaryIO, image: Any, found: Found) -> None:
    end = size_of(file)
    if read_at(file, 0, 4) == b"\xff\x4f\xff\x51":
        _codestream(file, 0, end, found)
    else:
        _boxes(file, 0, end, b"", found)


def _boxes(file: BinaryIO, at: int, end: int, inside: bytes, found: Found) -> None:
    for kind, start, stop in boxes(file, at, end):
        if kind == _HELD.get(inside):
            _boxes(file, start, stop, kind, found)
        elif kind == b"colr":
            _colour(read_at(file, start, stop - start), found)
        elif kind == b"resc":
            _resolution(read_at(file, start, stop - start), found)
        elif kind == b"uuid":
            _uuid(read_at(file, start, stop - start), found)
        elif kind == b"jp2c":
            _codestream(file, start, stop, found)
        elif kind not in _LAYOUT:
            found.say(_NAMES.get(kind) or f"JP2 box {printable(kind)!r}")


def _colour(data: bytes, found: Found) -> None:
    method, content = data[:1], data[3:]
    if method in (b"\2", b"\3"):
        found.keep("icc", content, "ICC profile")
    elif method == b"\5":
        keep_code_points(content, found)
    elif method != b"\1":
        found.say(f"colour of method {data[0] if data else 'none'} (colr)")
    else:
        space = int.from_bytes(content[:4], "big")
        if space not in _DEFAULT_SPACES:
            found.say(f"colour space {_SPACES.get(space, space)} (colr)")


def _resolution(data: bytes, found: Found) -> None:
    try:
        down, per_down, right, per_right, down_power, right_power = struct.unpack(">HHHHbb", data[:10])
        x = fractions.Fraction(right, per_right) * fractions.Fraction(10) ** right_power / 100
        y = fractions.Fraction(down, per_down) * fractions.Fraction(10) ** down_power / 100
    except (struct.error, ZeroDivisionError):
        found.say("resolution (resc) that is not valid")
        return
    found.keep_resolution(x, y, 3)


def _uuid(data: bytes, found: Found) -> None:
    name, content = _UUIDS.get(data[:16].hex()), data[16:]
    if name in ("XMP", "EXIF"):
        found.keep(name.lower(), content, name)
    else:
        found.say(name or f"JP2 UUID box {data[:16].hex()}")


def _codestream(file: BinaryIO, at: int, end: int, found: Found) -> None:
    for content in _comments(file, at + 2, end):
        if content[:2] == b"\0\1" and not content[2:].startswith(_ENCODER):
            found.keep_text("Comment", content[2:].decode("latin-1"), "JPEG 2000 comment")
        elif content[:2] != b"\0\1":
            found.say("JPEG 2000 comment of bytes")


def _comments(file: BinaryIO, at: int, end: int) -> Iterator[bytes]:
    """Yield the comments of the main header."""
    for _ in range(1 << 14):
        head = read_at(file, at, 4)
        if len(head) < 4 or head[0] != 0xFF or head[1] in (0x90, 0x93, 0xD9) or at >= end:
            return
        length = int.from_bytes(head[2:], "big")
        if length < 2:
            return
        if head[1] == 0x64:
            yield read_at(file, at + 4, length - 2)
        at += 2 + length
