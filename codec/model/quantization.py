"""Scales, rounding with a dead zone, and what stands in for it while training."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from codec.model.exact import round_to_grid

SCALES = 64
SCALE_MIN = 0.11
SCALE_MAX = 64.0

LARGEST_DEAD_ZONE = 0.25

_ZONE_BITS = 10
"""Dead zones lie on the grid that latents and means lie on, so that ties are ties on every machine."""

SYMBOL_LIMIT = 1 << 20
"""Symbols and hyper-latents lie within ±SYMBOL_LIMIT; the format holds no larger ones."""


def quantize(values: Tensor) -> Tensor:
    """Nearest integers, ties to even, within the format's range; the dtype is kept."""
    return torch.round(values).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)


def straight_through_round(values: Tensor) -> Tensor:
    """Rounds forward, passes the gradient as if it had not."""
    return values + (torch.round(values) - values).detach()


def add_uniform_noise(values: Tensor) -> Tensor:
    """The differentiable stand-in for rounding of Ballé et al. (2017): noise in ±½."""
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)


class _Clamp(torch.autograd.Function):
    """Clamp whose gradient still passes outside the range when it points back inside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.range = (low, high)
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        low, high = ctx.range
        grad = grads[0]
        keep = ((x >= low) | (grad < 0)) & ((x <= high) | (grad > 0))
        return grad * keep, None, None


def soft_clamp(x: Tensor, low: float, high: float) -> Tensor:
    """`x` clamped to [low, high]; values outside can be pulled back by the gradient."""
    out: Tensor = _Clamp.apply(x, low, high)  # type: ignore[no-untyped-call]
    return out


def scale_index(scale: Tensor) -> Tensor:
    """The real-valued index of a standard deviation on the 64 log-spaced scales 0.11…64."""
    return torch.log(scale / SCALE_MIN) * ((SCALES - 1) / math.log(SCALE_MAX / SCALE_MIN))


def scale_of_index(index: Tensor) -> Tensor:
    """The inverse of `scale_index`."""
    return SCALE_MIN * torch.exp(index * (math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)))


def shrink(residual: Tensor, index: Tensor, dead_zone: float) -> Tensor:
    """Latents minus their mean, moved towards zero so that rounding them widens the interval of zero.

    Where ±1 is rare it costs many bits. All thresholds move outwards, by `dead_zone` for scales up to
    0.37 (index 12), by less above, and not at all from 0.83 (index 20) on. The encoder's choice alone.
    Sullivan: "Efficient scalar quantization of exponential and Laplacian random variables", IEEE
    Transactions on Information Theory, 1996.
    """
    if not dead_zone:
        return residual
    zone = round_to_grid(dead_zone * ((20 - index.detach()) / 8).clamp(0, 1), _ZONE_BITS)
    return residual - residual.clamp(-zone, zone)
