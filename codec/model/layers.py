"""Basic layers of all networks. All tensors are N×H×W×C ("channels last")."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.config import QUALITY_ANCHORS, STEPS_PER_ANCHOR


def space_to_depth(x: Tensor, factor: int) -> Tensor:
    """Rearrange N×H×W×C to N×H/f×W/f×(f·f·C); channel order is (row, column, channel)."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(n, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: Tensor, factor: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // (factor * factor))
    return x.permute(0, 1, 3, 2, 4, 5).reshape(n, h * factor, w * factor, c // (factor * factor))


def interpolate(table: Tensor, level: Tensor) -> Tensor:
    """Interpolate the rows of `table` (anchors×C) at N quality levels (0…1024) to N×1×1×C.

    Interpolation weights are multiples of 1/128, so the result is exact for a table of dyadic
    numbers.
    """
    low = torch.clamp(level // STEPS_PER_ANCHOR, 0, QUALITY_ANCHORS - 2).long()
    t = ((level - low * STEPS_PER_ANCHOR).to(table.dtype) / STEPS_PER_ANCHOR)[:, None]
    rows = table[low] * (1 - t) + table[low + 1] * t
    return rows[:, None, None, :]


class QualityTable(nn.Module):
    """A learned vector for every quality level."""

    def __init__(self, channels: int, value: float = 0.0) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.full((QUALITY_ANCHORS, channels), value))

    def forward(self, level: Tensor) -> Tensor:
        return interpolate(self.table, level)


class Linear32(nn.Linear):
    """A 1×1 convolution that is excluded from autocast.

    The linear path carries latents of several hundred quantization steps. The eight bits of
    bfloat16 would add noise as large as one step.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class Linear(nn.Linear):
    """A 1×1 convolution. Its input is converted to the dtype of its weights."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self.weight.dtype), self.weight, self.bias)


class ResidualLinear(Linear):
    """A 1×1 convolution without a bias, whose output is added to `x`.

    Without gradients the sum replaces `x`, so that no memory is needed for it.
    """

    def __init__(self, inner: int, channels: int, gain: float = 0.0) -> None:
        super().__init__(inner, channels, bias=False)
        with torch.no_grad():
            self.weight.mul_(gain)

    def forward(self, x: Tensor, inner: Tensor) -> Tensor:  # type: ignore[override]
        """Return x + W·inner. `x` is N×H×W×C, contiguous, and overwritten without gradients."""
        if torch.is_grad_enabled():
            return x + super().forward(inner)
        if self.weight.dtype != x.dtype:
            return x.add_(super().forward(inner))
        x.view(-1, x.shape[-1]).addmm_(inner.reshape(-1, inner.shape[-1]), self.weight.T)
        return x


def leaky_relu(x: Tensor) -> Tensor:
    """The activation with slope ⅛. Without gradients it overwrites `x`."""
    return F.leaky_relu(x, 0.125, inplace=not torch.is_grad_enabled())


def multiply(x: Tensor, factor: Tensor) -> Tensor:
    """Return x · factor. Without gradients the product overwrites `x`."""
    return x * factor if torch.is_grad_enabled() else x.mul_(factor)


class Depthwise3x3(nn.Module):
    """A depthwise 3×3 convolution, padded with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 3, channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        with torch.no_grad():
            self.weight.normal_(0, 1 / 6)
            self.weight[1, 1] += 1

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.permute(2, 0, 1)[:, None]
        out = F.conv2d(x.permute(0, 3, 1, 2), weight, self.bias, padding=1, groups=x.shape[-1])
        return out.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Spatial mixing, then a gated feed-forward layer. Both are residual and initially zero.

    `inner` is the number of channels inside both.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.mix_in = Linear(channels, inner)
        self.spatial = Depthwise3x3(inner)
        self.mix_out = ResidualLinear(inner, channels)
        self.gate_in = Linear(channels, 2 * inner)
        self.gate_out = ResidualLinear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map N×H×W×C to the same shape. Without gradients the output overwrites `x`."""
        x = self.mix_out(x, self.spatial(leaky_relu(self.mix_in(x))))
        # The gate is bounded. With an unbounded gate (SwiGLU), three blocks are a polynomial of
        # degree 8 in the latents, and training diverged after 1,100 steps.
        gate, value = self.gate_in(x).chunk(2, dim=-1)
        out: Tensor = self.gate_out(x, multiply(torch.sigmoid(gate), value))
        return out


_Network = TypeVar("_Network", bound=nn.Module)


def in_bfloat16(network: _Network) -> _Network:
    """Return a copy whose layers beside the linear path multiply in bfloat16.

    The linear path, and with it the sums of the blocks at 1/8, stay in float32. The blocks at 1/16
    add in bfloat16.
    """
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, (Linear, Depthwise3x3)):
            module.bfloat16()
    return network
