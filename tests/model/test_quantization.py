"""Rounding with a dead zone: its effect, and its independence from the decoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import codec
from codec.coding import search
from codec.coding.distortion import distortion_of
from codec.coding.latents import quantize_latents
from codec.format.tiling import Box
from codec.model.quantization import (
    SYMBOL_LIMIT,
    quantize,
    scale_index,
    scale_of_index,
    shrink,
    soft_clamp,
    straight_through_round,
)
from tests.conftest import DEAD_ZONE, SKIP
from tests.support.pictures import textured


@pytest.mark.parametrize(("index", "zone"), [(0.0, 0.1), (12.0, 0.1), (16.0, 0.05), (20.0, 0.0), (63.0, 0.0)])
def test_the_dead_zone_widens_the_interval_of_zero(index: float, zone: float) -> None:
    x = torch.linspace(-4, 4, 8001, dtype=torch.float64)
    shrunk = shrink(x, torch.full_like(x, index), 0.1)
    assert torch.equal(shrunk, -shrink(-x, torch.full_like(x, index), 0.1))
    symbols = shrunk.round()
    away = (x.abs() - zone - 0.5).remainder(1.0).sub(0.5).abs() < 0.499  # not near ties
    expected = x.sign() * (x.abs() + 0.5 - zone).floor().clamp_min(0)
    assert torch.equal(symbols[away], expected[away])


def test_scales_of_the_dead_zone() -> None:
    assert float(scale_of_index(torch.tensor(12.0))) == pytest.approx(0.37, abs=0.005)
    assert float(scale_of_index(torch.tensor(20.0))) == pytest.approx(0.83, abs=0.005)


def test_no_dead_zone_is_plain_rounding() -> None:
    x = torch.linspace(-3, 3, 100)
    assert torch.equal(shrink(x, torch.zeros(100), 0.0), x)


def test_decoders_need_not_know(tiny_weights: Path, never_stored: None) -> None:
    image = textured(48, 80)
    worker = codec.Codec(model=tiny_weights)
    assert worker._loaded.objective.dead_zone == DEAD_ZONE
    wide = worker.compress(image, quality=10)
    worker._loaded.objective = dataclasses.replace(worker._loaded.objective, dead_zone=0.0)
    plain = worker.compress(image, quality=10)
    assert plain != wide
    # Each file is decoded by a codec with the other rounding. The CRC of the symbols is checked.
    other = codec.Codec(model=tiny_weights)
    assert np.array_equal(other.decompress(wide), worker.decompress(wide))
    assert not np.array_equal(other.decompress(plain), worker.decompress(wide))


@pytest.mark.parametrize("skip", [0, SKIP])
def test_a_search_starts_behind_the_dead_zone(tiny: codec.Codec, never_dense: None, skip: int) -> None:
    """With no search step, rounding the start to nearest gives the symbols of the dead zone."""
    model, soft = tiny._loaded.networks, tiny._loaded.soft
    level = torch.tensor([100])
    pixels = torch.from_numpy(textured(256, 256))[None].float() / 255
    with torch.no_grad():
        y = model.analysis(pixels, level)
    window = search.Window(distortion_of("mse", pixels, 256, 256, 0.05), Box(0, 0, 16, 16), level, skip)
    start = search.refine(soft, window, y, DEAD_ZONE, 0)
    cases = ((y, DEAD_ZONE), (start, 0.0), (y, 0.0))
    wide, nearest, plain = (
        quantize_latents(model, latents, level, zone, skip)[0][0].latents for latents, zone in cases
    )
    moved = (plain != wide).sum()
    assert moved > 100
    # A few differ where the start has another hyper-latent.
    assert (nearest != wide).sum() <= moved / 6


def test_rounding() -> None:
    x = torch.tensor([0.5, 1.5, -0.5, -2.5, 2.4, 3e7, -3e7])
    assert quantize(x).tolist() == [0, 2, 0, -2, 2, SYMBOL_LIMIT, -SYMBOL_LIMIT]
    x.requires_grad_(True)
    rounded = straight_through_round(x)
    assert rounded.tolist() == torch.round(x).tolist()
    rounded.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1] * 7


def test_scales() -> None:
    index = torch.arange(64.0)
    assert torch.allclose(scale_index(scale_of_index(index)), index, atol=1e-4)
    assert float(scale_of_index(index[0])) == pytest.approx(0.11)
    assert float(scale_of_index(index[-1])) == pytest.approx(64)


def test_a_clamp_lets_values_return() -> None:
    """Outside the range, only gradients that point back inside pass."""
    for sign in (1, -1):
        x = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
        clamped = soft_clamp(x, 0, 1)
        assert clamped.tolist() == [0, 0.5, 1]
        (sign * clamped).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == ([0, 1, 1] if sign > 0 else [-1, -1, 0])
