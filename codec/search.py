"""Encoder-side search: latents that cost fewer bits for the picture that comes of them.

The analysis transform answers every picture with one guess. Here the latents of a picture are moved
down the gradient of what they cost, through the decoder as it is: neither the format nor the decoder
changes. Rounding has no gradient, so latents are rounded softly while they move, ever harder, and
the best truly rounded state is kept. Yang, Bamler, Mandt: "Improving Inference for Neural Image
Compression", NeurIPS 2020; soft rounding: Agustsson, Theis: "Universally Quantized Neural
Compression", NeurIPS 2020.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from codec.effort import Progress
from codec.latent_codec import inside
from codec.model.entropy_model import scale_of_index, step_values
from codec.model.network import Model, gaussian_bits
from codec.model.quantization import soft_clamp, straight_through_round
from codec.tiling import Box

_RATE = 0.004
"""Step along the gradient (bits per quantization step) of latents that are not rounded.

The decoder's response to moving a group of latents together is up to 80 times that to moving one of
them; a step 2.5 times as long swung ever wider at low quality. Adam, which moves every latent by the same
distance, gains less in as many steps: docs/experiments.md."""

_MOMENTUM = 0.9
_LARGEST_MOVE = 0.1
"""Quantization steps that a latent moves at once at most."""

_SHARPNESS = (5.0, 16.0)
"""Of soft rounding, at the start and at the end."""


def soft_copy(model: Model, device: torch.device) -> Model:
    """`model`, frozen or not, as a float32 network with gradients everywhere."""
    soft = Model(model.config).to(device)
    soft.load_state_dict({name: value.float() for name, value in model.state_dict().items()})
    return soft.requires_grad_(False)


def soft_round(x: Tensor, sharpness: float) -> Tensor:
    """A smooth step between integers: nearly the identity at 1, nearly rounding at 20."""
    low = x.detach().floor()
    return low + 0.5 + torch.tanh(sharpness * (x - low - 0.5)) / (2 * math.tanh(sharpness / 2))


@dataclasses.dataclass(frozen=True)
class Window:
    """What the search sees of a tile: the pixels of its window and which of them count."""

    pixels: Tensor
    """1×H×W×C float32 in [0,1]; C is 1 (gray) or 3."""
    height: int
    width: int
    """Rows and columns that lie within the picture; what is beyond is padding and costs nothing."""
    inner: Box
    """The latents of the tile within those of the window."""
    level: Tensor
    """The quality level, one value."""
    weight: float
    """Bits that a squared error of 1, summed over samples, is worth."""


def weight_of(lam: float, channels: int) -> float:
    """`Window.weight` from lambda of bpp + lambda · 255² · MSE."""
    return lam * 255**2 / channels


def refine(
    model: Model, window: Window, y: Tensor, iterations: int, progress: Progress = lambda share: None
) -> Tensor:
    """Better latents of a tile, 1×h×w×M float64, from those of its window, 1×h'×w'×M.

    `model` is a `soft_copy`. The result costs no more than the start, by the model's own estimate.
    """
    start = y.float()
    slices = window.inner.slices
    moving = start[:, slices[0], slices[1]].clone().requires_grad_(True)
    best, best_cost = moving.detach().clone(), _cost(model, window, start, moving.detach(), None)
    mean = torch.zeros_like(best)
    low, high = _SHARPNESS
    for done in range(iterations):
        share = done / iterations
        sharpness = low * (high / low) ** share
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(_cost(model, window, start, moving, sharpness), moving)
        mean.lerp_(gradient, 1 - _MOMENTUM)
        # Soft rounding is steepest halfway between integers, and curvature goes with its square.
        steepest = sharpness / 2 / math.tanh(sharpness / 2)
        rate = _RATE / steepest**2 * min(1.0, 3.1 - 3 * share) / (1 - _MOMENTUM ** (done + 1))
        with torch.no_grad():
            moving -= (rate * mean).clamp(-_LARGEST_MOVE, _LARGEST_MOVE)
        if (done + 1) % 10 == 0 or done + 1 == iterations:
            cost = _cost(model, window, start, moving.detach(), None)
            if cost < best_cost:
                best, best_cost = moving.detach().clone(), cost
        progress((done + 1) / iterations)
    return best.double()


def _cost(model: Model, window: Window, start: Tensor, moving: Tensor, sharpness: float | None) -> Tensor:
    """Estimated bits of the tile, and the weighted error of the window's pixels.

    Rounded softly if `sharpness` is given, truly otherwise. Latents around the tile stay at `start`.
    """
    level, size = window.level, (moving.shape[1], moving.shape[2])
    mask = inside(size, moving.device)[:, None, :, :, None]
    bits: list[Tensor] = []

    def quantizer(step: int, mean: Tensor, index: Tensor) -> Tensor:
        residual = step_values(moving, step) - mean
        rounded = residual.round() if sharpness is None else soft_round(residual, sharpness)
        bits.append(gaussian_bits(rounded, scale_of_index(soft_clamp(index, 0, 63))).mul(mask).sum())
        return (rounded + mean) * mask

    z_hat = straight_through_round(model.hyper_analysis(model.entropy_model.normalise(moving)))
    bits.append(model.hyper_prior.bits(z_hat, level).sum())
    y_hat = model.entropy_model.run(z_hat, level, size, quantizer)
    whole = start.clone()
    slices = window.inner.slices
    whole[:, slices[0], slices[1]] = y_hat
    x_hat = model.synthesis(whole, level).clamp(0, 1)
    if window.pixels.shape[3] == 1:
        x_hat = x_hat.mean(-1, keepdim=True)
    error = (x_hat - window.pixels)[:, : window.height, : window.width].square().sum()
    total: Tensor = torch.stack(bits).sum() + window.weight * error
    return total
