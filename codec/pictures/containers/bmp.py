"""BMP: resolution, and the colour of headers of version 4 and 5."""

from __future__ import annotations

import fractions
import struct
from typing import Any, BinaryIO

from codec.pictures import colour
from codec.pictures.containers.found import Found, read_at

_V4, _V5 = 108, 124
_SRGB, _WINDOWS, _EMBEDDED, _LINKED = 0x73524742, 0x57696E20, 0x4D424544, 0x4C494E4B
_INTENTS = {1: "saturation", 2: "relative colorimetric", 8: "absolute colorimetric"}


def read(file: BinaryIO, image: Any, found: Found) -> None:
    start = 14 if read_at(file, 0, 2) == b"BM" else 0
    head = read_at(file, start, _V5)
    size = int.from_bytes(head[:4], "little")
    if size < 40 or len(head) < 40:
        return
    x, y = struct.unpack_from("<ii", head, 24)
    if x > 0 and y > 0:
        found.keep_resolution(fractions.Fraction(x, 100), fractions.Fraction(y, 100), 3)
    if size < _V4 or len(head) < _V4:
        return
    (space,) = struct.unpack_from("<I", head, 56)
    if space == _SRGB:
        found.cicp = colour.SRGB
    elif space == 0:
        _calibrated(head, found)
    elif space == _EMBEDDED and size >= _V5 and len(head) == _V5:
        at, length = struct.unpack_from("<II", head, 112)
        profile = read_at(file, start + at, length)
        if length and len(profile) == length:
            found.keep("icc", profile, "ICC profile")
        else:
            found.say("ICC profile that cannot be read")
    elif space == _LINKED:
        found.say("ICC profile in another file")
    elif space != _WINDOWS:
        found.say(f"colour space {space} of the BMP header")
    intent = int.from_bytes(head[108:112], "little") if size >= _V5 else 0
    if intent in _INTENTS:
        found.say(f"rendering intent {_INTENTS[intent]}")


def _calibrated(head: bytes, found: Found) -> None:
    """Keep primaries in CIE XYZ and a gamma for each channel. Most programs write zeros."""
    numbers = [value / (1 << 30) for value in struct.unpack_from("<9I", head, 60)]
    gammas = [value / (1 << 16) for value in struct.unpack_from("<3I", head, 96)]
    if not any(numbers):
        return
    try:
        points = [_chromaticity(numbers[start : start + 3]) for start in (0, 3, 6)]
        white = _chromaticity([sum(numbers[axis::3]) for axis in range(3)])
        curves: list[colour.Curve] = list(gammas) if all(gammas) else [colour.SRGB_CURVE]
        found.keep(*colour.measured(white, points, curves, gray=False), "colour")
    except (ValueError, ArithmeticError):
        found.say("colour (endpoints and gamma) that is not valid")


def _chromaticity(values: list[float]) -> colour.Point:
    return values[0] / sum(values), values[1] / sum(values)
