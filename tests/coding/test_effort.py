"""Effort levels: files of every level decode in the same way, and more effort lowers the cost."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import codec
from bench.studies.monotone import steps_down
from codec.coding import search
from codec.coding.effort import EFFORTS, Effort
from codec.format.tiling import Box
from codec.model.network import rate_weight
from codec.model.weights import Objective
from codec.training.data import read_rgb
from tests.support.pictures import SAMPLES, Pixels, textured
from tests.support.tiles import encode


@pytest.fixture(scope="module")
def worker() -> codec.Codec:
    return codec.Codec()


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return read_rgb(SAMPLES / "brushes.jpg")[100:228, 200:360]


def cost(worker: codec.Codec, image: Pixels, data: bytes, quality: float) -> float:
    """Return bpp + lambda · MSE, which the search minimizes."""
    lam = float(rate_weight(torch.tensor(quality * 10.24), *worker._loaded.objective.lambdas))
    error = np.square(image.astype(np.float64) - worker.decompress(data)).mean()
    return float(8 * len(data) / (image.shape[0] * image.shape[1]) + lam * error)


@pytest.mark.parametrize(("effort", "shape"), [
    *((effort, (33, 67, 3)) for effort in EFFORTS),
    *((effort, shape) for effort in (1, 4) for shape in ((1, 1, 3), (70, 41))),
])
def test_every_effort_round_trips(tiny: codec.Codec, never_stored: None, effort: int, shape: Any) -> None:
    image = textured(*shape[:2])
    image = image if len(shape) == 3 else image[:, :, 0]
    data = tiny.compress(image, quality=60, effort=effort)
    codec.verify(data)
    assert tiny.decompress(data).shape == image.shape


def test_the_default_is_three(tiny: codec.Codec) -> None:
    image = textured(64, 64)
    assert tiny.compress(image) == tiny.compress(image, effort=3) == tiny.compress_batch([image], effort=3)[0]


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_search_lowers_the_cost(worker: codec.Codec, photo: Pixels, quality: float) -> None:
    plain = cost(worker, photo, worker.compress(photo, quality=quality), quality)
    few = cost(worker, photo, worker.compress(photo, quality=quality, effort=6), quality)
    more = cost(worker, photo, worker.compress(photo, quality=quality, effort=7), quality)
    assert few < 0.9995 * plain  # measured with the model of 0.5: 0.9984, 0.971, 0.954
    assert more < min(few, 0.99 * plain)


def test_costs_lie_where_they_arise(tiny: codec.Codec) -> None:
    soft, level = tiny._loaded.soft, torch.tensor([500])
    pixels = torch.rand(1, 64, 128, 3, generator=torch.Generator().manual_seed(0))
    window = search.Window(pixels, 64, 128, Box(0, 0, 4, 8), level, 1000.0)
    y = soft.analysis(pixels, level)
    found = search._cost(soft, window, y, y, None)
    assert torch.allclose(found.here.sum(), found.total, rtol=1e-5)
    other = pixels.clone()
    other[:, 16:32, 48:64] = 1 - other[:, 16:32, 48:64]
    there = search._cost(soft, dataclasses.replace(window, pixels=other), y, y, None)
    assert torch.nonzero(there.here != found.here)[:, 1:3].tolist() == [[1, 3]]


def test_what_is_better_here_is_kept_here(
    worker: codec.Codec, photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that oscillates in some places still lowers the cost in the others."""
    level, soft = torch.tensor([100]), worker._loaded.soft
    pixels = torch.from_numpy(photo)[None].float() / 255
    y = soft.analysis(pixels, level)
    weight = search.weight_of(float(rate_weight(level, *worker._loaded.objective.lambdas)), 3)
    window = search.Window(pixels, 128, 160, Box(0, 0, 8, 10), level, weight)
    monkeypatch.setattr(search, "_RATE", 0.02)
    costs = []
    for nearby in (search._nearby, lambda here: here.mean((1, 2), keepdim=True)):
        monkeypatch.setattr(search, "_nearby", nearby)
        found = search.refine(soft, window, y, 0.0, 30).float()
        costs.append(float(search._cost(soft, window, y, found, None).total))
    start = float(search._cost(soft, window, y, y, None).total)
    assert costs[0] < costs[1] <= start


def test_several_tiles_and_progress(tiny: codec.Codec, never_stored: None) -> None:
    image = textured(150, 200)
    shares: list[float] = []
    level, small = 500, Effort(True, 19, 4)
    data = encode(tiny, image, level, 64, effort=small, progress=shares.append)
    assert codec.inspect(data).tiles == 12
    assert shares[-1] == 1
    assert len(shares) >= 3  # the calling thread reports every 0.1 s
    assert all(a <= b for a, b in itertools.pairwise(shares))
    alone: list[float] = []
    encode(tiny, image, level, 1024, effort=small, progress=alone.append)
    assert len(alone) >= 4
    plain = encode(tiny, image, level, 64)
    assert cost(tiny, image, data, level / 10.24) < cost(tiny, image, plain, level / 10.24)


def test_padding_costs_nothing(tiny: codec.Codec) -> None:
    """Pixels beyond the edge do not change the result of the search."""
    level = torch.tensor([500])
    soft = tiny._loaded.soft
    picture = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    y = soft.analysis(picture, level).double()
    results = []
    for beyond in (0.0, 1.0):
        pixels = picture.clone()
        pixels[:, 20:] = beyond
        pixels[:, :, 25:] = beyond
        window = search.Window(pixels, 20, 25, Box(0, 0, 2, 2), level, 1000.0)
        results.append(search.refine(soft, window, y, 0.1, 5))
    assert torch.equal(*results)


def test_search_needs_a_model_for_mse(tiny: codec.Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny._loaded, "objective", Objective((0.0006, 0.2), "ms-ssim"))
    tiny.compress(textured(16, 16), effort=3)
    with pytest.raises(ValueError, match="ms-ssim"):
        tiny.compress(textured(16, 16), effort=4)


def test_inside_inference_mode(tiny_weights: Path) -> None:
    image = textured(32, 32)
    with torch.inference_mode():
        worker = codec.Codec(model=tiny_weights)
        fast, searched = (worker.compress(image, effort=effort) for effort in (1, 5))
    assert worker.compress(image, effort=5) == searched
    assert worker.compress(image, effort=1) == fast


def test_stored_pictures_are_not_searched(tiny: codec.Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codec.engine.encoding.refine", None)
    flat = np.full((40, 40, 3), 9, np.uint8)
    assert codec.inspect(tiny.compress(flat, effort=9)).lossless
    with pytest.raises(TypeError):
        tiny.compress(textured(200, 200), quality=5, effort=4)


def test_soft_rounding() -> None:
    x = torch.linspace(-3, 3, 601)
    for sharpness in (0.5, 5.0, 30.0):
        y = search.soft_round(x, sharpness)
        assert bool((y[1:] >= y[:-1] - 1e-6).all())
        whole = torch.arange(-3.0, 4.0)
        assert torch.allclose(search.soft_round(whole, sharpness), whole, atol=1e-5)
    assert torch.allclose(search.soft_round(x, 0.01), x, atol=1e-3)
    away = (x - x.floor() - 0.5).abs() > 0.2
    assert torch.allclose(search.soft_round(x, 60.0)[away], x.round()[away], atol=1e-3)


@pytest.mark.parametrize("effort", [0, 10, -1])
def test_effort_out_of_range(tiny: codec.Codec, effort: int) -> None:
    with pytest.raises(ValueError, match="effort"):
        tiny.compress(textured(4, 4), effort=effort)


@pytest.mark.parametrize("effort", [3.0, "3", None, True, math.nan])
def test_effort_of_the_wrong_type(tiny: codec.Codec, effort: Any) -> None:
    with pytest.raises(TypeError, match="effort"):
        tiny.compress(textured(4, 4), effort=effort)


@pytest.mark.parametrize("name", ["brushes", "dandelions", "mountains"])
def test_more_quality_is_more_bytes_and_a_better_picture(worker: codec.Codec, name: str) -> None:
    image = read_rgb(SAMPLES / f"{name}.jpg")[64:192, 128:320]
    assert steps_down(worker, image) == []
