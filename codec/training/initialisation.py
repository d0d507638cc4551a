"""Initialisation of a model: two Karhunen–Loève transforms, or a trained model.

PCA of 8×8×3 patches gives the first layer. PCA of 2×2 groups of its features gives the second
layer. The synthesis transform is the transpose, and the quality gains follow from rate–distortion
theory. The model is then a linear block-transform codec when training begins.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from codec.model.config import QUALITY_ANCHORS
from codec.model.network import Model
from codec.model.quantization import SCALE_MIN, SCALES, scale_index
from codec.model.weights import deserialise, read_objective


def principal_components(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the principal components of centred rows, as columns, and their standard deviations.

    The largest standard deviation comes first.
    """
    variances, components = torch.linalg.eigh(x.T @ x / len(x))
    return components.flip(1), variances.flip(0).clamp_min(1e-12).sqrt()


def quantization_step(lambdas: Tensor) -> Tensor:
    """Return the optimal uniform step for orthonormal coefficients of pixels in [0,1].

    At high rates a step Δ (in levels of 0…255) costs λ·Δ²/36 − log2 Δ per coefficient. The minimum
    is at Δ² = 18 / (λ ln 2).
    """
    return torch.sqrt(18 / (lambdas * math.log(2))) / 255


@torch.no_grad()
def initialise_with_klt(model: Model, crops: Tensor, lambdas: tuple[float, float]) -> None:
    """Set the linear path, gains and entropy offsets of `model` from N×S×S×3 uint8 crops."""
    config = model.config
    m = config.latents
    x = crops.double().cpu() / 255
    n, side = x.shape[:2]
    # (row and column of the 16×16 block), (index of the 8×8 block in it), (pixels of the 8×8 block)
    x = x.reshape(n, side // 16, 2, 8, side // 16, 2, 8, 3).permute(0, 1, 4, 2, 5, 3, 6, 7)
    x = x.reshape(-1, 4, 192)
    mean = x.mean((0, 1))
    centred = x - mean
    all_8, all_deviations_8 = principal_components(centred.reshape(-1, 192))

    def two_stages(c8: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return components and deviations at 1/8 with c8 channels, and those at 1/16."""
        first = all_8[:, :c8]
        features = (centred @ first).reshape(len(x), 4 * c8)
        return first, all_deviations_8[:c8], *principal_components(features)

    analysis, synthesis = model.analysis, model.synthesis
    first, deviation_8, second, deviation_16 = two_stages(config.analysis_width_8)
    tiled, c16 = deviation_8.repeat(4), config.analysis_width_16
    analysis.embed.weight.copy_((first / deviation_8).T)
    analysis.embed.bias.copy_(-(mean @ first) / deviation_8)
    analysis.shortcut.weight.copy_((second[:, :m] * tiled[:, None]).T)
    analysis.shortcut.bias.zero_()
    analysis.down.weight.copy_((second * tiled[:, None] / deviation_16)[:, :c16].T)
    analysis.down.bias.zero_()
    analysis.latents.weight.zero_()

    # With fewer channels at 1/8, the decoder drops the last components of the first stage.
    kept, c16 = config.width_8, config.width_16
    rows = second.unflatten(0, (4, -1))[:, :kept, :m] / deviation_8[:kept, None]
    synthesis.shortcut.weight.copy_(rows.flatten(0, 1))
    synthesis.shortcut.bias.zero_()
    synthesis.latents.weight.copy_(torch.diag(1 / deviation_16)[:c16, :m])
    synthesis.latents.bias.zero_()
    synthesis.up.weight.zero_()
    synthesis.pixels.weight.copy_(first[:, :kept] * deviation_8[:kept])
    synthesis.pixels.bias.copy_(mean)

    low, high = lambdas
    anchors = torch.linspace(0, 1, QUALITY_ANCHORS, dtype=torch.float64)
    log_gain = -torch.log(quantization_step(low * (high / low) ** anchors))
    analysis.log_gain.table.copy_(log_gain[:, None].expand(-1, m))
    synthesis.log_gain.table.copy_(-log_gain[:, None].expand(-1, m))

    middle = deviation_16[:m] * torch.exp(log_gain[QUALITY_ANCHORS // 2])
    model.mean_model.scale.copy_(torch.exp2(torch.round(torch.log2(middle.clamp_min(1)))))
    scales = deviation_16[None, :m] * torch.exp(log_gain[:, None])
    offset = scale_index(scales.clamp_min(SCALE_MIN)).clamp(0, SCALES - 1)
    model.scale_model.offset.table.copy_(offset)


@dataclasses.dataclass(frozen=True)
class TrainedStart:
    """A trained model from which another training run starts."""

    state: dict[str, Tensor]
    lambdas: tuple[float, float]
    """Lambdas of its training, at quality 0 and quality 100."""


def read_start(weights: bytes) -> TrainedStart:
    """Return parameters and lambdas of an exported weights file. Raises `InvalidWeights`."""
    return TrainedStart(deserialise(weights)[0].state_dict(), read_objective(weights).lambdas)


@torch.no_grad()
def initialise_from(model: Model, start: TrainedStart, lambdas: tuple[float, float]) -> None:
    """Initialise `model` to compute the same function as `start`, at the lambdas given.

    `model` has the same widths as `start` and may be deeper. Blocks that `start` lacks add nothing
    (Chen, Goodfellow, Shlens: "Net2Net", ICLR 2016). The rows of the quality tables are
    interpolated at the positions of the new lambdas among the old ones. Raises `ValueError` for a
    model of another shape.
    """
    own = model.state_dict()
    unknown = sorted(set(start.state) - set(own))
    if unknown:
        raise ValueError(f"the weights to start from have layers that the model lacks: {', '.join(unknown)}")
    new = [name for name in own if name not in start.state]
    beside = [name for name in new if ".blocks" not in name]
    if beside:
        raise ValueError(f"the weights to start from lack layers: {', '.join(beside)}")
    for name in new:
        if ".mix_out." in name or ".gate_out." in name:
            own[name].zero_()  # already zero in the transforms, but not in the entropy networks
    values = {
        name: remap_table(value, start.lambdas, lambdas) if name.endswith(".table") else value
        for name, value in start.state.items()
    }
    wrong = [name for name, value in values.items() if value.shape != own[name].shape]
    if wrong:
        raise ValueError(f"the weights to start from have other widths: {', '.join(wrong)}")
    model.load_state_dict(own | values)


def remap_table(table: Tensor, old: tuple[float, float], new: tuple[float, float]) -> Tensor:
    """Return the rows of a quality table (anchors×C) for other lambdas.

    Rows are interpolated linearly in log lambda, and extrapolated linearly beyond the ends.
    """
    if old == new:
        return table
    log_old, log_new = ([math.log(value) for value in pair] for pair in (old, new))
    anchors = torch.linspace(0, 1, QUALITY_ANCHORS, dtype=torch.float64)
    logs = log_new[0] + anchors * (log_new[1] - log_new[0])
    position = (logs - log_old[0]) / (log_old[1] - log_old[0]) * (QUALITY_ANCHORS - 1)
    low = position.floor().clamp(0, QUALITY_ANCHORS - 2).long()
    t = (position - low)[:, None]
    rows = table[low].double() * (1 - t) + table[low + 1].double() * t
    return rows.to(table.dtype)
