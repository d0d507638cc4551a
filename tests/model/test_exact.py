"""Exact arithmetic: its bound, and results that do not depend on the order of computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from codec.model.entropy_model import (
    group_of,
    merge_phases,
    merge_steps,
    split_phases,
    step_values,
)
from codec.model.exact import (
    ACTIVATION_BITS,
    LIMIT,
    WEIGHT_BITS,
    ExactDepthwise3x3,
    ExactHeads,
    ExactLayer,
    ExactLinear,
    InexactLayer,
)
from tests.conftest import tiny_model


def on_grid(x: Tensor, bits: int) -> bool:
    scaled = x * 2.0**bits
    return bool((scaled == scaled.round()).all())


def activations(*shape: int) -> Tensor:
    integers = torch.randint(-(2**15), 2**15 + 1, shape)
    return integers.double() * 2.0**-ACTIVATION_BITS


def layers() -> list[tuple[ExactLayer, Tensor]]:
    torch.manual_seed(1)
    return [
        (ExactLinear(200, 50), activations(2, 5, 7, 200)),
        (ExactLinear(200, 50, activation=True), activations(2, 5, 7, 200)),
        (ExactDepthwise3x3(40), activations(2, 5, 7, 40)),
        (ExactHeads(64, 30, 1.0), activations(4, 21, 64)),
    ]


def reference(layer: ExactLayer, x: Tensor) -> np.ndarray:
    """Compute the layer with numpy in int64, without floating-point numbers."""
    unit = WEIGHT_BITS + ACTIVATION_BITS
    w = (layer.weight * 2.0**WEIGHT_BITS).long().numpy()
    b = (layer.bias * 2.0**unit).long().numpy()
    a = (x * 2.0**ACTIVATION_BITS).long().numpy()
    if isinstance(layer, ExactLinear):
        total = a @ w.T + b
    elif isinstance(layer, ExactHeads):
        total = a @ w + b
    else:
        padded = np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0)))
        h, width = a.shape[1:3]
        total = sum(padded[:, i : i + h, j : j + width] * w[i, j] for i in range(3) for j in range(3)) + b
    # Three more fractional bits hold the leaky slope of 1/8.
    total = np.where(total < 0, total, 8 * total) if layer.activation else 8 * total
    shift = WEIGHT_BITS + 3
    low = total >> shift
    rest = total & ((1 << shift) - 1)
    half = 1 << (shift - 1)
    rounded = low + ((rest > half) | ((rest == half) & (low & 1 == 1)))
    bound = int(LIMIT * 2**ACTIVATION_BITS)
    clipped: np.ndarray = np.clip(rounded, -bound, bound)
    return clipped


@pytest.mark.parametrize("index", range(4))
def test_layers_match_integer_arithmetic(index: int) -> None:
    layer, x = layers()[index]
    layer.freeze()
    out = layer(x)
    assert on_grid(layer.weight, WEIGHT_BITS)
    assert on_grid(layer.bias, WEIGHT_BITS + ACTIVATION_BITS)
    assert np.array_equal((out * 2.0**ACTIVATION_BITS).long().numpy(), reference(layer, x))


@pytest.mark.parametrize("index", range(4))
def test_the_order_of_summation_does_not_matter(index: int) -> None:
    layer, x = layers()[index]
    layer.freeze()
    whole = layer(x)
    if isinstance(layer, ExactLinear):
        order = torch.randperm(200)
        total = torch.zeros_like(whole)
        for k in order:
            total += x[..., k, None] * layer.weight[:, k]
        assert torch.equal(layer.to_activation(total + layer.bias), whole)
    parts = [layer(x[..., i : i + 1, :]) for i in range(x.shape[-2])]
    if not isinstance(layer, ExactDepthwise3x3):
        assert torch.equal(torch.cat(parts, -2), whole)


def test_the_bound_is_proven() -> None:
    layer = ExactLinear(4, 4)
    layer.weight.data.fill_(2.0**30)
    with pytest.raises(InexactLayer):
        layer.freeze()
    layer = ExactLinear(4, 4)
    layer.weight.data[2, 1] = float("nan")
    with pytest.raises(InexactLayer):
        layer.freeze()
    layer = ExactLinear(4, 4)
    layer.weight.data.fill_(1.0)
    layer.bias.data.zero_()
    assert layer.freeze() == 4 * LIMIT


def test_every_layer_of_the_model_is_proven() -> None:
    model, _ = tiny_model()
    bounds = model.entropy_model.double().freeze()
    exact = [m for m in model.entropy_model.modules() if isinstance(m, ExactLayer)]
    assert len(bounds) == len(exact) > 10
    assert all(layer.frozen for layer in exact)


def test_tables_of_quality_are_within_the_limit() -> None:
    model, _ = tiny_model()
    entropy = model.entropy_model.double()
    entropy.quality.table.data[0, :2] = torch.tensor([1e6, -1e6])
    entropy.freeze()
    assert entropy.quality.table[0, :2].tolist() == [LIMIT, -LIMIT]


def test_phases_and_groups() -> None:
    x = torch.arange(2 * 6 * 8 * 3).reshape(2, 6, 8, 3)
    assert torch.equal(merge_phases(split_phases(x)), x)
    assert torch.equal(split_phases(x)[1], x[:, 0::2, 1::2])
    assert torch.equal(split_phases(x)[2], x[:, 1::2, 0::2])
    for phase in range(4):
        assert sorted(group_of(step, phase) for step in range(4)) == [0, 1, 2, 3]
    for step in range(4):
        assert sorted(group_of(step, phase) for phase in range(4)) == [0, 1, 2, 3]


def test_steps_cover_every_latent_once() -> None:
    y = torch.arange(1, 1 + 2 * 5 * 7 * 8).reshape(2, 5, 7, 8)
    steps = [step_values(y, step) for step in range(4)]
    assert torch.equal(merge_steps(steps, (5, 7)), y)
    assert sum(int((values > 0).sum()) for values in steps) == y.numel()
