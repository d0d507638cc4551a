"""The score of SSIMULACRA2 (Sneyers, version 2.1 of April 2023), in agreement with libjxl.

The package `ssimulacra2` has the right weights, but version 0.3.0 differs from the reference in two
ways. It mirrors the picture at two of the four borders, where the reference has zeros. Below 225
pixels it halves the picture once less than the reference. Together these change the score by points
on photographs and by tens of points on small pictures. `codec.training.ssimulacra2` computes what
the reference does, and models are trained with it. `tests/bench/test_ssimulacra2.py` compares the
score with scores of libjxl 0.11.2. They agree within 0.1 below a score of 70, and within 0.5 above,
where the float32 rounding of the reference has an effect.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from codec.training.ssimulacra2 import Scale, error_sum, scales, score_of

Pixels = NDArray[np.uint8]

SMALLEST = 113
"""Smallest length in pixels of the shorter side that fills all six scales.

With fewer scales the weights shift. Such scores cannot be compared with scores of larger
pictures."""
LARGEST = 8_000_000
"""Maximum number of pixels of a picture. A score takes half a gigabyte of memory per million."""


def measurable(height: int, width: int) -> bool:
    """Whether a picture is neither too small for a score nor too large for memory."""
    return min(height, width) >= SMALLEST and height * width <= LARGEST


@torch.no_grad()
def score(original: Pixels, decoded: Pixels) -> float:
    """Score of a decoded picture, at most 100 (equal pictures).

    At 90 differences are hardly visible. 70 is high, 50 medium and 30 low quality. Both pictures
    are H×W×3 uint8 of the same shape, sRGB. Raises `ValueError` if they cannot be scored.
    """
    if original.shape != decoded.shape or not measurable(*original.shape[:2]):
        raise ValueError(f"pictures of {original.shape} and {decoded.shape} cannot be scored")
    first = _kept_scales(original.tobytes(), original.shape)
    return float(score_of(error_sum(first, _scales(decoded))))


def _scales(image: Pixels) -> list[Scale]:
    return scales(torch.tensor(image)[None] / 255)


@functools.lru_cache(maxsize=1)
def _kept_scales(pixels: bytes, shape: tuple[int, ...]) -> list[Scale]:
    """Scales of the original.

    They are cached because the original is the same for every codec and setting in a row.
    """
    return _scales(np.frombuffer(pixels, np.uint8).reshape(shape))
