"""Measures of rate and distortion. Distances are of 8-bit pixels, as files are decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_OVERLAP_DB = 2.0


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Decibels, one mean squared error over all samples, peak 255; infinite for equal pictures."""
    mse = float(np.square(a.astype(np.float64) - b).mean())
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)


def ms_ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """MS-SSIM of two H×W×3 pictures (Wang et al. 2003), at least 161 pixels each way."""
    import torch
    from pytorch_msssim import ms_ssim as measure

    first, second = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() for x in (a, b))
    return float(measure(first, second, data_range=255))


def bd_rate(
    anchor_bpp: Sequence[float],
    anchor_psnr: Sequence[float],
    bpp: Sequence[float],
    psnr_values: Sequence[float],
) -> tuple[float | None, tuple[float, float]]:
    """Bjøntegaard rate difference in percent (PCHIP over log rate), and the overlap in dB.

    None if the curves share less than 2 dB.
    """
    from bjontegaard import bd_rate as measure

    low = max(min(anchor_psnr), min(psnr_values))
    high = min(max(anchor_psnr), max(psnr_values))
    if high - low < MIN_OVERLAP_DB:
        return None, (low, high)
    value = measure(
        list(anchor_bpp), list(anchor_psnr), list(bpp), list(psnr_values),
        method="pchip", require_matching_points=False, min_overlap=0,
    )
    return float(value), (low, high)
