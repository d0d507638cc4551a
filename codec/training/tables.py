"""Integer probability tables, fitted to histograms of the output of the frozen networks."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from codec.coding.latents import hyper_groups, quantize_latents
from codec.entropy_coder import PRECISION, Table, TableSet
from codec.model.config import MAX_LEVEL, QUALITY_ANCHORS
from codec.model.network import Model
from codec.model.quantization import SCALES, scale_of_index
from codec.model.weights import Objective
from codec.training.data import CropSampler

_WIDEST = 2048
"""Histograms cover symbols within ±_WIDEST. Symbols beyond this range are escaped."""

_PSEUDO_COUNTS = 64.0
"""Weight of the smooth prior, in symbols. It determines the tables where histograms are empty."""

Histogram = NDArray[np.int64]
"""Counts of the symbols -_WIDEST…_WIDEST. Symbols beyond are counted at the ends."""


@torch.no_grad()
def collect_histograms(
    model: Model, sampler: CropSampler, batches: int, batch: int, objective: Objective
) -> tuple[Histogram, Histogram]:
    """Return histograms of symbols by scale index (64×K) and of hyper-latents by table (9·C×K).

    Quality levels are spread evenly over all batches.
    """
    channels = model.config.hyper_latents
    span = 2 * _WIDEST + 1
    symbols = np.zeros((SCALES, span), np.int64)
    hyper = np.zeros((QUALITY_ANCHORS * channels, span), np.int64)
    generator = torch.Generator().manual_seed(1)
    for _ in range(batches):
        x = sampler.batch(batch).to(torch.float32) / 255
        # With one level per batch, some tables would depend on few pictures.
        level = torch.randint(0, MAX_LEVEL + 1, (batch,), generator=generator).to(x.device)
        y = model.analysis(x, level)
        tiles, indexes, _ = quantize_latents(model, y, level, objective.dead_zone, objective.skip)
        # Only dense tiles code latents up to the skip index, and there they are not all 0.
        dense, _, _ = quantize_latents(model, y, level, objective.dead_zone, -1)
        for tile, whole, index, quality in zip(tiles, dense, indexes, level.tolist(), strict=True):
            first = hyper_groups(quality, 1, channels)[0][0] - SCALES
            rows = np.broadcast_to(np.arange(first, first + channels), tile.hyper.shape)
            _count(hyper, tile.hyper.ravel(), rows.ravel())
            latents = np.where(index > objective.skip, tile.latents, whole.latents)
            _count(symbols, latents.ravel(), index.ravel().astype(np.int64))
    return symbols, hyper


def _count(histogram: Histogram, values: NDArray[np.signedinteger], rows: NDArray[np.int64]) -> None:
    columns = np.clip(values, -_WIDEST, _WIDEST).astype(np.int64) + _WIDEST
    flat = np.bincount(rows * histogram.shape[1] + columns, minlength=histogram.size)
    histogram += flat.reshape(histogram.shape)


def to_frequencies(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return positive integers, proportional to `weights` but at least 1, that sum to 2^24."""
    total = (1 << PRECISION) - weights.size
    frequencies: NDArray[np.int64] = np.floor(weights / weights.sum() * total).astype(np.int64) + 1
    frequencies[np.argmax(frequencies)] += (1 << PRECISION) - int(frequencies.sum())
    return frequencies


def _make_table(histogram: Histogram, prior: NDArray[np.float64], lowest: int) -> Table:
    """Return a table of `prior.size` symbols from `lowest` on, and the escape."""
    first = lowest + _WIDEST
    counts = histogram[first : first + prior.size].astype(np.float64)
    outside = histogram.sum() - counts.sum()
    weights = np.append(counts + _PSEUDO_COUNTS * prior / prior.sum(), outside + 0.01)
    return Table(lowest, to_frequencies(weights))


def gaussian_prior(scale: float, mean: float, lowest: int, highest: int) -> NDArray[np.float64]:
    """Return the probability of each integer from `lowest` to `highest`.

    The distribution is a Gaussian mixed with a share of a Laplace distribution for the tails.
    """

    def gaussian(x: float) -> float:
        return 0.5 * math.erfc(-x / (scale * math.sqrt(2)))

    def laplace(x: float) -> float:
        width = scale / math.sqrt(2) + 0.05
        tail = 0.5 * math.exp(-abs(x) / width)
        return 1 - tail if x > 0 else tail

    edges = [k - 0.5 - mean for k in range(lowest, highest + 2)]
    cdf = np.array([0.9 * gaussian(x) + 0.1 * laplace(x) for x in edges])
    return np.diff(cdf).clip(1e-12)


def fit_tables(symbols: Histogram, hyper: Histogram, skip: int) -> TableSet:
    """Return the tables of the 64 scales, symmetric around zero, then the hyper-latents' tables."""
    tables = []
    symmetric = symbols + symbols[:, ::-1]
    for index in range(SCALES):
        scale = float(scale_of_index(torch.tensor(float(index))))
        reach = min(math.ceil(10 * scale) + 2, _WIDEST - 1)
        prior = gaussian_prior(scale, 0.0, -reach, reach)
        tables.append(_make_table(symmetric[index], prior, -reach))
    values = np.arange(-_WIDEST, _WIDEST + 1)
    for histogram in hyper:
        total = max(int(histogram.sum()), 1)
        mean = float((histogram * values).sum()) / total
        deviation = math.sqrt(max(float((histogram * (values - mean) ** 2).sum()) / total, 0.01))
        seen = values[histogram > 0] if histogram.any() else values[_WIDEST : _WIDEST + 1]
        lowest = max(int(seen.min()) - 2, -_WIDEST + 1)
        highest = min(int(seen.max()) + 2, _WIDEST - 1)
        prior = gaussian_prior(deviation, mean, lowest, highest)
        tables.append(_make_table(histogram, prior, lowest))
    return TableSet(tables, skip)


