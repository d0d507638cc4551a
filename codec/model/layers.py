"""Basic layers of all networks. All tensors are N×H×W×C ("channels last")."""

from __future__ import annotations

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
        if x.dtype == torch.float64:
            return depthwise_by_shifts(x, self.weight, self.bias)
        weight = self.weight.permute(2, 0, 1)[:, None]
        out = F.conv2d(x.permute(0, 3, 1, 2), weight, self.bias, padding=1, groups=x.shape[-1])
        return out.permute(0, 2, 3, 1)


def depthwise_by_shifts(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute `Depthwise3x3` as nine shifted multiply-adds: torch has no fast float64 kernel."""
    h, w = x.shape[1:3]
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    out = bias.repeat(*x.shape[:3], 1)  # a copy even for one pixel, where expand would share memory
    for i in range(3):
        for j in range(3):
            out.addcmul_(padded[:, i : i + h, j : j + w], weight[i, j])
    return out


class Block(nn.Module):
    """Spatial mixing, then a gated feed-forward layer. Both are residual and initially zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_in = nn.Linear(channels, channels)
        self.spatial = Depthwise3x3(channels)
        self.mix_out = nn.Linear(channels, channels)
        self.gate_in = nn.Linear(channels, 2 * channels)
        self.gate_out = nn.Linear(channels, channels)
        for layer in (self.mix_out, self.gate_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_out(self.spatial(F.leaky_relu(self.mix_in(x), 0.125)))
        # The gate is bounded. With an unbounded gate (SwiGLU), three blocks are a polynomial of
        # degree 8 in the latents, and training diverged after 1,100 steps.
        gate, value = self.gate_in(x).chunk(2, dim=-1)
        out: Tensor = x + self.gate_out(torch.sigmoid(gate) * value)
        return out
