"""JPEG: segments before and between the scans, and what follows the end of the picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from codec.pictures.containers import mpf, photoshop
from codec.pictures.containers.found import Found, has_rest, printable, read_at, say_rest, text_of

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_ICC = b"ICC_PROFILE\0"
_PHOTOSHOP = b"Photoshop 3.0\0"
_NAMES = [
    (0xE0, b"JFXX\0", "thumbnail (JFXX)"), (0xE1, _EXTENDED_XMP, "extended XMP"),
    (0xE2, b"FPXR\0", "FlashPix data (APP2)"), (0xE2, b"urn:iso:std:iso:ts:21496", "gain map"),
    (0xE8, b"SPIFF\0", "SPIFF header (APP8)"), (0xEB, b"JP", "JUMBF boxes (APP11)"),
    (0xEB, b"HDR_RI", "HDR data (APP11)"), (0xEC, b"Ducky", "Photoshop quality (APP12)"),
    (0xEC, b"Picture", "picture information (APP12)"),
]

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker in entropy-coded data or after fill bytes."""

_PIECE = 1 << 20
_MAX_SEGMENTS = 1 << 16

_EOI, _SOS = 0xD9, 0xDA

_MOTION = re.compile(rb"(MotionPhoto|MicroVideo)\W{1,4}1\b")
"""The part of XMP that states a video behind the picture."""
_SAMSUNG_VIDEO = b"MotionPhoto_Data"


def read(file: BinaryIO, image: Any, found: Found) -> None:
    """Read the segments of a JPEG file. Its further pictures are counted by `further`."""
    profile: dict[int, bytes] = {}
    parts = end = 0
    for marker, start, length in _segments(file):
        if marker == _EOI:
            end = start
        elif marker == 0xFE:
            content = read_at(file, start, length).removesuffix(b"\0")
            found.keep_text("Comment", text_of(content), "JPEG comment")
        elif 0xE0 <= marker <= 0xEF:
            data = read_at(file, start, length)
            if marker == 0xE2 and data.startswith(_ICC) and length > 14:
                profile.setdefault(data[12], data[14:])
                parts = data[13]
            elif not (marker == 0xE2 and data.startswith(mpf.SIGNATURE)):
                _application(marker, data, found)
    if profile:
        if sorted(profile) == list(range(1, parts + 1)):
            found.keep("icc", b"".join(profile[number] for number in sorted(profile)), "ICC profile")
        else:
            found.say("incomplete ICC profile")
    further = further_pictures(file)
    if mpf.describes_gain_map(found.xmp) or any(one.is_gain_map for one in further):
        found.say("gain map")
    if end:
        _rest(file, max([end, *(one.end for one in further)]), found)


def further_pictures(file: BinaryIO) -> list[mpf.Further]:
    """Return the pictures that follow the first one, as the index (MPF) of a JPEG file states."""
    index, has_gain_map = None, False
    for marker, start, length in _segments(file):
        if marker in (_SOS, _EOI):
            break
        if marker in (0xE1, 0xE2):
            data = read_at(file, start, length)
            has_gain_map |= mpf.describes_gain_map(data)
            if index is None and data.startswith(mpf.SIGNATURE):
                index = start + len(mpf.SIGNATURE), data.removeprefix(mpf.SIGNATURE)
    return mpf.pictures(file, *index, has_gain_map) if index else []


def _segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment, and the position and length of its content."""
    at = 2
    for _ in range(_MAX_SEGMENTS):
        head = read_at(file, at, 4)
        if head[:2] == b"\xff\xff":  # fill bytes
            at = _next_marker(file, at)
            head = read_at(file, at, 4)
        if len(head) < 2 or head[0] != 0xFF:
            return
        marker = head[1]
        if marker == _EOI:
            yield marker, at + 2, 0
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        length = int.from_bytes(head[2:], "big")
        if length < 2:
            return
        yield marker, at + 4, length - 2
        at += 2 + length
        if marker == _SOS:
            at = _next_marker(file, at)
    raise ValueError(f"more than {_MAX_SEGMENTS} segments")


def _next_marker(file: BinaryIO, at: int) -> int:
    """Return the position of the first marker from `at` on, or the end of the file."""
    size = 1 << 12
    while len(piece := read_at(file, at, size)) > 1:
        match = _MARKER.search(piece)
        if match:
            return at + match.start()
        at += len(piece) - (piece[-1:] == b"\xff")
        size = min(2 * size, _PIECE)
    return at + len(piece)


def _application(marker: int, data: bytes, found: Found) -> None:
    if marker == 0xE0 and data.startswith(b"JFIF\0") and len(data) >= 12:
        _density(data, found)
    elif marker == 0xE1 and data.startswith(b"Exif\0"):
        if found.exif is None:
            found.keep("exif", data[6:], "EXIF")
        else:  # EXIF in several segments, as Pillow reads it
            found.exif += data[6:]
    elif marker == 0xE1 and data.startswith(_XMP):
        found.keep("xmp", data.removeprefix(_XMP), "XMP")
    elif marker == 0xED and data.startswith(_PHOTOSHOP):
        for name in photoshop.names(data.removeprefix(_PHOTOSHOP)) or ["Photoshop data (APP13)"]:
            found.say(name)
    elif marker == 0xEE and data.startswith(b"Adobe"):
        pass  # the colour transform of the pixels
    else:
        named = [name for app, start, name in _NAMES if app == marker and data.startswith(start)]
        signature = data.split(b"\0")[0][:16]
        label = f" {printable(signature)!r}" if signature.isascii() and signature else ""
        found.say(named[0] if named else f"JPEG segment APP{marker & 15}{label}")


def _density(data: bytes, found: Found) -> None:
    unit, x, y = data[7], int.from_bytes(data[8:10], "big"), int.from_bytes(data[10:12], "big")
    if unit in (1, 2):
        found.keep_resolution(x, y, unit + 1)
    elif x != y:
        found.say(f"pixels of the aspect ratio {y}:{x} (JFIF)")
    if data[12:14] not in (b"", b"\0\0"):
        found.say("thumbnail (JFIF)")


def _rest(file: BinaryIO, at: int, found: Found) -> None:
    """Say what follows the pictures. A video, and a gain map that no index states, have names."""
    rest = read_at(file, at, _PIECE)
    stated = found.xmp is not None and _MOTION.search(found.xmp) and has_rest(file, at)
    if stated or rest[4:8] == b"ftyp" or _SAMSUNG_VIDEO in rest:
        found.say("motion photo (video)")
    elif not (rest.startswith(b"\xff\xd8") and "gain map" in found.lost):
        say_rest(file, at, found)
