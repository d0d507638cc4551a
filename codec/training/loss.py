"""The loss, rate plus lambda times distortion, and the figures for the log."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from codec.coding.distortion import MS_SSIM_WEIGHT, MSE_SHARE
from codec.model.network import TrainingOutput, rate_weight
from codec.model.weights import Metric
from codec.training.ssimulacra2 import error_sum, scales

SSIMULACRA2_WEIGHT = 8 / 255**2
"""Factor on the error sum of SSIMULACRA2 that makes it comparable to a mean squared error.

It is near the ratio of both for the model `mse`, which differs little between qualities."""


@dataclasses.dataclass
class Loss:
    """Loss of a batch and its parts. All but `total` are detached, with one value per picture."""

    total: Tensor
    bpp: Tensor
    hyper_bpp: Tensor
    mse: Tensor
    """Mean squared error of pixels in [0,1]."""


def psnr(mse: float) -> float:
    """Return the PSNR in decibels for a mean squared error of pixels in [0,1]."""
    return -10 * math.log10(max(mse, 1e-12))


def rate_distortion(
    output: TrainingOutput, x: Tensor, level: Tensor, lambdas: tuple[float, float], metric: Metric = "mse"
) -> Loss:
    """Return bpp + lambda · 255² · distortion of each picture, weighted by lambda^-½ and averaged.

    The distortion is the mean squared error. For other metrics it is one fifth of the mean squared
    error plus four fifths of 1 − MS-SSIM (Wang, Simoncelli, Bovik 2003), or two fifths of 1 −
    MS-SSIM and two fifths of the error sum of SSIMULACRA2 (`codec.training.ssimulacra2`), each
    scaled to the size of the mean squared error. Sides must not be smaller than
    `codec.training.config.SMALLEST_SIDE`. Without the weight, the loss of high rates would dominate
    the loss of low rates, because it is larger.
    """
    pixels = x.shape[1] * x.shape[2]
    x_hat = output.x_hat.float()
    mse = (x_hat - x).square().mean((1, 2, 3))
    distortion = mse
    if metric != "mse":
        distortion = MSE_SHARE * mse + (1 - MSE_SHARE) * _structural(metric, x_hat, x)
    hyper_bpp = output.hyper_bits / pixels
    bpp = output.latent_bits / pixels + hyper_bpp
    lam = rate_weight(level, *lambdas)
    middle = math.sqrt(lambdas[0] * lambdas[1])
    total = ((bpp + lam * 255**2 * distortion) * torch.rsqrt(lam / middle)).mean()
    return Loss(total, bpp.detach(), hyper_bpp.detach(), mse.detach())


def _structural(metric: Metric, x_hat: Tensor, x: Tensor) -> Tensor:
    """Return the errors of structure of each picture, in the size of a squared error.

    Inputs are N×H×W×3 in [0,1]. Raises `ValueError` if the package of the metric is not installed.
    """
    try:
        from pytorch_msssim import ms_ssim

        planes = x_hat.permute(0, 3, 1, 2), x.permute(0, 3, 1, 2)
        similarity: Tensor = ms_ssim(*planes, data_range=1.0, size_average=False)
        errors = MS_SSIM_WEIGHT * (1 - similarity)
        if metric == "visual":
            errors = (errors + SSIMULACRA2_WEIGHT * error_sum(scales(x), scales(x_hat))) / 2
        return errors
    except ImportError as error:
        raise ValueError(f"metric {metric!r} needs {error.name}: pip install 'codec[train]'") from None
