"""The distortion of decoded pixels for the encoder's search, as a cost in bits at each latent.

For a model trained for MS-SSIM, also together with SSIMULACRA2, the metric is replaced by the
quadratic approximation of 1 − MS-SSIM for small errors. With the error e = x_hat − x, the contrast
and structure term of SSIM is exactly 1 − var(e) / (var(x) + var(x_hat) + C2), and var(x_hat) is
close to var(x). Each scale then costs a weighted local variance of the error, whose weights depend
on the original only, and whose cost at each position is known. The products of MS-SSIM become sums,
and the powers become factors.
See Wang, Simoncelli, Bovik: "Multiscale structural similarity for image quality assessment", 2003.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.model.config import PIXELS_PER_LATENT
from codec.model.weights import Metric

Distortion = Callable[[Tensor], Tensor]
"""Maps decoded pixels 1×H×W×3 in [0,1] to costs in bits 1×H/16×W/16×1, one for each latent."""

MS_SSIM_WEIGHT = 1300 / 255**2
"""Factor on 1 − MS-SSIM that makes it comparable to a mean squared error with the same lambda.

The published MS-SSIM models of CompressAI have lambdas 1,300 times those of their MSE models."""

MSE_SHARE = 0.2
"""Share of the mean squared error in the distortion for MS-SSIM.

With MS-SSIM alone, colours and brightness could drift.
"""

_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales of MS-SSIM, from full resolution to 1/16."""

_C1, _C2 = 0.01**2, 0.03**2
_RADIUS, _SIGMA = 5, 1.5


def distortion_of(metric: Metric, pixels: Tensor, height: int, width: int, lam: float) -> Distortion:
    """Return the cost in bits of the error of a window of a picture: lam · 255² · distortion.

    `pixels` is 1×H×W×C float32 in [0,1], C is 1 (gray) or 3, and the sides are multiples of 16.
    Only the first `height` rows and `width` columns count; the rest is padding.
    """
    original = pixels.permute(0, 3, 1, 2)
    counted = torch.zeros_like(original[:, :1])
    counted[:, :, :height, :width] = 1
    rows = torch.arange(original.shape[2], device=pixels.device).clamp_max(height - 1)
    columns = torch.arange(original.shape[3], device=pixels.device).clamp_max(width - 1)
    per_sample = lam * 255**2 / original.shape[1]
    squares, structure = (1.0, 0.0) if metric == "mse" else (MSE_SHARE, (1 - MSE_SHARE) * MS_SSIM_WEIGHT)
    scales = _scales(original) if structure else []

    def cost(x_hat: Tensor) -> Tensor:
        decoded = x_hat.permute(0, 3, 1, 2)
        if original.shape[1] == 1:
            decoded = decoded.mean(1, keepdim=True)
        # Like the original, the error is continued beyond the edge. Zeros would add variance there.
        error = (decoded - original)[:, :, rows][:, :, :, columns]
        total = squares * _sums(error.square() * counted)
        for number, (means, variances) in enumerate(scales):
            if number:
                error = F.avg_pool2d(error, 2)
            mean, variance = _moments(error)
            missing = mean.square() * means + variance * variances
            total = total + structure * _sums(missing * F.avg_pool2d(counted, 1 << number), number)
        return per_sample * total.permute(0, 2, 3, 1)

    return cost


@torch.no_grad()
def _scales(x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return weights of the squared local mean and of the local variance of the error, by scale.

    The mean (SSIM's luminance) counts at the coarsest scale only.
    """
    weights = []
    for number, power in enumerate(_POWERS):
        if number:
            x = F.avg_pool2d(x, 2)
        mean, variance = _moments(x)
        last = number == len(_POWERS) - 1
        luminance = power / (2 * mean.square() + _C1) if last else torch.zeros_like(mean)
        weights.append((luminance, power / (2 * variance + _C2)))
    return weights


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance around each sample, under SSIM's Gaussian window."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=x.dtype, device=x.device)
    window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    window = (window / window.sum()).expand(x.shape[1], 1, 1, -1)

    def blur(planes: Tensor) -> Tensor:
        planes = F.pad(planes, [_RADIUS] * 4, mode="replicate")
        planes = F.conv2d(planes, window, groups=planes.shape[1])
        return F.conv2d(planes, window.transpose(2, 3), groups=planes.shape[1])

    mean = blur(x)
    return mean, (blur(x.square()) - mean.square()).clamp_min(0)


def _sums(planes: Tensor, scale: int = 0) -> Tensor:
    """Return the sum over the pixels and channels of each latent: N×C×H×W to N×1×h×w.

    Planes are at a resolution of 1/2^scale. Each of their samples stands for 4^scale pixels.
    """
    side = PIXELS_PER_LATENT >> scale
    return PIXELS_PER_LATENT**2 * F.avg_pool2d(planes, side).sum(1, keepdim=True)
