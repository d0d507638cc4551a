"""Measures of rate and distortion. Distortion is that of 8-bit pixels, as decoded from files."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import ssimulacra2

Pixels = NDArray[np.uint8]

PSNR_OF_EQUALS = 100.0
"""Value used in means for identical pictures, whose PSNR is infinite."""

VERSION = 1
"""Version of all measures together.

It changes when any of them changes, which makes old records obsolete."""

MS_SSIM_SIDE = 161
"""Smallest side in pixels for five scales of an 11-pixel window."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A measure of distortion. Higher values are better."""

    key: str
    label: str
    unit: str
    min_overlap: float
    """In the unit of the metric. Curves that share less than this get no BD-rate."""


METRICS = (
    Metric("psnr_rgb", "PSNR, RGB", "dB", 2.0),
    Metric("psnr_y", "PSNR, luma", "dB", 2.0),
    Metric("ms_ssim_db", "MS-SSIM", "dB", 2.0),
    Metric("ssimulacra2", "SSIMULACRA2", "", 10.0),
)


def check_packages() -> None:
    """Raise `ValueError` if a package that the measures need is missing.

    The message says what to install.
    """
    for name in ("torch", "pytorch_msssim", "ssimulacra2", "bjontegaard"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ValueError(f"the benchmark needs {error.name}: pip install 'codec[bench]'") from None


def mse(a: Pixels, b: Pixels) -> float:
    """Mean squared error over all samples, in squared levels of 0…255."""
    return float(np.square(a.astype(np.float64) - b).mean())


def psnr(a: Pixels, b: Pixels) -> float:
    """PSNR in dB from one mean squared error over all samples, peak 255.

    Infinite for equal pictures.
    """
    return _decibels(mse(a, b))


def _decibels(error: float) -> float:
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def luma(image: Pixels) -> NDArray[np.float64]:
    """Y' of BT.601, full range, not rounded, as H×W float64 in 0…255."""
    weights = np.array([0.299, 0.587, 0.114])
    return np.asarray(image.astype(np.float64) @ weights)


def ms_ssim(a: Pixels, b: Pixels) -> float:
    """MS-SSIM of two H×W×3 pictures (Wang et al. 2003) with sides of at least 161 pixels."""
    import torch
    from pytorch_msssim import ms_ssim as measure

    first, second = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() for x in (a, b))
    return float(measure(first, second, data_range=255))


def ms_ssim_db(value: float) -> float:
    """−10·log10(1 − MS-SSIM), at most the value for identical pictures."""
    return min(_to_db(1 - value), PSNR_OF_EQUALS)


def _to_db(distance: float) -> float:
    return math.inf if distance <= 0 else -10 * math.log10(distance)


def measure(original: Pixels, decoded: Pixels) -> dict[str, float | None]:
    """All measures of one decoded picture. A measure that its size does not allow is None."""
    height, width = original.shape[:2]
    error = mse(original, decoded)
    luma_error = float(np.square(luma(original) - luma(decoded)).mean())
    structure = score = None
    if min(height, width) >= MS_SSIM_SIDE:
        structure = ms_ssim(original, decoded) if error else 1.0
    if ssimulacra2.measurable(height, width):
        score = ssimulacra2.score(original, decoded) if error else 100.0
    return {
        "mse": error,
        "psnr_rgb": min(_decibels(error), PSNR_OF_EQUALS),
        "psnr_y": min(_decibels(luma_error), PSNR_OF_EQUALS),
        "ms_ssim": structure,
        "ms_ssim_db": None if structure is None else ms_ssim_db(structure),
        "ssimulacra2": score,
    }


@dataclasses.dataclass(frozen=True)
class BDRate:
    """A Bjøntegaard rate difference, or the reason why there is none."""

    percent: float | None
    low: float | None
    high: float | None
    """Range of the metric that both curves cover."""
    note: str | None = None


Curve = Sequence[tuple[float, float]]
"""(bits per pixel, metric) of each setting."""


def bd_rate(anchor: Curve, curve: Curve, min_overlap: float = 2.0) -> BDRate:
    """BD-rate: bits that `curve` needs in addition to `anchor` at equal metric, in percent.

    A negative value means fewer bits. It is the mean difference of log rate over the shared range
    of the metric, with PCHIP interpolation (Bjøntegaard, VCEG-M33, 2001). There is no BD-rate if
    the curves share less than `min_overlap`, or if a curve has fewer than four points or does not
    rise with its rate.
    """
    from bjontegaard import bd_rate as measure

    curves = [sorted(points) for points in (anchor, curve)]
    if min(len(points) for points in curves) < 4:
        return BDRate(None, None, None, "fewer than four points")
    low = max(min(value for _, value in points) for points in curves)
    high = min(max(value for _, value in points) for points in curves)
    if high - low < min_overlap:
        shared = (low, high) if low < high else (None, None)
        return BDRate(None, shared[0], shared[1], f"the curves share less than {min_overlap:g}")
    for points in curves:
        if any(after[1] <= before[1] for before, after in itertools.pairwise(points)):
            return BDRate(None, low, high, "a curve does not rise with its rate")
    (rates, values), (other_rates, other_values) = (zip(*points, strict=True) for points in curves)
    value = measure(
        list(rates), list(values), list(other_rates), list(other_values),
        method="pchip", require_matching_points=False, min_overlap=0,
    )
    return BDRate(float(value), low, high)
