"""Effort levels: how much time the encoder spends. The decoder treats files of all levels alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from codec.limits import integer

Progress = Callable[[float], None]
"""Called with the completed share of the work, which increases to 1."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """The encoder settings of one effort level."""

    zstd_level: int
    """Zstandard level for pictures that are stored losslessly."""
    iterations: int
    """Number of gradient steps over the latents of each tile."""


EFFORTS = {
    1: Effort(3, 0),
    2: Effort(12, 0),
    3: Effort(19, 0),
    4: Effort(19, 2),
    5: Effort(19, 4),
    6: Effort(19, 8),
    7: Effort(19, 16),
    8: Effort(19, 32),
    9: Effort(19, 64),
}
"""Effort levels, from the fastest to the one with the smallest files.

From level 4 on, a few gradient steps decide how latents near a tie are rounded. From level 7 on,
the encoder searches for better latents. More than 64 steps gave no further gain when last tried:
docs/experiments.md.
"""

DEFAULT_EFFORT = 3


def check_effort(effort: Any) -> int:
    """Return `effort` as an int.

    Raises `TypeError` or `ValueError` unless it is an integer from 1 to 9.
    """
    level = integer(effort, "effort")
    if level not in EFFORTS:
        raise ValueError(f"effort must be from {min(EFFORTS)} to {max(EFFORTS)}, not {level}")
    return level
