"""The errors that SSIMULACRA2 (Sneyers, version 2.1 of April 2023) adds up, with gradients.

Pictures are compared at six scales in the colour space XYB: their local structure (a variant of
SSIM), edges that the original lacks, and edges that were lost. The mean and the 4-norm of each map
are weighted and added. The score is a falling function of this sum. Its slope at 0 is unbounded, so
the sum is what a model is trained for, not the score.

The colour matrix and the weights are those of the package `ssimulacra2`. The maps are those of the
reference, libjxl: zeros beyond all borders, and six scales for pictures of 113 pixels or more.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor

SCALES = 6
_HALF = (0.2646211054881985, 0.2129285920104222, 0.1093353727774603, 0.0360111146583644, 0.0094143678096537)
TAPS = _HALF[:0:-1] + _HALF
"""Impulse response of the blur of sigma 1.5 in the reference (Charalampidis 2016, N = 5).

It is a sum of three cosines that vanish at ±5. The taps sum to 1 and their variance is 1.5²."""

_C2 = 0.0009
_SMALLEST_MEAN = 1e-24
"""Means of fourth powers up to it count as 0, where the 4-norm has no gradient."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """Pictures at one scale: positive XYB, its blur, and the blur of its square, N×3×h×w each."""

    xyb: Tensor
    mean: Tensor
    mean_square: Tensor


def scales(pictures: Tensor) -> list[Scale]:
    """Return the six scales of pictures N×H×W×3, sRGB.

    Values are cut to [0,1]. Height and width should be 113 or more. Smaller pictures have scales
    that are a single pixel.
    """
    x = pictures.permute(0, 3, 1, 2).clamp(0, 1)
    linear = torch.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    found = []
    for number in range(SCALES):
        if number:
            linear = F.avg_pool2d(linear, 2, ceil_mode=True)
        xyb = _positive_xyb(linear)
        found.append(Scale(xyb, _blurred(xyb), _blurred(xyb.square())))
    return found


def error_sum(original: list[Scale], decoded: list[Scale]) -> Tensor:
    """Return the weighted sum of all errors of each picture, shape N; 0 for equal pictures."""
    from ssimulacra2.ssimulacra2 import weights

    # The order of the weights: XYB channel, scale, mean and 4-norm, (structure, added, lost edges).
    example = original[0].xyb
    factors = torch.as_tensor(weights, dtype=example.dtype, device=example.device).view(3, SCALES, 2, 3)
    total = example.new_zeros(len(example))
    for number, (first, second) in enumerate(zip(original, decoded, strict=True)):
        maps = _errors(first, second).flatten(-2)
        fourth = maps.square().square().mean(-1)
        norm = torch.where(fourth > _SMALLEST_MEAN, fourth.clamp_min(_SMALLEST_MEAN) ** 0.25, 0)
        norms = torch.stack([maps.mean(-1), norm], 2)
        total = total + torch.einsum("ncke,cke->n", norms, factors[:, number])
    return total


def score_of(errors: Tensor) -> Tensor:
    """Return the scores, at most 100, of sums that `error_sum` has returned."""
    x = 0.9562382616834844 * errors
    x = ((6.248496625763138e-05 * x - 0.020884521182843837) * x + 2.326765642916932) * x
    return 100 - 10 * x.clamp_min(0) ** 0.6276336467831387


def _errors(first: Scale, second: Scale) -> Tensor:
    """Return the maps of structure, of added and of lost edges, N×3×(3 maps)×h×w."""
    covariance = _blurred(first.xyb * second.xyb) - first.mean * second.mean
    variances = (first.mean_square - first.mean.square()) + (second.mean_square - second.mean.square())
    luminance = 1 - (first.mean - second.mean).square()
    structure = F.relu(1 - luminance * (2 * covariance + _C2) / (variances + _C2))
    edges = (1 + (second.xyb - second.mean).abs()) / (1 + (first.xyb - first.mean).abs()) - 1
    return torch.stack([structure, F.relu(edges), F.relu(-edges)], 2)


def _positive_xyb(linear: Tensor) -> Tensor:
    """Return XYB, scaled and shifted to be positive, of linear RGB N×3×h×w."""
    from ssimulacra2.ssimulacra2 import kB0, kOpsinAbsorbanceMatrix

    matrix = torch.as_tensor(kOpsinAbsorbanceMatrix, dtype=linear.dtype, device=linear.device).view(3, 3)
    long, medium, short = (torch.einsum("ij,njhw->inhw", matrix, linear) + kB0) ** (1 / 3)
    y = (long + medium) / 2
    return torch.stack([7 * (long - medium) + 0.42, y - math.cbrt(kB0) + 0.01, short - y + 0.55], 1)


def _blurred(planes: Tensor) -> Tensor:
    """Blur planes N×3×h×w, with zeros beyond all four borders."""
    taps = torch.tensor(TAPS, dtype=planes.dtype, device=planes.device).expand(3, 1, 1, -1)
    # Interleaved: depthwise convolutions of separate planes take many times as long on a CPU.
    planes = planes.contiguous(memory_format=torch.channels_last)
    rows = F.conv2d(planes, taps, padding=(0, 4), groups=3)
    return F.conv2d(rows, taps.transpose(2, 3), padding=(4, 0), groups=3)
