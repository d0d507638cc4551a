"""Reading a dataset: any row, batches, columns, or all of it in order."""

from __future__ import annotations

import bisect
import functools
import itertools
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from codec.api import shared_codec
from codec.data.shards import Settings, Shard
from codec.errors import FormatError
from codec.image import Samples
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits

_BATCH = 64
"""Rows that are decoded together in iteration."""


class Dataset:
    """A compressed dataset: a map from indexes to dicts of a picture and its columns.

        dataset = codec.Dataset("folder")
        dataset[0]["image"], dataset[0]["label"]      # ndarray H×W×C uint8, int

    Works as a map-style dataset of `torch.utils.data.DataLoader`, which fetches whole batches; see
    `codec.data.loader` for the fastest way to batches of tensors. Safe to pickle and to fork.

    Args:
        path: folder of `.parquet` files, or one such file; also of other writers, if its pictures are `.cae`
            files in a column of bytes or of structs with `bytes`.
        columns: of the user's columns those wanted; None for all.
        transform: called with each decoded picture; what it returns takes its place.
        device: where pictures are decoded; None for the CPU.
        limits: what to spend on a picture at most.
        partial: whether a set that is not packed to its end may be opened.

    Raises `FormatError` (also for shards of different datasets, and missing ones), `FileNotFoundError`, and
    `MissingExtra` without pyarrow.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        transform: Callable[[Samples], Any] | None = None,
        device: str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        partial: bool = False,
    ) -> None:
        self.path = Path(path)
        self.shards = _open_shards(self.path, partial)
        first = self.shards[0]
        self.settings: Settings | None = first.settings
        """How it was packed; None if another tool wrote it."""
        self.image_column = first.column
        names = [name for name in first.schema.names if name != first.column]
        for name in columns or ():
            if name not in names:
                raise KeyError(f"no column {name!r} (there are: {', '.join(names) or 'none'})")
        self.columns = names if columns is None else list(columns)
        self.transform = transform
        self.device = device
        self.limits = limits
        self._firsts = [0, *itertools.accumulate(shard.rows for shard in self.shards)]

    def __len__(self) -> int:
        return self._firsts[-1]

    def __repr__(self) -> str:
        about = ", ".join(self.columns) or "none"
        return f"Dataset({os.fspath(self.path)!r}, {len(self)} pictures, columns: {about})"

    @property
    def features(self) -> dict[str, Any]:
        """Hugging Face's description of columns, as far as there is one."""
        return self.shards[0].features

    @property
    def classes(self) -> list[str] | None:
        """Names of the labels, if the set has them."""
        label = self.features.get("label")
        names = label.get("names") if isinstance(label, dict) else None
        return list(names) if isinstance(names, list) else None

    def locate(self, index: int) -> tuple[Shard, int]:
        """The shard and the row in it; `IndexError` beyond the end, negative indexes count from there."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} pictures")
        index %= len(self)
        number = bisect.bisect_right(self._firsts, index) - 1
        return self.shards[number], index - self._firsts[number]

    def read(self, index: int) -> bytes:
        """The `.cae` file of a picture."""
        shard, row = self.locate(index)
        return self._file(shard, shard.read(row))

    def row(self, index: int) -> bytes:
        """The bytes that the row of a picture holds: a `.cae` file or, in a set of bare rows, mostly less."""
        shard, row = self.locate(index)
        return shard.read(row)

    def pathname(self, index: int) -> str | None:
        """What the picture's file was called in the source."""
        shard, row = self.locate(index)
        value = self._small(shard, row)[shard.column]
        return value["path"] if isinstance(value, dict) else None

    def values(self, index: int) -> dict[str, Any]:
        """The user's columns of a row."""
        shard, row = self.locate(index)
        found = self._small(shard, row)
        return {name: found[name] for name in self.columns}

    def column(self, name: str) -> Any:
        """A whole column, as pyarrow's `ChunkedArray`."""
        from codec.data.shards import pyarrow

        if name not in self.columns:
            raise KeyError(f"no column {name!r} (there are: {', '.join(self.columns) or 'none'})")
        tables = [shard.table(group, [name]) for shard in self.shards for group in range(shard.groups)]
        if not tables:
            return pyarrow().chunked_array([], self.shards[0].schema.field(name).type)
        return pyarrow().concat_tables(tables)[name]

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return self.__getitems__(range(*index.indices(len(self))))
        return self.__getitems__([index])[0]

    def __getitems__(self, indexes: Sequence[int]) -> list[dict[str, Any]]:
        """Several rows at once, decoded together; `DataLoader` asks for batches this way."""
        return self._decoded([self.read(index) for index in indexes], [self.values(i) for i in indexes])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All rows in order, with few reads."""
        for shard in self.shards:
            for group in range(shard.groups):
                rows = shard.group_rows(group)
                pictures = shard.pictures(group)
                for start in range(0, len(rows), _BATCH):
                    part = rows[start : start + _BATCH]
                    files = [self._file(shard, data) for data in itertools.islice(pictures, len(part))]
                    values = [self._small(shard, row) for row in part]
                    wanted = [{name: found[name] for name in self.columns} for found in values]
                    yield from self._decoded(files, wanted)

    def files(self) -> Iterator[tuple[str | None, bytes, dict[str, Any]]]:
        """Path, `.cae` file and columns of all rows in order: nothing is decoded."""
        for shard in self.shards:
            for group in range(shard.groups):
                for row, data in zip(shard.group_rows(group), shard.pictures(group), strict=True):
                    found = self._small(shard, row)
                    image = found[shard.column]
                    path = image["path"] if isinstance(image, dict) else None
                    yield path, self._file(shard, data), {name: found[name] for name in self.columns}

    def _decoded(self, files: list[bytes], values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        pictures = shared_codec(None, self.device).decompress_batch(files, limits=self.limits)
        shown = map(self.transform, pictures) if self.transform else pictures
        return [
            {self.image_column: picture, **columns} for picture, columns in zip(shown, values, strict=True)
        ]

    def _file(self, shard: Shard, data: bytes) -> bytes:
        rows = shard.settings.rows if shard.settings else None
        return data if rows is None else rows.unpack(data)

    def _small(self, shard: Shard, row: int) -> dict[str, Any]:
        """All of a row but its picture."""
        group = shard.group_of(row)
        table = _small_columns(shard, group, tuple(self.columns))
        return {name: values[row - shard.group_rows(group).start] for name, values in table.items()}


@functools.lru_cache(maxsize=256)
def _small_columns(shard: Shard, group: int, columns: tuple[str, ...]) -> dict[str, list[Any]]:
    """Columns of a row group, and the paths of its pictures; kept, for rows that are read one by one."""
    wanted = [*columns, f"{shard.column}.path"]
    table = shard.table(group, wanted)
    found = {name: table[name].to_pylist() for name in table.column_names}
    if shard.column not in found:
        found[shard.column] = [None] * len(shard.group_rows(group))
    return found


def _open_shards(path: Path, partial: bool) -> list[Shard]:
    if path.is_dir():
        found = (file for file in path.iterdir() if file.suffix == ".parquet")
        names = sorted(file for file in found if file.name[0] not in "._")
    else:
        names = [path]
    if not names:
        raise FileNotFoundError(2, "No .parquet files in this folder", os.fspath(path))
    shards = [Shard(name) for name in names]
    first = shards[0]
    for shard in shards:
        if shard.settings != first.settings or shard.schema.names != first.schema.names:
            raise FormatError(f"{shard.path.name} and {first.path.name} are not of one dataset")
    there = {shard.account.number for shard in shards if shard.account}
    total = first.settings.shards if first.settings else None
    if path.is_dir() and total is not None and not partial and (lacking := sorted(set(range(total)) - there)):
        raise FormatError(
            f"{len(lacking)} of {total} shards are missing, number {lacking[0]} the first: pack to the end, "
            "or open it as partial"
        )
    return shards
