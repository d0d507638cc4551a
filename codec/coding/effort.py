"""How much time the encoder spends: what each effort level does. Files of all levels decode alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

Progress = Callable[[float], None]
"""Called with the share of the work that is done, rising to 1."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """What an effort level does."""

    exact_analysis: bool
    """Analysis in float64: the same file on every machine. In float32 a few symbols may differ."""
    zstd_level: int
    """For pictures that are stored losslessly."""
    iterations: int
    """Gradient steps over the latents of each tile."""


EFFORTS = {
    1: Effort(False, 3, 0),
    2: Effort(False, 19, 0),
    3: Effort(True, 19, 0),
    4: Effort(True, 19, 2),
    5: Effort(True, 19, 4),
    6: Effort(True, 19, 8),
    7: Effort(True, 19, 16),
    8: Effort(True, 19, 32),
    9: Effort(True, 19, 64),
}
"""From fastest to smallest. From 4 on, a few steps decide how latents near a tie are rounded; from 7 on,
latents are searched for. More than 64 steps gained nothing more when last tried: docs/experiments.md."""

DEFAULT_EFFORT = 3


def check_effort(effort: Any) -> None:
    """`TypeError` or `ValueError` unless `effort` is an integer from 1 to 9."""
    if isinstance(effort, bool) or not isinstance(effort, (int, np.integer)):
        raise TypeError(f"effort must be an integer, not {type(effort).__name__}")
    if effort not in EFFORTS:
        raise ValueError(f"effort must be from {min(EFFORTS)} to {max(EFFORTS)}, not {effort}")
