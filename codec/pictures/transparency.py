"""Colour of fully transparent pixels. It is invisible, so it is chosen to cost few bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.floating[Any]]


def fill(colour: _Floats, shown: NDArray[np.bool_]) -> _Floats:
    """Return `colour` H×W×C float32, continued smoothly where it is not `shown` (H×W).

    If no pixel is shown, the result is mid gray. The method is push–pull interpolation: gaps are
    filled with averages of the shown pixels at lower and lower resolutions. Gortler et al., "The
    Lumigraph", SIGGRAPH 1996. Sums run in a fixed order, so the result is the same on every
    machine.
    """
    if shown.all():
        return colour
    if not shown.any():
        return np.full_like(colour, 0.5)
    height, width = shown.shape
    even = ((0, height % 2), (0, width % 2), (0, 0))
    values = np.pad(np.where(shown[:, :, None], colour, np.float32(0)), even)
    count = _sum_of_four(np.pad(shown[:, :, None].astype(np.float32), even))
    coarse: _Floats = _sum_of_four(values) / np.maximum(count, np.float32(1))
    coarse = fill(coarse, count[:, :, 0] > 0)
    below = _twice(_twice(coarse).swapaxes(0, 1)).swapaxes(0, 1)
    return np.where(shown[:, :, None], colour, below[:height, :width])


def _sum_of_four(values: _Floats) -> _Floats:
    rows = values[0::2] + values[1::2]
    return rows[:, 0::2] + rows[:, 1::2]


def _twice(values: _Floats) -> _Floats:
    """Double the number of rows by linear interpolation."""
    padded = np.pad(values, ((1, 1), (0, 0), (0, 0)), mode="edge")
    out = np.empty((2 * values.shape[0], *values.shape[1:]), np.float32)
    out[0::2] = 0.75 * values + 0.25 * padded[:-2]
    out[1::2] = 0.75 * values + 0.25 * padded[2:]
    return out
