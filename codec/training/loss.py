"""Rate plus lambda times distortion, and the figures that are logged."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from codec.model.network import TrainingOutput, rate_weight


@dataclasses.dataclass
class Loss:
    """A batch's loss and its parts; all but `total` are detached, one value per picture."""

    total: Tensor
    bpp: Tensor
    hyper_bpp: Tensor
    mse: Tensor
    """Of pixels in [0,1]."""


def psnr(mse: float) -> float:
    """Decibels for a mean squared error of pixels in [0,1]."""
    return -10 * math.log10(max(mse, 1e-12))


def rate_distortion(
    output: TrainingOutput, x: Tensor, level: Tensor, lambdas: tuple[float, float]
) -> Loss:
    """bpp + lambda · 255² · MSE of each picture, weighted by lambda^-½ and averaged.

    Without the weight the loss of the high rates, which is larger, would drown that of the low.
    """
    pixels = x.shape[1] * x.shape[2]
    mse = (output.x_hat.float() - x).square().mean((1, 2, 3))
    hyper_bpp = output.hyper_bits / pixels
    bpp = output.latent_bits / pixels + hyper_bpp
    lam = rate_weight(level, *lambdas)
    middle = math.sqrt(lambdas[0] * lambdas[1])
    total = ((bpp + lam * 255**2 * mse) * torch.rsqrt(lam / middle)).mean()
    return Loss(total, bpp.detach(), hyper_bpp.detach(), mse.detach())
