"""Layers whose result is the same bits on every machine: integers carried in float64.

A layer works in two modes. While training it is an ordinary float layer. After `freeze()`

- weights are integer multiples of 2^-12, biases of 2^-20 and activations of 2^-8;
- every activation is clamped to ±128 (not while training, where they stay far below), so a product
  is a multiple of 2^-20, and a sum of them is below 2^53 · 2^-20 as long as Σ|w| · 128 + |b| < 2^33,
  which `freeze()` proves for each output (and asks for 2^4 more);
- then float64 represents every partial sum exactly, and the order of summation, fused
  multiply-adds, threads, batch size or device cannot change it.

Nothing else is allowed here: no exp, sigmoid, division or normalisation. Rounding is to nearest,
ties to even. See Ballé, Johnston, Minnen, "Integer networks for data compression with
latent-variable models", ICLR 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.layers import depthwise_by_shifts

WEIGHT_BITS = 12
ACTIVATION_BITS = 8
LIMIT = 128.0
"""Activations are clamped to ±LIMIT."""

_EXACT_BELOW = 2.0 ** (53 - WEIGHT_BITS - ACTIVATION_BITS - 4)
"""Bound on every sum. 2^33 is needed; 2^4 is headroom for the leaky slope's three extra bits."""


class InexactLayer(ValueError):
    """A layer's sums could leave the range in which float64 is exact, or a weight is not finite."""


def round_to_grid(x: Tensor, bits: int) -> Tensor:
    """The nearest multiple of 2^-bits, ties to even."""
    return torch.round(x * 2.0**bits) * 2.0**-bits


def to_grid(x: Tensor) -> Tensor:
    """The nearest activation: a multiple of 2^-ACTIVATION_BITS within ±LIMIT."""
    return round_to_grid(x, ACTIVATION_BITS).clamp_(-LIMIT, LIMIT)


class ExactLayer(nn.Module):
    """Base of the layers below: weight and bias, the bound, and the way back to the grid."""

    weight: nn.Parameter
    bias: nn.Parameter
    fan_in_axes: tuple[int, ...]
    """Axes of `weight` that are summed over for one output."""

    def __init__(self, activation: bool) -> None:
        super().__init__()
        self.activation = activation
        self.frozen = False

    @torch.no_grad()
    def freeze(self) -> float:
        """Round the parameters to their grids, prove exactness; returns the largest sum possible."""
        weight = round_to_grid(self.weight.double(), WEIGHT_BITS)
        bias = round_to_grid(self.bias.double(), WEIGHT_BITS + ACTIVATION_BITS)
        bound = weight.abs().sum(self.fan_in_axes) * LIMIT + bias.abs()
        largest = float(bound.max())
        if not largest < _EXACT_BELOW:  # also catches NaN
            raise InexactLayer(f"sums up to {largest:g} exceed {_EXACT_BELOW:g}")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.frozen = True
        return largest

    def to_activation(self, x: Tensor) -> Tensor:
        """Leaky ReLU where asked for, back to the grid, clamped."""
        if self.activation:
            x = F.leaky_relu(x, 0.125)
        return to_grid(x) if self.frozen else x


class ExactLinear(ExactLayer):
    """A 1×1 convolution on N×H×W×C."""

    fan_in_axes = (1,)

    def __init__(self, inputs: int, outputs: int, *, activation: bool = False) -> None:
        super().__init__(activation)
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.to_activation(F.linear(x, self.weight, self.bias))


class ExactDepthwise3x3(ExactLayer):
    """A 3×3 convolution of each channel with itself, zeros beyond the edge."""

    fan_in_axes = (0, 1)

    def __init__(self, channels: int, *, activation: bool = False) -> None:
        super().__init__(activation)
        self.weight = nn.Parameter(torch.randn(3, 3, channels) / 6)
        self.bias = nn.Parameter(torch.zeros(channels))
        with torch.no_grad():
            self.weight[1, 1] += 1

    def forward(self, x: Tensor) -> Tensor:
        if self.frozen:
            out = depthwise_by_shifts(x, self.weight, self.bias)
        else:
            weight = self.weight.permute(2, 0, 1)[:, None]
            out = F.conv2d(x.permute(0, 3, 1, 2), weight, self.bias, padding=1, groups=x.shape[-1])
            out = out.permute(0, 2, 3, 1)
        return self.to_activation(out)


class ExactHeads(ExactLayer):
    """Four linear maps side by side: 4×K×C inputs, one map for each of the leading four."""

    fan_in_axes = (1,)

    def __init__(self, inputs: int, outputs: int, gain: float) -> None:
        super().__init__(activation=False)
        self.weight = nn.Parameter(torch.randn(4, inputs, outputs) * gain * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(4, 1, outputs))

    def freeze(self) -> float:
        # The bias keeps its middle axis while the sum drops it: align the two for the bound.
        self.bias.data = self.bias.data[:, 0]
        largest = super().freeze()
        self.bias.data = self.bias.data[:, None]
        return largest

    def forward(self, x: Tensor) -> Tensor:
        return self.to_activation(torch.matmul(x, self.weight) + self.bias)


class ExactBlock(nn.Module):
    """Residual 1×1, 3×3 depthwise, 1×1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix_in = ExactLinear(channels, channels, activation=True)
        self.spatial = ExactDepthwise3x3(channels, activation=True)
        self.mix_out = ExactLinear(channels, channels)
        with torch.no_grad():
            self.mix_out.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mix_out(self.spatial(self.mix_in(x)))
        return x.clamp_(-LIMIT, LIMIT) if self.mix_out.frozen else x
