"""What samples mean: code points of ITU-T H.273 (CICP), and ICC profiles made of measured colours.

Chromaticities are pairs (x, y) of CIE 1931. A curve turns a sample, 0 to 1, into light.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
Curve = float | tuple[float, ...] | NDArray[np.uint16]
"""A gamma, parameters (g, a, b, c, d) of ICC's parametric curve 3, or a table of 16-bit values."""

SRGB = bytes([1, 13, 0, 1])
"""Code points of sRGB. A picture without any colour information means the same by convention."""

SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_VIDEO_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)

D65: Point = (0.3127, 0.3290)
_D50 = np.array([0.9642, 1.0, 0.8249])  # white of ICC's connection space
_C: Point = (0.310, 0.316)

SRGB_PRIMARIES: list[Point] = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]

_PRIMARIES: dict[int, tuple[Point, list[Point]]] = {
    1: (D65, SRGB_PRIMARIES),
    4: (_C, [(0.67, 0.33), (0.21, 0.71), (0.14, 0.08)]),
    5: (D65, [(0.64, 0.33), (0.29, 0.60), (0.15, 0.06)]),
    6: (D65, [(0.630, 0.340), (0.310, 0.595), (0.155, 0.070)]),
    7: (D65, [(0.630, 0.340), (0.310, 0.595), (0.155, 0.070)]),
    8: (_C, [(0.681, 0.319), (0.243, 0.692), (0.145, 0.049)]),
    9: (D65, [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)]),
    11: ((0.314, 0.351), [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)]),
    12: (D65, [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)]),
    22: (D65, [(0.630, 0.340), (0.295, 0.605), (0.155, 0.077)]),
}
"""White and primaries by the code point of colour primaries."""

_CURVES: dict[int, Curve] = {
    1: _VIDEO_CURVE, 4: 2.2, 5: 2.8, 6: _VIDEO_CURVE, 8: 1.0, 13: SRGB_CURVE, 14: _VIDEO_CURVE,
    15: _VIDEO_CURVE,
}
"""Curves by the code point of transfer characteristics; PQ and HLG are none that ICC can state."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

_NEAR = 0.002
"""Chromaticities that differ less are the same; files round them to as few as three digits."""


def measured(
    white: Point, primaries: Sequence[Point], curves: Sequence[Curve], *, gray: bool
) -> tuple[str, bytes]:
    """Return the kind of metadata and its value for colour that a file states by numbers.

    That is `cicp` for sRGB and for a gamma of 2.2 with the primaries of sRGB, which stands for it
    in files, and otherwise `icc`. Raises `ValueError` for numbers that no colours have.
    """
    near = all(
        abs(ours - theirs) <= _NEAR
        for point, other in zip([white, *primaries], [D65, *SRGB_PRIMARIES], strict=True)
        for ours, theirs in zip(point, other, strict=True)
    )
    if all(_is_plain(curve) for curve in curves) and (near or gray):
        return "cicp", SRGB
    return "icc", profile(white, primaries, curves, gray=gray)


def _is_plain(curve: Curve) -> bool:
    """Whether a curve is that of sRGB or a gamma of 2.2."""
    if isinstance(curve, float):
        return abs(curve - 2.2) < 0.02
    return isinstance(curve, tuple) and curve == SRGB_CURVE


def profile_of(cicp: bytes, *, gray: bool) -> bytes | None:
    """Return an ICC profile that means the same as code points, or None if there is none."""
    found, curve = _PRIMARIES.get(cicp[0]), _CURVES.get(cicp[1])
    if found is None or curve is None or cicp[2] != 0 or cicp[3] != 1:
        return None
    return profile(*found, [curve], gray=gray)


def profile(
    white: Point, primaries: Sequence[Point], curves: Sequence[Curve], *, gray: bool = False
) -> bytes:
    """Return an ICC profile, version 4, of RGB or gray with one curve for all channels or for each.

    Colours are adapted to D50 as the ICC prescribes (Bradford). Raises `ValueError`.
    """
    source = _xyz(white)
    cones = _BRADFORD @ np.stack([_D50, source], -1)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(cones[:, 0] / cones[:, 1]) @ _BRADFORD
    tags = {
        b"desc": _text("measured colour"), b"cprt": _text("none"),
        b"wtpt": _numbers(b"XYZ ", _D50), b"chad": _numbers(b"sf32", adaptation.ravel()),
    }
    if gray:
        tags[b"kTRC"] = _curve(curves[0])
    else:
        matrix = np.stack([_xyz(point) for point in primaries], -1)
        if abs(np.linalg.det(matrix)) < 1e-4:
            raise ValueError("the primaries lie on a line")
        weights = np.linalg.solve(matrix, source)
        columns = adaptation @ matrix * weights
        for number, name in enumerate((b"r", b"g", b"b")):
            tags[name + b"XYZ"] = _numbers(b"XYZ ", columns[:, number])
            tags[name + b"TRC"] = _curve(curves[number % len(curves)])
    return _assembled(tags, b"GRAY" if gray else b"RGB ")


def _assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    table, body, places = struct.pack(">I", len(tags)), b"", {}
    for name, content in tags.items():
        if content not in places:
            places[content] = start + len(body)
            body += content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", places[content], len(content))
    head = struct.pack(
        ">I4sI4s4s4s6H4s", start + len(body), bytes(4), 0x04300000, b"mntr", space, b"XYZ ",
        2000, 1, 1, 0, 0, 0, b"acsp",
    )
    head = head.ljust(68, b"\0") + _fixed(_D50)
    return head.ljust(128, b"\0") + table + body


def _xyz(point: Point) -> NDArray[np.float64]:
    x, y = point
    if not (1e-5 <= y <= 1 and 0 <= x <= 1 and x + y <= 1.001):
        raise ValueError(f"no colour has the chromaticity ({x:g}, {y:g})")
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _fixed(values: Sequence[float] | NDArray[np.float64]) -> bytes:
    numbers = [round(float(value) * 65536) for value in values]
    if not all(-(1 << 31) <= number < 1 << 31 for number in numbers):
        raise ValueError("a number is out of the range of ICC profiles")
    return struct.pack(f">{len(numbers)}i", *numbers)


def _numbers(kind: bytes, values: NDArray[np.float64]) -> bytes:
    return kind + bytes(4) + _fixed(values)


def _curve(curve: Curve) -> bytes:
    if isinstance(curve, np.ndarray):
        return b"curv" + struct.pack(">II", 0, len(curve)) + curve.astype(">u2").tobytes()
    if isinstance(curve, tuple):
        return b"para" + struct.pack(">IHH", 0, 3, 0) + _fixed(curve)
    if not 0.05 <= curve <= 20:
        raise ValueError(f"no samples have a gamma of {curve:g}")
    return b"para" + struct.pack(">IHH", 0, 0, 0) + _fixed([curve])


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">III2s2sII", 0, 1, 12, b"en", b"US", len(content), 28) + content
