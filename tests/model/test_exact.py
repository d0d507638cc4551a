"""Exact arithmetic: its bounds, and results that do not depend on how they are computed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import codec
from codec.engine import running
from codec.format.header import MAX_LEVEL
from codec.model.exact import (
    ACTIVATION_BITS,
    EXACT_BELOW,
    LIMIT,
    SUM_BITS,
    WEIGHT_BITS,
    ExactLinear,
    InexactLayer,
    neighbourhoods,
    round_to_grid,
    to_activation,
)
from codec.model.layers import depth_to_space, interpolate
from codec.model.scale_model import INDEX_PER_UNIT, ScaleModel
from tests.conftest import TINY, tiny_model
from tests.model import integers

SIZE = (5, 6)
GRIDS = {"weight": WEIGHT_BITS, "bias": SUM_BITS, "table": ACTIVATION_BITS}


def frozen(seed: int = 0, share: float = 0.5) -> ScaleModel:
    """Return a model with random weights, whose sums use `share` of the range of float32."""
    torch.manual_seed(seed)
    model = ScaleModel(TINY)
    with torch.no_grad():
        model.quality.table.uniform_(-20, 20)
        model.offset.table.uniform_(-10, 73)
        for layer, limit in ((model.spatial, 4096 - 20), (model.hidden, 4096), (model.index, 1024 - 73 / 8)):
            layer.bias.normal_(0, 2)
            sums = layer.weight.abs().sum(1, keepdim=True)
            layer.weight.mul_((limit * share - layer.bias.abs()[:, None]) / LIMIT / sums)
    model.freeze()
    return model


def hyper_latents(n: int = 3, seed: int = 0, largest: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (n, *SIZE, TINY.hyper_latents)
    return torch.randint(-largest, largest + 1, shape, generator=generator).float()


LEVELS = torch.tensor([0, 77, 1024])


def expected(model: ScaleModel, z: Tensor, levels: Tensor) -> np.ndarray:
    tiles = zip(z.long().numpy(), levels.tolist(), strict=True)
    return np.stack([integers.scale_indexes(model, tile, level) for tile, level in tiles])


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.98])
@pytest.mark.parametrize("largest", [1, 8, 40, 1 << 20])
def test_indexes_are_those_of_plain_integers(share: float, largest: int) -> None:
    model, z = frozen(3, share), hyper_latents(largest=largest)
    indexes = model.indexes(z, LEVELS)
    assert indexes.dtype == torch.uint8
    assert np.array_equal(indexes.numpy(), expected(model, z, LEVELS))
    assert len(indexes.unique()) > (20 if share < 0.1 else 1)


def test_every_level() -> None:
    model = frozen(4, 0.01)
    z = hyper_latents(1)[:, :1, :1].expand(MAX_LEVEL + 1, -1, -1, -1)
    levels = torch.arange(MAX_LEVEL + 1)
    assert np.array_equal(model.indexes(z, levels).numpy(), expected(model, z, levels))


def test_the_shipped_models(shipped: Any) -> None:
    for model in shipped:
        z = torch.randint(-6, 7, (3, 4, 5, model.hyper_latents), generator=torch.Generator().manual_seed(1))
        found = model.indexes(z.float(), LEVELS).numpy()
        assert np.array_equal(found, expected(model, z, LEVELS))


@pytest.fixture(scope="module")
def shipped() -> list[ScaleModel]:
    from codec.model import registry
    from codec.model.weights import deserialise

    return [deserialise(entry.read())[0].scale_model for entry in registry.entries()]


def in_float64(model: ScaleModel, z: Tensor, level: Tensor) -> Tensor:
    """Return the indexes before rounding, computed with numbers of 53 bits."""

    def linear(layer: ExactLinear, x: Tensor) -> Tensor:
        return F.linear(x, layer.weight.double(), layer.bias.double())

    x = linear(model.spatial, neighbourhoods(z.double().clamp(-LIMIT, LIMIT)))
    x = to_activation(x + interpolate(model.quality.table.double(), level))
    x = linear(model.index, to_activation(linear(model.hidden, x)))
    return depth_to_space(x * INDEX_PER_UNIT, 4) + interpolate(model.offset.table.double(), level)


@pytest.mark.parametrize("share", [0.01, 0.98])
def test_float64_gives_the_same_sums(share: float) -> None:
    model, z = frozen(5, share), hyper_latents()
    assert torch.equal(in_float64(model, z, LEVELS).float(), model(z, LEVELS))
    # Control: the sums need most of the bits that float32 has, and more than half precision has.
    if share > 0.5:
        assert not torch.equal(in_float64(model, z, LEVELS).half().double(), in_float64(model, z, LEVELS))


def test_the_order_of_summation_does_not_matter() -> None:
    """Hyper-latents and hidden channels in another order give the same indexes."""
    model, other, z = frozen(6, 0.9), frozen(6, 0.9), hyper_latents()
    sizes = (TINY.hyper_latents, TINY.scale_width, TINY.scale_width)
    inputs, hidden, last = (torch.randperm(n) for n in sizes)
    with torch.no_grad():
        spatial = model.spatial.weight.unflatten(1, (9, -1))[..., inputs].flatten(1)
        other.spatial.weight.copy_(spatial[hidden])
        other.spatial.bias.copy_(model.spatial.bias[hidden])
        other.quality.table.copy_(model.quality.table[:, hidden])
        other.hidden.weight.copy_(model.hidden.weight[last][:, hidden])
        other.hidden.bias.copy_(model.hidden.bias[last])
        other.index.weight.copy_(model.index.weight[:, last])
    assert torch.equal(other(z[..., inputs], LEVELS), model(z, LEVELS))


def test_batches_tiles_and_threads() -> None:
    model, z = frozen(7, 0.9), hyper_latents(24)
    levels = torch.randint(0, MAX_LEVEL + 1, (24,))
    whole = model(z, levels)
    for n in range(24):
        assert torch.equal(model(z[n : n + 1], levels[n : n + 1])[0], whole[n])
    # Away from the edge, a tile gives what a part of a larger tile gives.
    part = model(z[:, 1:4, 2:5], levels)
    assert torch.equal(part[:, 4:8, 4:8], whole[:, 8:12, 12:16])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(model(z, levels), whole)
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Any:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def matmul_precision(name: str) -> Any:
    """Set how torch may round the factors of products. A call of the package replaces this."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        with running.exclusive(None):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    "setting",
    [
        lambda: torch.autocast("cpu", torch.bfloat16), lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.bfloat16), lambda: matmul_precision("high"),
        lambda: matmul_precision("medium"), torch.inference_mode,
    ],
    ids=["autocast", "float64", "bfloat16", "high", "medium", "inference"],
)
def test_settings_of_torch_have_no_effect(setting: Callable[[], Any]) -> None:
    model, z = frozen(8, 0.9), hyper_latents()
    usual = model.indexes(z, LEVELS)
    with setting():
        assert torch.equal(model.indexes(z, LEVELS), usual)


def test_products_that_are_not_exact_are_refused(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the environment tells oneDNN to multiply in bfloat16."""
    product = F.linear

    def rounded(x: torch.Tensor, weight: torch.Tensor, *bias: torch.Tensor) -> torch.Tensor:
        return product(x.bfloat16().float(), weight.bfloat16().float(), *bias)

    monkeypatch.setattr(F, "linear", rounded)
    with pytest.raises(codec.UnknownModel, match="ONEDNN_DEFAULT_FPMATH_MODE"):
        codec.Codec(model=tiny_weights)


def test_frozen_and_trained_are_the_same() -> None:
    """Freezing changes neither the sums nor, beyond rounding, the indexes."""
    model, _ = tiny_model()
    z = hyper_latents(largest=5)
    with torch.no_grad():
        trained = model.scale_model(z, LEVELS)
        model.scale_model.freeze()
        assert torch.equal(model.scale_model(z, LEVELS), trained)
        assert torch.equal(model.scale_model.indexes(z, LEVELS), trained.round().clamp(0, 63).to(torch.uint8))
    for name, parameter in model.scale_model.named_parameters():
        bits = GRIDS[name.rpartition(".")[2]]
        assert torch.equal(round_to_grid(parameter, bits), parameter), name
        assert not parameter.requires_grad


def test_training_has_gradients() -> None:
    model = ScaleModel(TINY)
    with torch.no_grad():
        model.quality.table.uniform_(-1, 1)
    z = hyper_latents(largest=5).requires_grad_(True)
    model(z, LEVELS).square().sum().backward()
    assert z.grad is not None
    gradients = [z.grad, *(parameter.grad for parameter in model.parameters())]
    assert all(g is not None and bool(torch.isfinite(g).all()) and bool(g.any()) for g in gradients)


INPUTS = 8


def row(weights: float, bias: float) -> ExactLinear:
    """Return a layer of which one output has weights and a bias. Those of all others are 0."""
    layer = ExactLinear(INPUTS, 3)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[1] = torch.tensor([1.0, -1.0] * (INPUTS // 2)) * weights
        layer.bias[1] = bias
    return layer


UNIT = 2.0**-SUM_BITS
EDGE = 2.0 ** (24 - SUM_BITS) / LIMIT / INPUTS
"""Magnitude of weights whose sum alone is 2^24 units."""


def test_the_largest_sums_are_exact() -> None:
    weight = EDGE - 2 * 2.0**-WEIGHT_BITS
    bias = 2.0 ** (24 - SUM_BITS) - weight * LIMIT * INPUTS - UNIT
    layer = row(weight, bias)
    assert layer.freeze() == EXACT_BELOW - 1
    worst = LIMIT * layer.weight[1].sign()
    inputs = torch.stack([worst, -worst, worst - 2.0**-ACTIVATION_BITS])
    found = layer(inputs)[:, 1].double() / UNIT
    expected = integers.linear(layer, integers.integers(inputs, ACTIVATION_BITS))[:, 1]
    assert found.tolist() == expected.tolist()
    assert int(found[0]) == EXACT_BELOW - 1
    with pytest.raises(InexactLayer, match="exceed the 16777216"):
        row(weight, bias + UNIT).freeze()
    row(weight, bias - 1).freeze(added=1.0)
    with pytest.raises(InexactLayer):
        row(weight, bias - 1).freeze(added=1.0 + UNIT)
    # Sums on a grid of four times as many points have a quarter of the range.
    assert row(EDGE / 4, -UNIT).freeze() == EXACT_BELOW // 4 + 1
    row(EDGE / 4 - 2.0**-WEIGHT_BITS, 1 - UNIT).freeze(bits=SUM_BITS + 2)
    with pytest.raises(InexactLayer):
        row(EDGE / 4, 0.0).freeze(bits=SUM_BITS + 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**30, 3e38])
@pytest.mark.parametrize("name", [name for name, _ in ScaleModel(TINY).named_parameters()])
def test_values_beyond_the_bounds_are_refused(name: str, value: float) -> None:
    model, _ = tiny_model()
    with torch.no_grad():
        model.scale_model.get_parameter(name).view(-1)[1] = value
    with pytest.raises(InexactLayer):
        model.scale_model.freeze()
    assert not model.scale_model.frozen


def edge_model() -> ScaleModel:
    """Return a model of which every layer reaches the largest sum that is allowed."""
    torch.manual_seed(0)
    model = ScaleModel(TINY)
    bounds = (
        (model.spatial, SUM_BITS, 100.0), (model.hidden, SUM_BITS, 0.0),
        (model.index, SUM_BITS + 2, 100.0 / INDEX_PER_UNIT),
    )
    with torch.no_grad():
        for layer, bits, added in bounds:
            limit = 2.0 ** (24 - bits) - added
            signs = torch.randint(0, 2, layer.weight.shape) * 2.0 - 1
            largest = int(limit / LIMIT / layer.weight.shape[1] * 2**WEIGHT_BITS) - 1
            layer.weight.copy_(signs * largest / 2**WEIGHT_BITS)
            layer.bias.copy_(limit - layer.weight.abs().sum(1) * LIMIT - 2.0**-SUM_BITS)
        model.quality.table.copy_(torch.randint(0, 2, model.quality.table.shape) * 200.0 - 100)
        model.offset.table.copy_(torch.randint(0, 2, model.offset.table.shape) * 200.0 - 100)
    return model


def test_a_model_at_the_edge_of_its_bounds() -> None:
    model = edge_model()
    assert model.freeze() == EXACT_BELOW - 1
    assert float(model.index.bias.max()) > 0
    z = torch.where(hyper_latents(60, largest=1) > 0, LIMIT, -LIMIT)
    # The inputs that give the largest and the smallest sum of an output of the first layer.
    z[0, 1:4, 1:4] = LIMIT * model.spatial.weight[2].sign().reshape(3, 3, -1)
    z[1, 1:4, 1:4] = -z[0, 1:4, 1:4]
    levels = torch.arange(60) * 17
    found = model(z, levels)
    assert np.array_equal(model.indexes(z, levels).numpy(), expected(model, z, levels))
    assert torch.equal(found.double(), in_float64(model, z, levels))
    assert float(found.abs().max()) > 2000


@pytest.mark.parametrize("part", ["spatial", "hidden", "index", "quality", "offset"])
def test_one_unit_beyond_the_edge(part: str) -> None:
    model = edge_model()
    module = model.get_submodule(part)
    with torch.no_grad():
        if isinstance(module, ExactLinear):
            module.bias[0] += 2.0**-SUM_BITS
        else:
            module.get_parameter("table")[4, 3] = 100 + 2.0**-ACTIVATION_BITS
    with pytest.raises(InexactLayer):
        model.freeze()


def test_activations() -> None:
    """Every sum near a tie, and every limit, becomes the activation of plain integers."""
    ties = torch.arange(-600 * 16, 600 * 16, dtype=torch.float32) / 16
    x = torch.cat([ties + offset * UNIT for offset in (-1, 0, 1)] + [8 * ties + 4 * UNIT])
    found = integers.integers(to_activation(x), ACTIVATION_BITS)
    assert np.array_equal(found, integers.activation(integers.integers(x, SUM_BITS)))


def test_neighbourhoods() -> None:
    x = torch.arange(1.0, 1 + 2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    found = neighbourhoods(x).unflatten(-1, (3, 3, 2))
    assert torch.equal(found[:, 1, 2], x[:, :3, 1:4])
    assert torch.equal(found[:, 0, 0, 1:, 1:], x[:, :2, :2])
    assert not found[:, 0, :, 0].any()
    assert not found[:, :, 3, :, 2].any()
