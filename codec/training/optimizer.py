"""Optimisers and the parameters that each of them updates.

`Muon` is implemented here because torch's own Muon runs in bfloat16 only.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from codec.model.exact import ExactLinear
from codec.model.layers import Linear32
from codec.model.network import Model
from codec.model.runtime import has_bfloat16

OPTIMIZERS = ("adamw", "muon")


def build_optimizers(model: Model, name: str, linear_rate: float) -> list[Optimizer]:
    """Return one or two optimisers that together update every parameter of `model` once.

    The linear path starts near its optimum, so its learning rate is multiplied by `linear_rate`.
    With "muon", the other 1×1 convolutions are updated by `Muon`. Biases, gains, tables, heads and
    depthwise filters are still updated by AdamW.
    """
    linear = [p for m in model.modules() if isinstance(m, Linear32) for p in m.parameters()]
    matrices = []
    if name == "muon":
        dense = [m for m in model.modules() if isinstance(m, (nn.Linear, ExactLinear))]
        matrices = [m.weight for m in dense if not isinstance(m, Linear32)]
    known = {id(parameter) for parameter in linear + matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    groups: list[dict[str, Any]] = [
        {"params": others, "rate_factor": 1.0},
        {"params": linear, "rate_factor": linear_rate},
    ]
    optimizers: list[Optimizer] = [torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.0)]
    if matrices:
        optimizers.append(Muon([{"params": matrices, "rate_factor": 1.0}]))
    return optimizers


def orthogonalise(x: Tensor) -> Tensor:
    """Bring the singular values of matrices (N×A×B) near 1, by five Newton–Schulz steps.

    The coefficients of the quintic polynomial are those of Jordan et al. (see `Muon`). The singular
    values end in about 0.7…1.2, which is close enough for the direction of an update. So are
    products in bfloat16, where the hardware has it.
    """
    wide = x.transpose(1, 2) if x.shape[1] > x.shape[2] else x
    wide = wide / wide.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-12)
    if has_bfloat16(x.device):
        wide = wide.bfloat16()
    for _ in range(5):
        gram = wide @ wide.transpose(1, 2)
        polynomial = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        wide = torch.baddbmm(wide, polynomial, wide, beta=3.4445)
    return (wide.transpose(1, 2) if x.shape[1] > x.shape[2] else wide).to(x.dtype)


class Muon(Optimizer):
    """Momentum with orthogonalised updates: all directions of a matrix change equally fast.

    See Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). The update
    is scaled to the size of AdamW's updates (0.2 · √max(A, B), Liu et al., "Muon is scalable for
    LLM training", 2025), so that one learning rate suits both. torch's own Muon always
    runs in bfloat16, which many CPUs emulate. There it took seven times as long as a whole training
    step. This class stacks matrices of equal shape, so that a GPU launches few
    kernels.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. All parameters are matrices."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for shape, matrices in shapes.items():
                updates = orthogonalise(torch.stack([self._momentum(p, group["momentum"]) for p in matrices]))
                size = -group["lr"] * 0.2 * math.sqrt(max(shape))
                for parameter, update in zip(matrices, updates, strict=True):
                    parameter.add_(update, alpha=size)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        """Return the Nesterov momentum: the running mean of the gradients, one step ahead."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["momentum"], momentum)


def set_rate(optimizers: Iterable[Optimizer], rate: float) -> None:
    """Set the learning rate of every group to `rate` times the factor of the group."""
    for group in itertools.chain.from_iterable(o.param_groups for o in optimizers):
        group["lr"] = rate * group["rate_factor"]
