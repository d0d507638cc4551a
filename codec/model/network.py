"""The whole model: five networks, the prior of the hyper-latents, and the training pass."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn

from codec.model.config import MAX_LEVEL, ModelConfig
from codec.model.layers import QualityTable
from codec.model.mean_model import MeanModel
from codec.model.quantization import (
    SCALES,
    add_uniform_noise,
    scale_of_index,
    shrink,
    soft_clamp,
    straight_through_round,
)
from codec.model.scale_model import ScaleModel
from codec.model.transforms import AnalysisTransform, HyperAnalysisTransform, SynthesisTransform

_LIKELIHOOD_FLOOR = 1e-9


class HyperPrior(nn.Module):
    """Prior of the hyper-latents in training: a logistic distribution per channel and quality.

    Files are coded with integer tables that are fitted to histograms at export, so this prior only
    has to be approximate. It is narrow at the start, because a flat prior makes hyper-latents
    expensive for thousands of steps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = QualityTable(channels)
        self.log_scale = QualityTable(channels, math.log(0.3))

    def bits(self, z: Tensor, level: Tensor) -> Tensor:
        """Return the bits of each value of z (N×h×w×C) under the prior integrated over ±½."""
        centred = (z - self.mean(level)).abs()
        inverse = torch.exp(-self.log_scale(level))
        # Use the lower tail on both sides: differences of numbers near 1 lose all precision.
        upper = torch.sigmoid((0.5 - centred) * inverse)
        lower = torch.sigmoid((-0.5 - centred) * inverse)
        return -torch.log2((upper - lower).clamp_min(_LIKELIHOOD_FLOOR))


def gaussian_bits(residual: Tensor, scale: Tensor) -> Tensor:
    """Return the bits of latents minus their mean.

    The probability is that of a zero-mean Gaussian integrated over ±½.
    """
    residual = residual.abs()
    factor = 1 / (scale * math.sqrt(2))
    upper = torch.erfc((residual - 0.5) * factor)
    lower = torch.erfc((residual + 0.5) * factor)
    return -torch.log2((0.5 * (upper - lower)).clamp_min(_LIKELIHOOD_FLOOR))


@dataclasses.dataclass
class TrainingOutput:
    """Output of a training pass, from which the loss is computed."""

    x_hat: Tensor
    """Decoded pictures, N×H×W×3."""
    latent_bits: Tensor
    """Bits of the latents of each picture, shape N."""
    hyper_bits: Tensor
    """Bits of the hyper-latents of each picture, shape N."""


class Model(nn.Module):
    """All networks of one model size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = AnalysisTransform(config)
        self.synthesis = SynthesisTransform(config)
        self.hyper_analysis = HyperAnalysisTransform(config)
        self.scale_model = ScaleModel(config)
        self.mean_model = MeanModel(config)
        self.hyper_prior = HyperPrior(config.hyper_latents)

    def forward(
        self, x: Tensor, level: Tensor, *, noise: bool = True, dead_zone: float = 0.0, skip: int = 0
    ) -> TrainingOutput:
        """Run a training pass.

        `x` is N×H×W×3 in [0,1] with sides that are multiples of 64. `level` holds N quality levels.

        With `noise`, encoder and decoder learn together. The distortion is that of rounded latents,
        with a straight-through gradient. The rate is that of latents with additive noise.

        Without `noise`, latents and hyper-latents are taken as given. Distortion and rate are those
        of the symbols that rounding with `dead_zone` produces. Symbols whose scale index, rounded,
        is at most `skip` are 0 and cost nothing. Rounding has no gradient of the rate with respect
        to the means, so that gradient is computed with additive noise.
        """
        y = self.analysis(x, level)
        z = self.hyper_analysis(self.mean_model.normalise(y)).float()
        z_hat = straight_through_round(z)
        hyper_bits = self.hyper_prior.bits(add_uniform_noise(z) if noise else z_hat, level)
        index = soft_clamp(self.scale_model(z_hat, level), 0, SCALES - 1)
        table = index.detach().round()
        coded = (table > skip).float()
        mean_model, size = self.mean_model, (y.shape[1], y.shape[2])
        means: list[Tensor] = []

        def quantizer(step: int, mean: Tensor) -> Tensor:
            means.append(mean)
            residual = mean_model.select(y, step) - mean
            if noise:
                return straight_through_round(residual)
            rounded = torch.round(shrink(residual, mean_model.select(table, step), dead_zone))
            # Straight-through: where a symbol is coded, y_hat does not depend on the mean. If means
            # followed the distortion too, they would drift away from the latents.
            return (residual + (rounded - residual).detach()) * mean_model.select(coded, step)

        y_hat = mean_model.run(z_hat, level, size, quantizer)
        residual = y - mean_model.merge(means, size)
        scale = scale_of_index(index)
        if noise:
            cost = gaussian_bits(add_uniform_noise(residual), scale)
        else:
            shrunk = shrink(residual, table, dead_zone)
            cost = gaussian_bits(torch.round(shrunk).detach(), scale)
            if torch.is_grad_enabled():
                smooth = gaussian_bits(add_uniform_noise(shrunk), scale.detach())
                cost = cost + smooth - smooth.detach()
            cost = cost * coded
        x_hat = self.synthesis(y_hat, level)
        return TrainingOutput(x_hat, cost.sum((1, 2, 3)), hyper_bits.sum((1, 2, 3)))


def without_weights(config: ModelConfig) -> Model:
    """Return a model in float32 whose weights are still to be loaded.

    Torch's random state is left as it was, whatever its default dtype.
    """
    with torch.random.fork_rng(devices=[]):
        return Model(config).float()


def rate_weight(level: Tensor, lowest: float, highest: float) -> Tensor:
    """Return lambda of each quality level: geometric from `lowest` at 0 to `highest` at 1024.

    The loss is bits per pixel + lambda · 255² · mean squared error of pixels in [0,1].
    """
    return lowest * (highest / lowest) ** (level.float() / MAX_LEVEL)
