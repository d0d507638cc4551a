"""SSIMULACRA2 (Sneyers, version 2.1 of April 2023), in agreement with libjxl.

The package `ssimulacra2` has the right parts (colour space, maps, weights), but version 0.3.0
differs from the reference in two ways. It mirrors the picture at two of the four borders, where the
reference has zeros. Below 225 pixels it halves the picture once less than the reference. Together
these change the score by points on photographs and by tens of points on small pictures. This module
combines the parts as the reference does. `tests/bench/test_ssimulacra2.py` compares the result with
scores of libjxl 0.11.2. They agree within 0.1 below a score of 70, and within 0.5 above, where the
float32 rounding of the reference has an effect.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

SCALES = 6
SMALLEST = 113
"""Smallest length in pixels of the shorter side that fills all six scales.

With fewer scales the weights shift. Such scores cannot be compared with scores of larger
pictures."""
LARGEST = 8_000_000
"""Maximum number of pixels of a picture. A score takes half a gigabyte of memory per million."""

_HALF = (0.2646211054881985, 0.2129285920104222, 0.1093353727774603, 0.0360111146583644, 0.0094143678096537)
TAPS = np.array(_HALF[:0:-1] + _HALF)
"""Impulse response of the blur of sigma 1.5 in the reference (Charalampidis 2016, N = 5).

It is a sum of three cosines that vanish at ±5. The taps sum to 1 and their variance is 1.5²."""


def measurable(height: int, width: int) -> bool:
    """Whether a picture is neither too small for a score nor too large for memory."""
    return min(height, width) >= SMALLEST and height * width <= LARGEST


def score(original: Pixels, decoded: Pixels) -> float:
    """Score of a decoded picture, at most 100 (equal pictures).

    At 90 differences are hardly visible. 70 is high, 50 medium and 30 low quality. Both pictures
    are H×W×3 uint8 of the same shape, sRGB. Raises `ValueError` if they cannot be scored.
    """
    from ssimulacra2 import ssimulacra2 as parts

    if original.shape != decoded.shape or not measurable(*original.shape[:2]):
        raise ValueError(f"pictures of {original.shape} and {decoded.shape} cannot be scored")
    total = parts.Msssim()
    for first, second in zip(_kept_scales(original.tobytes(), original.shape), _scales(decoded), strict=True):
        part = parts.MsssimScale()
        part.avg_ssim = parts.ssim_map(
            first.mean, second.mean, first.mean_square, second.mean_square, _blurred(first.xyb * second.xyb)
        )
        part.avg_edgediff = parts.edge_diff_map(first.xyb, first.mean, second.xyb, second.mean)
        total.scales.append(part)
    return float(total.score())


@dataclasses.dataclass(frozen=True)
class _Scale:
    """A picture at one scale: positive XYB, its blur, and the blur of its square, H×W×3 each."""

    xyb: Floats
    mean: Floats
    mean_square: Floats


def _scales(image: Pixels) -> Iterator[_Scale]:
    from ssimulacra2 import ssimulacra2 as parts

    linear = parts.srgb_to_linear(image)
    for scale in range(SCALES):
        if scale:
            linear = parts.downsample(linear, 2, 2)
        xyb = parts.make_positive_xyb(parts.linear_rgb_to_xyb(linear))
        yield _Scale(xyb, _blurred(xyb), _blurred(xyb**2))


@functools.lru_cache(maxsize=1)
def _kept_scales(pixels: bytes, shape: tuple[int, ...]) -> tuple[_Scale, ...]:
    """Scales of the original.

    They are cached because the original is the same for every codec and setting in a row.
    """
    return tuple(_scales(np.frombuffer(pixels, np.uint8).reshape(shape)))


def _blurred(image: Floats) -> Floats:
    """Blur of a picture, with zeros beyond all four borders."""
    from scipy.ndimage import correlate1d

    for axis in (0, 1):
        image = correlate1d(image, TAPS, axis, mode="constant")
    return image
