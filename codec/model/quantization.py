"""Rounding, and what stands in for it while training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

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
