"""The scale model in plain integers: numpy's int64, with shifts in place of floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.model.exact import ACTIVATION_BITS, LIMIT, SUM_BITS, WEIGHT_BITS, ExactLinear
from codec.model.scale_model import ScaleModel

Ints = NDArray[np.int64]

_BOUND = int(LIMIT) << ACTIVATION_BITS


def integers(values: Any, bits: int) -> Ints:
    """Return a tensor of multiples of 2^-bits as integers, in units of 2^-bits."""
    scaled = values.detach().double().numpy() * 2.0**bits
    assert np.array_equal(scaled, np.rint(scaled))
    whole: Ints = scaled.astype(np.int64)
    return whole


def divide(x: Ints, bits: int) -> Ints:
    """Return x / 2^bits, rounded to the nearest integer, ties to even."""
    quotient, rest, half = x >> bits, x & ((1 << bits) - 1), 1 << bits >> 1
    rounded: Ints = quotient + ((rest > half) | ((rest == half) & (quotient & 1 == 1)))
    return rounded


def linear(layer: ExactLinear, x: Ints) -> Ints:
    """Return the sums of a layer in units of 2^-12, for activations in units of 2^-4."""
    return x @ integers(layer.weight, WEIGHT_BITS).T + integers(layer.bias, SUM_BITS)


def activation(total: Ints) -> Ints:
    """Return activations in units of 2^-4 for sums in units of 2^-12."""
    leaky = np.where(total < 0, total, 8 * total)  # units of 2^-15
    return np.clip(divide(leaky, SUM_BITS + 3 - ACTIVATION_BITS), -_BOUND, _BOUND)


def table(values: Any, level: int) -> Ints:
    """Return an interpolated row of a quality table in units of 2^-12."""
    rows = integers(values, ACTIVATION_BITS)
    low = min(level // 128, 7)
    share = level - 128 * low
    row: Ints = rows[low] * (128 - share) + rows[low + 1] * share  # units of 2^-11
    return 2 * row


def scale_indexes(model: ScaleModel, z: NDArray[np.int64], level: int) -> Ints:
    """Return the scale indexes 4h×4w×M of hyper-latents h×w×C."""
    h, w, _ = z.shape
    x = np.pad(np.clip(z, -int(LIMIT), int(LIMIT)) << ACTIVATION_BITS, ((1, 1), (1, 1), (0, 0)))
    x = np.concatenate([x[i : i + h, j : j + w] for i in range(3) for j in range(3)], -1)
    x = activation(linear(model.spatial, x) + table(model.quality.table, level))
    x = activation(linear(model.hidden, x))
    total = linear(model.index, x).reshape(h, w, 4, 4, -1) * 8 + table(model.offset.table, level)
    indexes: Ints = np.clip(divide(total, SUM_BITS), 0, 63)
    return indexes.transpose(0, 2, 1, 3, 4).reshape(4 * h, 4 * w, -1)
