"""The training pass: it computes what files hold, and its gradients reach every part."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from codec.coding.latents import quantize_latents
from codec.model.network import HyperPrior, gaussian_bits, rate_weight
from codec.model.quantization import SCALES, scale_of_index
from codec.training.export import freeze
from tests.conftest import tiny_model


def batch() -> tuple[Tensor, Tensor]:
    _, sampler = tiny_model()
    return sampler.batch(4).float() / 255, torch.tensor([0, 200, 640, 1024])


@pytest.mark.parametrize("dead_zone", [0.0, 0.1])
@pytest.mark.parametrize("skip", [0, 12, 20])
def test_training_computes_what_files_hold(never_dense: None, dead_zone: float, skip: int) -> None:
    """Without noise, an unfrozen model gives the symbols, pixels and rates of the frozen one."""
    model, _ = tiny_model()
    x, level = batch()
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    scales = copy.deepcopy(model.scale_model)
    frozen, _ = freeze(model)
    model.scale_model = scales
    with torch.no_grad():
        trained = model(x, level, noise=False, dead_zone=dead_zone, skip=skip)
        y = frozen.analysis(x, level)
        tiles, indexes, y_hat = quantize_latents(frozen, y, level, dead_zone, skip)
        assert torch.equal(trained.x_hat, frozen.synthesis(y_hat, level))
    for n, tile in enumerate(tiles):
        index = torch.from_numpy(indexes[n]).float()
        symbols = torch.from_numpy(tile.latents).float()
        bits = gaussian_bits(symbols, scale_of_index(index)) * (index > skip)
        # Training knows scales between the 64 of the tables.
        assert float(trained.latent_bits[n]) == pytest.approx(float(bits.sum()), rel=0.02, abs=2)
        assert not symbols[index <= skip].any()
        hyper = frozen.hyper_prior.bits(torch.from_numpy(tile.hyper)[None].float(), level[n : n + 1])
        assert float(trained.hyper_bits[n]) == pytest.approx(float(hyper.sum()), rel=1e-4)


def test_skipped_latents_cost_nothing_and_are_their_mean(never_dense: None) -> None:
    model, _ = tiny_model()
    x, level = batch()
    with torch.no_grad():
        costs = [model(x, level, noise=False, skip=skip).latent_bits for skip in (0, 12, 20, SCALES - 1)]
        y = model.analysis(x, level)
        model.scale_model.freeze()
        tiles, _, y_hat = quantize_latents(model, y, level, 0.0, SCALES - 1)
        means = model.mean_model.run(
            torch.stack([torch.from_numpy(tile.hyper) for tile in tiles]).float(), level, y.shape[1:3],
            lambda step, mean: torch.zeros_like(mean),
        )
    assert all(bool((a >= b).all()) and bool((a > b).any()) for a, b in itertools.pairwise(costs))
    assert not costs[-1].any()
    assert not any(tile.latents.any() for tile in tiles)
    assert torch.equal(y_hat, means)


def test_real_symbols_have_real_rates() -> None:
    """Without noise, training has the same values as evaluation, and also gradients."""
    model, _ = tiny_model()
    x, level = batch()
    with torch.no_grad():
        reported = model(x, level, noise=False, dead_zone=0.1)
    output = model(x, level, noise=False, dead_zone=0.1)
    assert torch.equal(output.x_hat, reported.x_hat)
    assert torch.allclose(output.latent_bits, reported.latent_bits, rtol=1e-5)
    plain = model(x, level, noise=False)
    assert output.latent_bits.sum() < plain.latent_bits.sum()
    # The means also get a gradient from the rate, although rounding has no gradient.
    (gradient,) = torch.autograd.grad(output.latent_bits.sum(), model.mean_model.heads)
    assert bool((gradient != 0).any(0).any(0).any(0).all())


@pytest.mark.parametrize("noise", [True, False])
def test_gradients_reach_every_part(noise: bool) -> None:
    model, _ = tiny_model()
    x, level = batch()
    output = model(x, level, noise=noise, dead_zone=0.0 if noise else 0.1, skip=1)
    loss = (output.x_hat - x).square().mean() + 1e-6 * (output.latent_bits + output.hyper_bits).sum()
    loss.backward()
    for name, parameter in model.named_parameters():
        if not noise and name.startswith(("analysis", "hyper_analysis")):
            continue  # frozen in this phase
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool(parameter.grad.any()), name


def test_bits_of_latents() -> None:
    """The bits are those of a Gaussian, and finite far outside of it."""
    symbols = torch.arange(-400.0, 401)
    for scale in (0.11, 1.0, 20.0, 64.0):
        bits = gaussian_bits(symbols, torch.full_like(symbols, scale))
        assert float(torch.exp2(-bits).sum()) == pytest.approx(1, abs=1e-5)
        assert torch.allclose(bits, bits.flip(0))
    assert float(gaussian_bits(torch.tensor(1e6), torch.tensor(0.11))) == pytest.approx(-math.log2(1e-9))


def test_bits_of_hyper_latents() -> None:
    prior = HyperPrior(3)
    with torch.no_grad():
        prior.mean.table.uniform_(-2, 2)
        prior.log_scale.table.uniform_(-1, 1)
        z = torch.arange(-60.0, 61)[None, :, None, None].expand(2, -1, 1, 3)
        total = torch.exp2(-prior.bits(z, torch.tensor([0, 700]))).sum(1)
    assert torch.allclose(total, torch.ones_like(total), atol=1e-4)


def test_lambdas_of_levels() -> None:
    found = rate_weight(torch.tensor([0, 512, 1024]), 1e-3, 1e-1)
    assert torch.allclose(found, torch.tensor([1e-3, 1e-2, 1e-1]))
