"""Layers with bit-identical results on every machine: integer arithmetic in float64.

A layer has two modes. During training it is an ordinary float layer. After `freeze()`:

- Weights are integer multiples of 2^-12, biases of 2^-20 and activations of 2^-8.
- Every activation is clamped to ±128. (Activations are not clamped during training, where they stay
  far below this limit.) A product of weight and activation is therefore a multiple of 2^-20. A sum
  of products is below 2^53 · 2^-20 as long as Σ|w| · 128 + |b| < 2^33. `freeze()` proves this for
  each output, with a margin of 2^4.
- float64 then represents every partial sum exactly. The order of summation, fused multiply-adds,
  threads, the batch size and the device cannot change the result.

No other operations are allowed here: no exp, sigmoid, division or normalisation. Rounding is to
nearest, ties to even. See Ballé, Johnston, Minnen, "Integer networks for data compression with
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
"""Bound on every sum.

A bound of 2^33 is needed. The factor 2^4 leaves room for the three extra bits of the slope of the
leaky ReLU.
"""


class InexactLayer(ValueError):
    """Sums of a layer could leave the range where float64 is exact, or a weight is not finite."""


def round_to_grid(x: Tensor, bits: int) -> Tensor:
    """Round to the nearest multiple of 2^-bits, ties to even."""
    return torch.round(x * 2.0**bits) * 2.0**-bits


def to_grid(x: Tensor) -> Tensor:
    """Round to the nearest multiple of 2^-ACTIVATION_BITS within ±LIMIT."""
    return round_to_grid(x, ACTIVATION_BITS).clamp_(-LIMIT, LIMIT)


class ExactLayer(nn.Module):
    """Base class of the layers: weight, bias, the bound on sums, and rounding to the grid."""

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
        """Round the parameters to their grids and prove exactness.

        Return the largest possible sum. Raises `InexactLayer` if it is too large or not finite.
        """
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
        """Apply the leaky ReLU if `activation` is set. Round to the grid and clamp if frozen."""
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
    """A depthwise 3×3 convolution on N×H×W×C, padded with zeros."""

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
    """Four linear maps: inputs are 4×K×C, with one map per index of the first axis."""

    fan_in_axes = (1,)

    def __init__(self, inputs: int, outputs: int, gain: float) -> None:
        super().__init__(activation=False)
        self.weight = nn.Parameter(torch.randn(4, inputs, outputs) * gain * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(4, 1, outputs))

    def freeze(self) -> float:
        # The sum over the weights lacks the middle axis of the bias. Align both for the bound.
        self.bias.data = self.bias.data[:, 0]
        largest = super().freeze()
        self.bias.data = self.bias.data[:, None]
        return largest

    def forward(self, x: Tensor) -> Tensor:
        return self.to_activation(torch.matmul(x, self.weight) + self.bias)


class ExactBlock(nn.Module):
    """Residual block of 1×1, depthwise 3×3 and 1×1 convolutions."""

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
