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

_RATE = 0.01
_DAMPING = 16.0
"""Added to the root mean square of a gradient (bits per step) that Adam divides by.

Undamped, Adam moves every latent by the same distance. Most latents are nearly free zeros, and the
decoder's response to moving them all together is many times that to moving them one by one."""

_SHARPNESS = (5.0, 8.0)
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
    adam = torch.optim.Adam([moving], lr=_RATE, betas=(0.9, 0.99), eps=_DAMPING)
    best, best_cost = moving.detach().clone(), _cost(model, window, start, moving.detach(), None)
    low, high = _SHARPNESS
    for done in range(iterations):
        share = done / iterations
        adam.param_groups[0]["lr"] = _RATE * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
        with torch.enable_grad():
            cost = _cost(model, window, start, moving, low * (high / low) ** share)
            (moving.grad,) = torch.autograd.grad(cost, moving)
        adam.step()
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
