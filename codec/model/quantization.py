"""Scales, rounding with a dead zone, and the substitutes for rounding in training."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SCALES = 64
SCALE_MIN = 0.11
SCALE_MAX = 64.0

LARGEST_DEAD_ZONE = 0.25

SYMBOL_LIMIT = 1 << 20
"""Symbols and hyper-latents lie within ±SYMBOL_LIMIT. The format has no larger values."""


def quantize(values: Tensor) -> Tensor:
    """Round to the nearest integers, ties to even, and clamp to ±SYMBOL_LIMIT. Keep the dtype."""
    return torch.round(values).clamp(-SYMBOL_LIMIT, SYMBOL_LIMIT)


def straight_through_round(values: Tensor) -> Tensor:
    """Round in the forward pass. The gradient passes as if the values were not rounded."""
    return values + (torch.round(values) - values).detach()


def add_uniform_noise(values: Tensor) -> Tensor:
    """Add noise in ±½, the differentiable substitute for rounding of Ballé et al. (2017)."""
    return values + torch.empty_like(values).uniform_(-0.5, 0.5)


class _Clamp(torch.autograd.Function):
    """Clamp that passes gradients outside the range if they point back inside."""

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
    """Clamp `x` to [low, high]. The gradient can pull values outside the range back."""
    out: Tensor = _Clamp.apply(x, low, high)  # type: ignore[no-untyped-call]
    return out


def scale_index(scale: Tensor) -> Tensor:
    """Return the real-valued index of a standard deviation on the 64 log-spaced scales 0.11…64."""
    return torch.log(scale / SCALE_MIN) * ((SCALES - 1) / math.log(SCALE_MAX / SCALE_MIN))


def scale_of_index(index: Tensor) -> Tensor:
    """The inverse of `scale_index`."""
    return SCALE_MIN * torch.exp(index * (math.log(SCALE_MAX / SCALE_MIN) / (SCALES - 1)))


def shrink(residual: Tensor, index: Tensor, dead_zone: float) -> Tensor:
    """Move latents minus their mean towards zero, so that a wider interval is rounded to zero.

    A symbol of ±1 costs many bits where it is rare. All rounding thresholds move outwards: by
    `dead_zone` for scales up to 0.37 (index 12), by less for larger scales, and not at all from
    0.83 (index 20) on. This is a choice of the encoder alone. See Sullivan: "Efficient scalar
    quantization of exponential and Laplacian random variables", IEEE Transactions on Information
    Theory, 1996.
    """
    if not dead_zone:
        return residual
    zone = dead_zone * ((20 - index.detach()) / 8).clamp(0, 1)
    return residual - residual.clamp(-zone, zone)
