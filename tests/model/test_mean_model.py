"""The mean model: its steps, what each of them sees, and its result at odd sizes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from codec.coding.latents import reconstruct
from codec.model.mean_model import MeanModel, group_of, merge_phases, merge_steps, split_phases, step_values
from tests.conftest import TINY

STEPS = (2, 4)


def model_of(steps: int) -> MeanModel:
    """Return a model with random weights, in which every step depends on the steps before."""
    torch.manual_seed(steps)
    model = MeanModel(dataclasses.replace(TINY, context_steps=steps, context_blocks=2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.scale.copy_(2.0 ** torch.randint(0, 5, model.scale.shape))
    return model.requires_grad_(False)


def inputs(n: int, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return hyper-latents, symbols and quality levels."""
    generator = torch.Generator().manual_seed(h * w)
    z = torch.randint(-5, 6, (n, -(-h // 4), -(-w // 4), TINY.hyper_latents), generator=generator).float()
    symbols = torch.randint(-9, 10, (n, h, w, TINY.latents), generator=generator).float()
    return z, symbols, torch.randint(0, 1025, (n,), generator=generator)


def test_phases() -> None:
    x = torch.arange(2 * 6 * 8 * 3).reshape(2, 6, 8, 3)
    assert torch.equal(merge_phases(split_phases(x)), x)
    assert torch.equal(split_phases(x)[1], x[:, 0::2, 1::2])
    assert torch.equal(split_phases(x)[2], x[:, 1::2, 0::2])


@pytest.mark.parametrize("steps", STEPS)
def test_groups(steps: int) -> None:
    """Each step codes a group at every phase, and each phase codes every group once."""
    for phase in range(4):
        assert sorted(group_of(step, phase, steps) for step in range(steps)) == list(range(steps))
    for step in range(steps):
        groups = [group_of(step, phase, steps) for phase in range(4)]
        assert sorted(groups) == [group for group in range(steps) for _ in range(4 // steps)]
    # The first of two steps codes one group at positions like the black squares of a chessboard.
    assert [group_of(0, phase, 2) for phase in range(4)] == [0, 1, 1, 0]


@pytest.mark.parametrize("steps", STEPS)
def test_steps_cover_every_latent_once(steps: int) -> None:
    y = torch.arange(1, 1 + 2 * 6 * 8 * 8).reshape(2, 6, 8, 8)
    parts = [step_values(y, step, steps) for step in range(steps)]
    assert all(part.shape == (4, 2, 3, 4, 8 // steps) for part in parts)
    assert torch.equal(merge_steps(parts, steps), y)
    for done in range(1, steps):
        partial = merge_steps(parts[:done], steps)
        assert torch.equal(partial[partial != 0], y[partial != 0])
        assert int((partial != 0).sum()) == y.numel() * done // steps


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 7), (8, 4)])
def test_select_and_merge_are_inverses(steps: int, size: tuple[int, int]) -> None:
    model = model_of(steps)
    y = torch.randn(2, *size, TINY.latents)
    assert torch.equal(model.merge([model.select(y, step) for step in range(steps)], size), y)


@pytest.mark.parametrize("steps", STEPS)
def test_a_mean_depends_on_earlier_steps_only(steps: int) -> None:
    """Change the symbols of each step in turn. The means of this step and those before stay."""
    model = model_of(steps)
    z, symbols, level = inputs(2, 6, 8)

    def means(symbols: Tensor) -> list[Tensor]:
        found: list[Tensor] = []

        def quantizer(step: int, mean: Tensor) -> Tensor:
            found.append(mean)
            return model.select(symbols, step)

        model.run(z, level, (6, 8), quantizer)
        return found

    before = means(symbols)
    for step in range(steps):
        changes = [torch.zeros_like(mean) for mean in before]
        changes[step] += 100.0
        after = means(symbols + model.merge(changes, (6, 8)))
        same = [torch.equal(*pair) for pair in zip(before, after, strict=True)]
        assert same == [other <= step for other in range(steps)]


@pytest.mark.parametrize("steps", STEPS)
def test_what_encoder_and_decoder_see(steps: int) -> None:
    """y_hat from the steps of an encoder is that of the decoder, and symbol plus mean."""
    model = model_of(steps)
    z, symbols, level = inputs(3, 5, 7)
    means: list[Tensor] = []

    def quantizer(step: int, mean: Tensor) -> Tensor:
        means.append(mean)
        return model.select(symbols, step)

    y_hat = model.run(z, level, (5, 7), quantizer)
    assert torch.equal(y_hat, reconstruct(model, z, symbols, level))
    assert torch.allclose(y_hat, symbols + model.merge(means, (5, 7)), atol=1e-4)
    # Every picture of a batch is independent of the others.
    alone = reconstruct(model, z[1:2], symbols[1:2], level[1:2])
    assert torch.allclose(alone, y_hat[1:2], atol=1e-4)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("size", [(1, 1), (3, 8), (7, 5), (9, 9)])
def test_odd_sizes(steps: int, size: tuple[int, int]) -> None:
    """The padding of odd sizes holds no symbols: the result is that of zeros in the padding."""
    model = model_of(steps)
    z, symbols, level = inputs(1, *size)
    h, w = size
    even = torch.zeros(1, h + h % 2, w + w % 2, TINY.latents)
    even[:, :h, :w] = symbols
    found = reconstruct(model, z, symbols, level)
    assert found.shape == symbols.shape
    assert torch.allclose(found, reconstruct(model, z, even, level)[:, :h, :w], atol=1e-4)


def test_means_are_in_float32_under_autocast() -> None:
    """A mean of several hundred has no error of a whole step, as it would have in bfloat16."""
    model = model_of(4)
    model.heads.mul_(0.01)
    model.head_biases.add_(301 / 16)
    model.scale.fill_(16)
    z, symbols, level = inputs(1, 8, 8)
    usual = reconstruct(model, z, symbols, level)
    with torch.autocast("cpu", torch.bfloat16):
        found = reconstruct(model, z, symbols, level)
    assert found.dtype == torch.float32
    assert 0 < float((found - usual).abs().max()) < 0.05


@pytest.mark.parametrize("steps", STEPS)
def test_the_scale_of_latents(steps: int) -> None:
    """Means have the units of latents, and the networks those of latents divided by `scale`."""
    model, other = model_of(steps), model_of(steps)
    z, symbols, level = inputs(1, 6, 6)
    other.scale *= 4
    assert torch.equal(other.normalise(4 * symbols), model.normalise(symbols))
    means, larger = (reconstruct(m, z, torch.zeros_like(symbols), level) for m in (model, other))
    assert torch.allclose(larger, 4 * means, rtol=1e-5)
