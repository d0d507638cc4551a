"""The arguments of `pack`: numbers, bands, and the places of source and output."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from codec.data.sources import Source
from codec.data.sources.parquet import ParquetSource
from codec.pictures.decoded import check_bands


def whole(name: str, value: SupportsIndex) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number, not {value}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if number < 1:
        raise ValueError(f"{name} must be at least 1, not {number}")
    return number


def chosen_bands(bands: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the numbers of bands, from 1 on. Raises an error if they are no choice."""
    try:
        found = check_bands(bands)
    except TypeError:
        raise TypeError(f"bands must be a sequence of whole numbers, not {bands!r}") from None
    return None if found is None else tuple(band + 1 for band in found)


def pair(part: Sequence[int]) -> Sequence[int]:
    if isinstance(part, (str, bytes)) or not hasattr(part, "__len__") or len(part) != 2:
        raise ValueError(f"part must be (k, n) with 1 ≤ k ≤ n, not {part!r}")
    return part


def output_folder(out: str | os.PathLike[str]) -> Path:
    if "://" in os.fspath(out):
        raise ValueError(f"a dataset is packed into a folder on this machine, not to {os.fspath(out)}")
    return Path(out)


def place_in(source: Any, folder: Path, opened: Source) -> str | None:
    """Return the place of the output folder in a source folder, or None if it is elsewhere.

    Raises `ValueError` if files of the source would be among the shards, or shards among them.
    """
    if not isinstance(source, (str, os.PathLike)):
        return None
    path, out = Path(source).resolve(), folder.resolve()
    if path == out:
        raise ValueError("a folder cannot be packed into itself")
    if isinstance(opened, ParquetSource):
        if path.parent == out:
            raise ValueError(
                f"{path.name} is in the output folder, and would be read as a shard: choose another folder"
            )
        if out.is_relative_to(path):
            raise ValueError("the shards would be among the files of the source: choose another folder")
    return f"{out.relative_to(path).as_posix()}/" if out.is_relative_to(path) else None
