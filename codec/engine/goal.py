"""The goal of an encode: a quality, or a target in bits per pixel, bytes or decibels."""

from __future__ import annotations

import dataclasses
import decimal
import math
import numbers
from typing import Any, Literal

import numpy as np

from codec.format.header import MAX_LEVEL

Kind = Literal["bpp", "bytes", "psnr"]

DEFAULT_QUALITY = 75.0

_LARGEST_TARGET = 1e12
"""Larger than any file, and far below the range where arithmetic overflows."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A target for a file.

    Raises `TypeError` if the value is not a number, and `ValueError` unless it is positive and at
    most 10^12.
    """

    kind: Kind
    value: float

    def __post_init__(self) -> None:
        value = number(self.value, f"target_{self.kind}")
        if not 0 < value <= _LARGEST_TARGET:  # also true for NaN
            raise ValueError(
                f"target_{self.kind} must be positive and at most {_LARGEST_TARGET:g}, not {value:g}"
            )
        object.__setattr__(self, "value", value)

    def __str__(self) -> str:
        unit = {"bpp": "bits per pixel", "bytes": "bytes", "psnr": "dB"}[self.kind]
        return f"{self.value:.10g} {unit}"


def number(value: Any, name: str) -> float:
    """Return a real number of Python or NumPy, or an array of no dimensions, as a float.

    Raises `TypeError`, with `name` in its message, for anything else. A bool is no number.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (numbers.Real, decimal.Decimal)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def quality_level(quality: float) -> int:
    """Return the quality level 0…1024 that files store.

    Raises `ValueError` unless 0 ≤ quality ≤ 100.
    """
    quality = number(quality, "quality")
    if not 0 <= quality <= 100:  # also true for NaN
        raise ValueError(f"quality must be from 0 to 100, not {quality:g}")
    return round(quality * MAX_LEVEL / 100)


def choose_goal(
    quality: float | None,
    target_bpp: float | None = None,
    target_bytes: int | None = None,
    target_psnr: float | None = None,
) -> int | Target:
    """Return the quality level or the target. Raises `ValueError` if more than one is given."""
    targets: list[tuple[Kind, float | None]] = [
        ("bpp", target_bpp), ("bytes", target_bytes), ("psnr", target_psnr)
    ]
    given = [Target(kind, value) for kind, value in targets if value is not None]
    if len(given) + (quality is not None) > 1:
        raise ValueError("give only one of quality, target_bpp, target_bytes and target_psnr")
    return given[0] if given else quality_level(DEFAULT_QUALITY if quality is None else quality)
