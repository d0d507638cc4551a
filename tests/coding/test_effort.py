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
from codec.coding import latents, search
from codec.coding.distortion import Distortion, distortion_of
from codec.coding.effort import DEFAULT_EFFORT, EFFORTS, Effort
from codec.coding.latents import quantize_latents
from codec.engine import encoding
from codec.format.tiling import Box
from codec.model.network import rate_weight
from codec.model.quantization import quantize
from codec.model.weights import METRICS, Metric
from codec.training.data import read_rgb
from tests.conftest import DEAD_ZONE, SKIP
from tests.support.pictures import SAMPLES, Pixels, textured
from tests.support.tiles import encode


@pytest.fixture
def worker(trained_for_mse: codec.Codec) -> codec.Codec:
    return trained_for_mse


@pytest.fixture(scope="module")
def photo() -> Pixels:
    return read_rgb(SAMPLES / "brushes.jpg")[100:228, 200:360]


def squares(pixels: torch.Tensor, height: int, width: int) -> Distortion:
    """Return a cost of 1000 bits for a squared error of 1 of a sample."""
    return distortion_of("mse", pixels, height, width, 1000 * pixels.shape[3] / 255**2)


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


def test_levels_rise() -> None:
    """A higher level spends at least as much on everything. Searching begins at level 4."""
    assert sorted(EFFORTS) == list(range(1, 10))
    for lower, higher in itertools.pairwise(EFFORTS.values()):
        assert lower.zstd_level <= higher.zstd_level
        assert lower.iterations <= higher.iterations
        assert lower != higher
    assert [level for level, effort in EFFORTS.items() if effort.iterations] == [4, 5, 6, 7, 8, 9]


@pytest.mark.usefixtures("never_dense")
def test_levels_without_search_code_the_same_latents(tiny: codec.Codec, never_stored: None) -> None:
    image = textured(64, 80)
    first, *others = (tiny.compress(image, quality=30, effort=effort) for effort in (1, 2, 3))
    assert others == [first, first]
    assert tiny.compress(image, quality=30, effort=4) != first


def test_the_default_is_three(tiny: codec.Codec) -> None:
    image = textured(64, 64)
    assert DEFAULT_EFFORT == 3
    assert tiny.compress(image) == tiny.compress(image, effort=3) == tiny.compress_batch([image], effort=3)[0]


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_search_lowers_the_cost(worker: codec.Codec, photo: Pixels, quality: float) -> None:
    plain = cost(worker, photo, worker.compress(photo, quality=quality), quality)
    few = cost(worker, photo, worker.compress(photo, quality=quality, effort=6), quality)
    more = cost(worker, photo, worker.compress(photo, quality=quality, effort=7), quality)
    assert few < 0.9995 * plain
    assert more < min(few, 0.99 * plain)


@pytest.mark.usefixtures("never_dense")
def test_costs_lie_where_they_arise(tiny: codec.Codec) -> None:
    soft, level = tiny._loaded.soft, torch.tensor([500])
    pixels = torch.rand(1, 64, 128, 3, generator=torch.Generator().manual_seed(0))
    window = search.Window(squares(pixels, 64, 128), Box(0, 0, 4, 8), level, SKIP)
    y = soft.analysis(pixels, level)
    found = search._cost(soft, window, y, y, None)
    assert torch.allclose(found.here.sum(), found.total, rtol=1e-5)
    other = pixels.clone()
    other[:, 16:32, 48:64] = 1 - other[:, 16:32, 48:64]
    there = search._cost(soft, dataclasses.replace(window, distortion=squares(other, 64, 128)), y, y, None)
    assert torch.nonzero(there.here != found.here)[:, 1:3].tolist() == [[1, 3]]


@pytest.mark.parametrize("level", [0, 100, 500, 1000])
@pytest.mark.parametrize("box", [Box(0, 0, 6, 8), Box(2, 3, 6, 7)], ids=["whole", "inner tile"])
@pytest.mark.usefixtures("never_dense")
def test_search_never_makes_it_worse(tiny: codec.Codec, level: int, box: Box) -> None:
    """By the model's estimate, latents of any number of iterations cost no more than the start.

    The steps are so long that most of them make it worse.
    """
    soft = tiny._loaded.soft
    levels = torch.tensor([level])
    pixels = torch.from_numpy(textured(96, 128))[None].float() / 255
    y = soft.analysis(pixels, levels)
    lam = float(rate_weight(levels, *tiny._loaded.objective.lambdas))
    window = search.Window(distortion_of("mse", pixels, 96, 128, lam), box, levels, SKIP)

    def cost(latents: torch.Tensor) -> float:
        return float(search._cost(soft, window, y, latents, None).total)

    start = cost(search.refine(soft, window, y, DEAD_ZONE, 0))
    costs = [cost(search.refine(soft, window, y, DEAD_ZONE, iterations)) for iterations in (1, 2, 10, 25)]
    assert max(costs) <= start
    assert min(costs) < start


@pytest.mark.usefixtures("never_dense")
def test_a_search_that_diverges_returns_its_start(tiny: codec.Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_RATE", 1e6)
    monkeypatch.setattr(search, "_LARGEST_MOVE", 50.0)
    soft, level = tiny._loaded.soft, torch.tensor([500])
    pixels = torch.from_numpy(textured(64, 64))[None].float() / 255
    y = soft.analysis(pixels, level)
    window = search.Window(squares(pixels, 64, 64), Box(0, 0, 4, 4), level, SKIP)
    start = search.refine(soft, window, y, DEAD_ZONE, 0)
    assert torch.equal(search.refine(soft, window, y, DEAD_ZONE, 2), start)


@pytest.mark.parametrize("level", [0, 150])
@pytest.mark.usefixtures("never_dense")
def test_the_estimate_counts_what_is_coded(tiny: codec.Codec, level: int) -> None:
    """Latents that are not coded cost no bits, and the others about as many as in a file."""
    engine, levels = tiny._loaded, torch.tensor([level])
    pixels = torch.from_numpy(textured(96, 128))[None].float() / 255
    y = engine.soft.analysis(pixels, levels)
    box = Box(0, 0, 6, 8)
    costs = {}
    for skip in (0, SKIP, 63):
        window = search.Window(distortion_of("mse", pixels, 96, 128, 0.0), box, levels, skip)
        costs[skip] = float(search._cost(engine.soft, window, y, y, None).total)
    (tile,), (index,), _ = quantize_latents(engine.networks, y, levels, 0.0, SKIP)
    hyper = engine.soft.hyper_prior.bits(torch.from_numpy(tile.hyper)[None].float(), levels)
    assert costs[63] == pytest.approx(float(hyper.sum()), rel=1e-5)
    assert costs[0] > costs[SKIP] > costs[63]
    tables, bits = engine.tables.tables, 0.0
    for number in range(SKIP + 1, 64):
        bits += tables[number].bits(tile.latents[index == number])
    assert costs[SKIP] - costs[63] == pytest.approx(bits, rel=0.2)


def test_what_is_better_here_is_kept_here(
    worker: codec.Codec, photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that oscillates in one half still lowers the cost in the other."""
    level, soft = torch.tensor([300]), worker._loaded.soft
    pixels = torch.from_numpy(photo)[None].float() / 255
    y = soft.analysis(pixels, level)
    lam = float(rate_weight(level, *worker._loaded.objective.lambdas))
    skip = worker._loaded.tables.skip
    window = search.Window(distortion_of("mse", pixels, 128, 160, lam), Box(0, 0, 8, 10), level, skip)
    rate = torch.full((1, 8, 10, 1), search._RATE)
    rate[:, :, 5:] = 1.0
    monkeypatch.setattr(search, "_RATE", rate)
    start = float(search._cost(soft, window, y, y, None).total)
    gains = []
    for nearby in (search._nearby, lambda here: here.mean((1, 2), keepdim=True)):
        monkeypatch.setattr(search, "_nearby", nearby)
        found = search.refine(soft, window, y, 0.0, 30)
        gains.append(start - float(search._cost(soft, window, y, found, None).total))
    assert gains[0] > 2 * gains[1] >= 0
    assert gains[0] > 0.005 * start


def test_several_tiles_and_progress(tiny: codec.Codec, never_stored: None) -> None:
    image = textured(150, 200)
    shares: list[float] = []
    level, small = 500, Effort(19, 4)
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


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.usefixtures("never_dense")
def test_padding_costs_nothing(tiny: codec.Codec, metric: Metric) -> None:
    """Pixels beyond the edge do not change the result of the search."""
    level = torch.tensor([500])
    soft = tiny._loaded.soft
    picture = torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(0))
    y = soft.analysis(picture, level)
    results = []
    for beyond in (0.0, 1.0):
        # The encoder repeats the last row and column. Whatever is there, errors do not count.
        distortion = distortion_of(metric, picture, 20, 25, 0.05)
        pad = torch.zeros_like(picture)
        pad[:, 20:] = beyond
        pad[:, :, 25:] = beyond
        window = search.Window(
            lambda x, d=distortion, p=pad: d(x + p), Box(0, 0, 2, 2), level, SKIP  # type: ignore[misc]
        )
        results.append(search.refine(soft, window, y, 0.1, 5))
    assert torch.equal(*results)


def test_search_for_ms_ssim(worker: codec.Codec, photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search minimizes the objective of the model."""
    loaded = worker._loaded
    objective = dataclasses.replace(loaded.objective, metric="ms-ssim")
    x, level, quality = torch.from_numpy(photo)[None].float() / 255, torch.tensor([307]), 30
    lam = float(rate_weight(level, *objective.lambdas))
    costs = {}
    for metric in METRICS:
        monkeypatch.setattr(loaded, "objective", dataclasses.replace(objective, metric=metric))
        data = worker.compress(photo, quality=quality, effort=6)
        decoded = torch.from_numpy(worker.decompress(data))[None].float() / 255
        costs[metric] = 8 * len(data) + float(distortion_of("ms-ssim", x, 128, 160, lam)(decoded).sum())
    assert costs["ms-ssim"] < 0.99 * costs["mse"]


def test_the_search_knows_dense_tiles(tiny: codec.Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped latents cost nothing in other tiles, and no search makes a tile dense."""
    model, soft, level = tiny._loaded.networks, tiny._loaded.soft, torch.tensor([300])
    pixels = torch.from_numpy(textured(96, 128))[None].float() / 255
    y = soft.analysis(pixels, level)
    window = search.Window(distortion_of("mse", pixels, 96, 128, 0.05), Box(0, 0, 6, 8), level, 40)
    found = {}
    for most in (0.6, 1e6):
        monkeypatch.setattr(latents, "_MOST_DISCARDED", most)
        found[most] = search.refine(soft, window, y, DEAD_ZONE, 20)
        start = search.refine(soft, window, y, DEAD_ZONE, 0)
        dense = [quantize_latents(model, each, level, 0.0, 40)[0][0].dense for each in (start, found[most])]
        assert dense == [most < 1] * 2
    whole = search.refine(soft, dataclasses.replace(window, skip=-1), y, DEAD_ZONE, 20)
    assert torch.equal(found[0.6], whole)
    assert not torch.equal(found[1e6], whole)


@pytest.mark.parametrize("share", [0.9, 0.97, 1.0])
def test_a_search_of_a_dense_tile_never_makes_it_worse(
    tiny: codec.Codec, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This also holds where the tile that is found is not dense any more."""
    model, soft, level = tiny._loaded.networks, tiny._loaded.soft, torch.tensor([300])
    pixels = torch.from_numpy(textured(96, 128))[None].float() / 255
    y = soft.analysis(pixels, level)
    window = search.Window(distortion_of("mse", pixels, 96, 128, 0.05), Box(0, 0, 6, 8), level, 40)
    z = quantize(soft.hyper_analysis(soft.mean_model.normalise(y)))
    index = soft.scale_model(z, level)[:, :6, :8].round()
    largest = float(latents._quantize(model.mean_model, y, z, level, index, 0.0, 40)[2])
    monkeypatch.setattr(latents, "_MOST_DISCARDED", share * largest)

    def cost(found: torch.Tensor) -> float:
        dense = quantize_latents(model, found, level, 0.0, 40)[0][0].dense
        coded = dataclasses.replace(window, skip=-1) if dense else window
        return float(search._cost(soft, coded, y, found, None).total)

    start = cost(search.refine(soft, window, y, 0.0, 0))
    assert all(cost(search.refine(soft, window, y, 0.0, iterations)) <= start for iterations in (5, 10, 30))


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1)])
def test_the_padding_of_odd_sizes_discards_nothing(
    tiny: codec.Codec, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all latents are coded, a search never finds that too much is discarded."""
    monkeypatch.setattr(latents, "_MOST_DISCARDED", 0.0)
    soft, level, height, width = tiny._loaded.soft, torch.tensor([300]), 16 * size[0], 16 * size[1]
    pixels = torch.from_numpy(textured(height, width))[None].float() / 255
    y = soft.analysis(pixels, level)
    window = search.Window(squares(pixels, height, width), Box(0, 0, *size), level, -1)
    assert bool(torch.isfinite(search._cost(soft, window, y, y, None).total))


def test_a_search_decides_the_rounding(
    tiny: codec.Codec, never_stored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a search returns is rounded to the nearest integer, without a dead zone."""
    engine, image = tiny._loaded, textured(128, 128)
    wide = encode(tiny, image, 300, 128)
    monkeypatch.setattr(encoding, "refine", lambda model, window, y, *others: y)  # one tile: no halo
    searched = encode(tiny, image, 300, 128, effort=EFFORTS[4])
    monkeypatch.setattr(engine, "objective", dataclasses.replace(engine.objective, dead_zone=0.0))
    assert searched == encode(tiny, image, 300, 128) != wide


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
