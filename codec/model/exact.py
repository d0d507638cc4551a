"""Linear layers with bit-identical results on every machine: integers carried in float32.

The scale model chooses the tables that decode a file. Its results must not depend on the machine.
In these layers:

- Weights are integer multiples of 2^-8, activations of 2^-4 and biases of 2^-12. Activations are
  clamped to ±32.
- A sum of products is a multiple of 2^-12. Its magnitude is at most Σ|w| · 32 + |b|. `freeze()`
  proves for each output that this is below 2^12, when weights are loaded.
- float32 represents all multiples of 2^-12 below 2^12 exactly. The order of summation, fused
  multiply-adds, threads, the batch size and the device cannot change the result.
- A leaky ReLU gives multiples of 2^-15, which are clamped to ±32 before they are rounded.

Only sums of products, a leaky ReLU with the slope 2^-3, rounding to nearest with ties to even and
clamping are allowed. There is no exp, division or normalisation, and no library convolution, which
may transform its inputs. During training the same grids are used, with straight-through gradients,
so that the trained network is the one that is loaded.

See Ballé, Johnston, Minnen, "Integer networks for data compression with latent-variable models",
ICLR 2019.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHT_BITS = 8
ACTIVATION_BITS = 4
LIMIT = 32.0
"""Activations are clamped to ±LIMIT."""

SUM_BITS = WEIGHT_BITS + ACTIVATION_BITS
"""Sums of products are multiples of 2^-SUM_BITS."""

EXACT_BELOW = 1 << 24
"""float32 represents all integers below this bound."""


class InexactLayer(ValueError):
    """Sums of a layer could leave the range where float32 is exact, or a weight is not finite."""


def round_to_grid(x: Tensor, bits: int) -> Tensor:
    """Round to the nearest multiple of 2^-bits, ties to even."""
    return torch.round(x * 2.0**bits) * 2.0**-bits


def straight_through_grid(x: Tensor, bits: int) -> Tensor:
    """`round_to_grid` whose gradient is that of the identity."""
    return x + (round_to_grid(x, bits) - x).detach()


class ExactLinear(nn.Module):
    """A 1×1 convolution on N×H×W×C, whose inputs are multiples of 2^-4 within ±32."""

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.frozen = False

    @torch.no_grad()
    def freeze(self, added: float = 0.0, bits: int = SUM_BITS) -> int:
        """Round the parameters to their grids and prove exactness.

        Something of a magnitude of at most `added` will be added to the output. The result is a
        multiple of 2^-bits. Returns the bound on its magnitude, in units of 2^-bits. Raises
        `InexactLayer` if float32 could not represent the result, or if a parameter is not finite.
        """
        weight = round_to_grid(self.weight.double(), WEIGHT_BITS)
        bias = round_to_grid(self.bias.double(), SUM_BITS)
        largest = (float((weight.abs().sum(1) * LIMIT + bias.abs()).max()) + added) * 2.0**bits
        if not largest < EXACT_BELOW:  # also catches NaN
            raise InexactLayer(f"sums of up to {largest:.0f} units exceed the {EXACT_BELOW} of float32")
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = nn.Parameter(bias.float(), requires_grad=False)
        self.frozen = True
        return int(largest)

    def forward(self, x: Tensor) -> Tensor:
        if self.frozen:
            return F.linear(x, self.weight, self.bias)
        weight = straight_through_grid(self.weight, WEIGHT_BITS)
        return F.linear(x, weight, straight_through_grid(self.bias, SUM_BITS))


def check_products() -> None:
    """Raise `InexactLayer` if torch does not multiply numbers of 12 bits exactly in float32.

    It does not if the environment tells oneDNN to compute in bfloat16 (ONEDNN_DEFAULT_FPMATH_MODE).
    """
    x = (2**12 - 1) * torch.eye(64, dtype=torch.float32)
    if not torch.equal(F.linear(x, x), (2**12 - 1) * x):
        raise InexactLayer("torch does not multiply float32 exactly here: see ONEDNN_DEFAULT_FPMATH_MODE")


def to_activation(x: Tensor) -> Tensor:
    """Apply the leaky ReLU, round to the grid and clamp. Gradients pass the rounding unchanged."""
    return straight_through_grid(F.leaky_relu(x, 0.125).clamp(-LIMIT, LIMIT), ACTIVATION_BITS)


def neighbourhoods(x: Tensor) -> Tensor:
    """Gather the nine neighbours of each position: N×H×W×C to N×H×W×9C, zeros beyond the edge."""
    h, w = x.shape[1:3]
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    return torch.cat([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], -1)
