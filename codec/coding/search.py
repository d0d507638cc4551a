"""Encoder-side search for latents with a better trade-off between bits and error.

The analysis transform gives one estimate of the latents of a picture. This search moves the latents
down the gradient of their cost, which is computed with the unchanged decoder. Neither the format
nor the decoder changes. Rounding has no gradient. Therefore latents are rounded softly while they
move, with increasing sharpness, and the best state under true rounding is kept. The method is that
of Yang, Bamler, Mandt: "Improving Inference for Neural Image Compression", NeurIPS 2020. Soft
rounding is from Agustsson, Theis: "Universally Quantized Neural Compression", NeurIPS 2020.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.coding.distortion import Distortion
from codec.coding.effort import Progress
from codec.coding.latents import too_far
from codec.format.tiling import Box
from codec.model.config import LATENTS_PER_HYPER_LATENT
from codec.model.network import Model, gaussian_bits, without_weights
from codec.model.quantization import SCALES, scale_of_index, shrink, soft_clamp, straight_through_round

_RATE = 0.004
"""Step size along the gradient (bits per quantization step) for latents that are not rounded.

The decoder responds up to 80 times as strongly to moving a group of latents together as to moving
one of them. A step 2.5 times as long caused growing oscillations at low quality. Adam, which moves
every latent by the same distance, gains less in the same number of steps: docs/experiments.md.
"""

_MOMENTUM = 0.9
_LARGEST_MOVE = 0.1
"""Maximum distance that a latent moves in one iteration, in quantization steps."""

_SHARPNESS = (5.0, 16.0)
"""Sharpness of soft rounding at the start and at the end."""

_CHECK_EVERY = 10
"""Number of iterations between two evaluations with true rounding.

Where the cost has increased, latents return to the best state and continue at half the pace.
"""

_REACH = 3
"""Radius in latents of the neighbourhood whose cost decides whether a position got worse."""


def soft_copy(model: Model, device: torch.device) -> Model:
    """Return `model`, frozen or not, as a float32 network that is differentiable everywhere."""
    soft = without_weights(model.config).to(device)
    soft.load_state_dict({name: value.float() for name, value in model.state_dict().items()})
    return soft.requires_grad_(False)


def soft_round(x: Tensor, sharpness: float) -> Tensor:
    """Round smoothly: nearly the identity at a sharpness of 1, nearly true rounding at 20."""
    low = x.detach().floor()
    return low + 0.5 + torch.tanh(sharpness * (x - low - 0.5)) / (2 * math.tanh(sharpness / 2))


@dataclasses.dataclass(frozen=True)
class Window:
    """The input of the search for one tile, beside the latents of its window."""

    distortion: Distortion
    """The cost of decoded pixels of the window."""
    inner: Box
    """The latents of the tile, relative to those of the window."""
    level: Tensor
    """The quality level, one value."""
    skip: int
    """The skip index of the model's tables."""


def refine(
    model: Model,
    window: Window,
    y: Tensor,
    dead_zone: float,
    iterations: int,
    progress: Progress = lambda share: None,
) -> Tensor:
    """Return better latents of a tile, 1×h×w×M float32, given those of its window, 1×h'×w'×M.

    `model` is a `soft_copy`. The search starts from the result of rounding with the dead zone. By
    the model's own estimate, the returned latents cost no more than the start. They must be rounded
    to the nearest integer, without a dead zone.
    """
    around = y
    slices = window.inner.slices
    start = around[:, slices[0], slices[1]]
    best = _behind_dead_zone(model, window, start, dead_zone)
    dense = dataclasses.replace(window, skip=-1)
    begins_dense = bool(_cost(model, window, around, best, None).total.isinf())
    if begins_dense:
        best = _behind_dead_zone(model, dense, start, dead_zone)

    def rounded(y: Tensor) -> _Cost:
        """Return the cost as it will be coded. A tile that begins dense may end otherwise."""
        cost = _cost(model, window, around, y, None)
        return _cost(model, dense, around, y, None) if begins_dense and cost.total.isinf() else cost

    least = rounded(best)
    moving = best.clone().requires_grad_(True)
    mean, pace = torch.zeros_like(best), torch.ones_like(best[..., :1])
    low, high = _SHARPNESS
    for done in range(iterations):
        share = done / iterations
        sharpness = low * (high / low) ** share
        with torch.enable_grad():
            total = _cost(model, dense if begins_dense else window, around, moving, sharpness).total
            (gradient,) = torch.autograd.grad(total, moving)
        mean.lerp_(gradient, 1 - _MOMENTUM)
        # Soft rounding is steepest halfway between integers. The curvature grows with the square of
        # that slope.
        steepest = sharpness / 2 / math.tanh(sharpness / 2)
        rate = _RATE / steepest**2 * min(1.0, 3.1 - 3 * share) / (1 - _MOMENTUM ** (done + 1))
        with torch.no_grad():
            moving -= (rate * pace * mean).clamp(-_LARGEST_MOVE, _LARGEST_MOVE)
            if (done + 1) % _CHECK_EVERY == 0 or done + 1 == iterations:
                found = rounded(moving)
                worse = _nearby(found.here) > _nearby(least.here)
                mixed = torch.where(worse, best, moving)
                both = ((moving.detach().clone(), found), (mixed, rounded(mixed)))
                for state, cost in both:
                    if cost.total < least.total:
                        best, least = state, cost
                moving.copy_(mixed)
                mean.masked_fill_(worse, 0)
                pace = torch.where(worse, pace / 2, pace)
        progress((done + 1) / iterations)
    return best


@dataclasses.dataclass(frozen=True)
class _Cost:
    """The cost of a tile: its estimated bits plus the distortion of its window's pixels."""

    total: Tensor
    here: Tensor
    """The cost at each position, 1×h×w×1: of the tile's latents and the pixels that they represent.

    The sum is less than the total if the window is wider than the tile, or if hyper-latents extend
    beyond the tile.
    """


def _nearby(here: Tensor) -> Tensor:
    """Return means over the neighbourhood that each latent affects."""
    side = 2 * _REACH + 1
    planes = here.permute(0, 3, 1, 2)
    return F.avg_pool2d(planes, side, 1, _REACH, count_include_pad=False).permute(0, 2, 3, 1)


@torch.no_grad()
def _behind_dead_zone(model: Model, window: Window, y: Tensor, dead_zone: float) -> Tensor:
    """Return latents whose plain rounding gives the same result as rounding `y` with the dead zone.

    The result can differ only where the second pass still changes a hyper-latent, and where this
    changes the means around it.
    """
    size = (y.shape[1], y.shape[2])
    mean_model = model.mean_model
    shrunk = y
    for _ in range(2):  # hyper-latents will be computed from the returned latents
        z_hat = model.hyper_analysis(mean_model.normalise(shrunk)).round()
        index, coded = _indexes(model, window, z_hat, size)
        table = index.round()
        values: list[Tensor] = []

        def quantizer(
            step: int, mean: Tensor, table: Tensor = table, coded: Tensor = coded,
            values: list[Tensor] = values,
        ) -> Tensor:
            here, kept = mean_model.select(y, step), mean_model.select(coded, step)
            moved = shrink(here - mean, mean_model.select(table, step), dead_zone)
            values.append(torch.where(kept > 0, moved + mean, here))
            return moved.round() * kept

        mean_model.run(z_hat, window.level, size, quantizer)
        shrunk = mean_model.merge(values, size)
    return shrunk


def _indexes(
    model: Model, window: Window, z_hat: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return the scale indexes of the latents, and 1 where a latent is coded, else 0."""
    index = soft_clamp(model.scale_model(z_hat, window.level)[:, : size[0], : size[1]], 0, SCALES - 1)
    return index, (index.detach().round() > window.skip).float()


def _cost(model: Model, window: Window, around: Tensor, y: Tensor, sharpness: float | None) -> _Cost:
    """Return the cost of a tile's latents `y`.

    They are rounded softly if `sharpness` is given, otherwise truly. Latents around the tile are
    those of the window, `around`. The total is infinite if true rounding would discard too much of
    a latent that is not coded: the encoder would code the whole tile as dense.
    """
    level, size = window.level, (y.shape[1], y.shape[2])
    mean_model = model.mean_model
    z_hat = straight_through_round(model.hyper_analysis(mean_model.normalise(y)))
    hyper_bits = model.hyper_prior.bits(z_hat, level).sum(-1, keepdim=True)
    index, coded = _indexes(model, window, z_hat, size)
    symbols: list[Tensor] = []
    discarded = torch.zeros((), dtype=y.dtype, device=y.device)

    def quantizer(step: int, mean: Tensor) -> Tensor:
        nonlocal discarded
        residual, kept = mean_model.select(y, step) - mean, mean_model.select(coded, step)
        rounded = residual.round() if sharpness is None else soft_round(residual, sharpness)
        symbols.append(rounded * kept)
        skipped = mean_model.select(1 - coded, step)  # 0 in the padding of odd sizes
        discarded = torch.maximum(discarded, (residual.detach() * skipped).abs().max())
        return symbols[-1]

    y_hat = mean_model.run(z_hat, level, size, quantizer)
    bits = gaussian_bits(mean_model.merge(symbols, size), scale_of_index(index)) * coded
    whole = around.clone()
    rows, columns = window.inner.slices
    whole[:, rows, columns] = y_hat
    blocks = window.distortion(model.synthesis(whole, level).clamp(0, 1))
    latent_bits = bits.sum(-1, keepdim=True)
    here = blocks[:, rows, columns] + latent_bits + _spread(hyper_bits, size)
    total = latent_bits.sum() + hyper_bits.sum() + blocks.sum()
    if sharpness is None and too_far(discarded):
        total = torch.full_like(total, math.inf)
    return _Cost(total, here)


def _spread(hyper: Tensor, size: tuple[int, int]) -> Tensor:
    """Distribute the values of hyper-latents equally among the latents that they cover."""
    factor = LATENTS_PER_HYPER_LATENT
    spread = hyper.repeat_interleave(factor, 1).repeat_interleave(factor, 2) / factor**2
    return spread[:, : size[0], : size[1]]
