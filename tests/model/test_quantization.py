"""Rounding with a dead zone: its effect, and its independence from the decoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import codec
from codec.coding import search
from codec.coding.latents import quantize_latents
from codec.format.tiling import Box
from codec.model.quantization import scale_of_index, shrink
from tests.conftest import DEAD_ZONE
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
    wide = worker.compress(image, quality=40)
    worker._loaded.objective = dataclasses.replace(worker._loaded.objective, dead_zone=0.0)
    plain = worker.compress(image, quality=40)
    assert plain != wide
    # Each file is decoded by a codec with the other rounding. The CRC of the symbols is checked.
    other = codec.Codec(model=tiny_weights)
    assert np.array_equal(other.decompress(wide), worker.decompress(wide))
    assert not np.array_equal(other.decompress(plain), worker.decompress(wide))


def test_a_search_starts_behind_the_dead_zone(tiny: codec.Codec) -> None:
    """With no search step, rounding the start to nearest gives the symbols of the dead zone."""
    model, soft = tiny._loaded.networks, tiny._loaded.soft
    level = torch.tensor([300])
    pixels = torch.from_numpy(textured(64, 96))[None] / 255
    y = model.analysis(pixels.double(), level)
    window = search.Window(pixels.float(), 64, 96, Box(0, 0, 4, 6), level, 1000.0)
    start = search.refine(soft, window, y, DEAD_ZONE, 0)
    cases = ((y, DEAD_ZONE), (start, 0.0), (y, 0.0))
    wide, nearest, plain = (
        np.concatenate(quantize_latents(model, latents, level, zone)[0][0].symbols[1:])
        for latents, zone in cases
    )
    moved = (plain != wide).sum()
    assert moved > 10
    assert (nearest != wide).sum() <= moved / 10  # a few may differ in float32
