"""SSIMULACRA2 (Sneyers, version 2.1 of April 2023), agreeing with libjxl's.

The package of that name has the right parts (colour space, maps, weights) but, in 0.3.0, mirrors at two of
the four borders where the reference has zeros, and halves once less than the reference below 225 pixels:
together points on photographs and tens of points on small pictures. Here its parts are put together as in
the reference. `tests/bench/test_ssimulacra2.py` holds the result against scores of libjxl 0.11.2: within 0.1 below
a score of 70 and 0.5 above, where the reference's own float32 rounding shows.
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
"""Pixels along the smaller side that fill all six scales. With fewer scales the weights shift: such
scores compare with none of larger pictures."""
LARGEST = 8_000_000
"""Pixels of a picture; working on one takes half a gigabyte for each million."""

_HALF = (0.2646211054881985, 0.2129285920104222, 0.1093353727774603, 0.0360111146583644, 0.0094143678096537)
TAPS = np.array(_HALF[:0:-1] + _HALF)
"""Impulse response of the reference's blur of sigma 1.5 (Charalampidis 2016, N = 5): a sum of three cosines
that vanish at ±5; the taps sum to 1 and their variance is 1.5²."""


def measurable(height: int, width: int) -> bool:
    """Whether a picture is neither too small to be scored nor too large to be held."""
    return min(height, width) >= SMALLEST and height * width <= LARGEST


def score(original: Pixels, decoded: Pixels) -> float:
    """At most 100, for equal pictures; 90 is hardly visible, 70 high, 50 medium, 30 low quality.

    Both H×W×3 uint8 of the same shape, sRGB. `ValueError` if they cannot be scored.
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
    """A picture at one scale: XYB made positive, its blur and that of its square, H×W×3 each."""

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
    """Those of the original, which is the same for every codec and setting in a row."""
    return tuple(_scales(np.frombuffer(pixels, np.uint8).reshape(shape)))


def _blurred(image: Floats) -> Floats:
    """Zeros beyond all four borders."""
    from scipy.ndimage import correlate1d

    for axis in (0, 1):
        image = correlate1d(image, TAPS, axis, mode="constant")
    return image
