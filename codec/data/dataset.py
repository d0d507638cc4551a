"""Reading a dataset: single rows, batches, columns, or all rows in order."""

from __future__ import annotations

import bisect
import functools
import itertools
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

from codec.api import shared_codec
from codec.data.layout import Settings, refused_by_name
from codec.data.shards import Shard
from codec.errors import CodecError, FormatError
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.pictures.picture import Samples

_BATCH = 64
"""Number of rows that are decoded together during iteration."""


class Dataset:
    """A compressed dataset. It maps an index to a dict of a picture and its columns.

        dataset = codec.Dataset("folder")
        dataset[0]["image"], dataset[0]["label"]      # ndarray H×W×C uint8, int

    It can be used as a map-style dataset of `torch.utils.data.DataLoader`, which fetches whole
    batches. `codec.data.loader` is the fastest way to get batches of tensors. A dataset is safe to
    pickle and to fork.

    Args:
        path: folder of `.parquet` files, or one such file. Files of other writers can be read if
            the pictures are `.cae` files in a column of bytes or of structs with `bytes`.
        columns: names of the user's columns to read; None for all.
        transform: called with each decoded picture; its result replaces the picture.
        device: device on which pictures are decoded; None for the CPU.
        limits: limits of size for each picture.
        partial: whether a dataset whose packing is not finished can be opened.

    Raises `FormatError` (also for shards of different datasets, and for missing shards),
    `FileNotFoundError`, and `MissingExtra` if pyarrow is not installed.
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
        """Settings with which the dataset was packed; None if another tool wrote it."""
        self.image_column = first.column
        names = [name for name in first.schema.names if name != first.column]
        for name in columns or ():
            if name not in names:
                raise KeyError(f"no column {name!r} (available: {', '.join(names) or 'none'})")
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
        """Hugging Face's description of the columns; empty if there is none."""
        return self.shards[0].features

    @property
    def classes(self) -> list[str] | None:
        """Names of the labels; None if the dataset has none."""
        label = self.features.get("label")
        names = label.get("names") if isinstance(label, dict) else None
        return list(names) if isinstance(names, list) else None

    def locate(self, index: int) -> tuple[Shard, int]:
        """Return the shard of a picture and the row in this shard.

        Negative indexes count from the end. Raises `IndexError` for an index beyond the end.
        """
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} pictures")
        index %= len(self)
        number = bisect.bisect_right(self._firsts, index) - 1
        return self.shards[number], index - self._firsts[number]

    def read(self, index: int) -> bytes:
        """Return the `.cae` file of a picture."""
        shard, row = self.locate(index)
        return self._file(shard, shard.read(row))

    def row(self, index: int) -> bytes:
        """Return the stored bytes of a picture: a `.cae` file or a bare row."""
        shard, row = self.locate(index)
        return shard.read(row)

    def pathname(self, index: int) -> str | None:
        """Return the name of the picture's file in the source, or None if it is not known."""
        return _path_of(*self.locate(index))

    def values(self, index: int) -> dict[str, Any]:
        """Return the user's columns of a row."""
        return self._values(*self.locate(index))

    def column(self, name: str) -> Any:
        """Return a whole column as a `ChunkedArray` of pyarrow."""
        from codec.data.layout import pyarrow

        if name not in self.columns:
            raise KeyError(f"no column {name!r} (available: {', '.join(self.columns) or 'none'})")
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
        """Return several rows, which are decoded together. `DataLoader` calls this for batches."""
        places = [self.locate(index) for index in indexes]
        return self._decoded(places, [self._file(shard, shard.read(row)) for shard, row in places])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield all rows in order, with few reads."""
        for shard in self.shards:
            for group in range(shard.groups):
                rows = shard.group_rows(group)
                pictures = shard.pictures(group)
                for start in range(0, len(rows), _BATCH):
                    part = rows[start : start + _BATCH]
                    files = [self._file(shard, data) for data in itertools.islice(pictures, len(part))]
                    yield from self._decoded([(shard, row) for row in part], files)

    def files(self) -> Iterator[tuple[str | None, bytes, dict[str, Any]]]:
        """Yield path, `.cae` file and columns of all rows in order. Nothing is decoded."""
        for shard in self.shards:
            for group in range(shard.groups):
                for row, data in zip(shard.group_rows(group), shard.pictures(group), strict=True):
                    yield _path_of(shard, row), self._file(shard, data), self._values(shard, row)

    def _decoded(self, places: list[tuple[Shard, int]], files: list[bytes]) -> list[dict[str, Any]]:
        codec = shared_codec(None, self.device)
        decode = functools.partial(codec.decompress_batch, limits=self.limits)
        pictures = decode_named(decode, places, files)
        shown = map(self.transform, pictures) if self.transform else pictures
        return [
            {self.image_column: picture, **self._values(*place)}
            for picture, place in zip(shown, places, strict=True)
        ]

    def _file(self, shard: Shard, data: bytes) -> bytes:
        rows = shard.settings.rows if shard.settings else None
        return data if rows is None else rows.unpack(data)

    def _values(self, shard: Shard, row: int) -> dict[str, Any]:
        return _row_of(shard, row, tuple(self.columns))


_T = TypeVar("_T")


def decode_named(
    decode: Callable[[Sequence[bytes]], list[_T]], places: Sequence[tuple[Shard, int]], files: Sequence[bytes]
) -> list[_T]:
    """Return the result of `decode` for the files of these rows. Its errors name the row."""
    try:
        return decode(files)
    except CodecError as error:
        for (shard, row), data in zip(places, files, strict=True):
            try:
                decode([data])
            except CodecError as found:
                raise type(found)(f"{shard.path.name}: row {row}: {found}") from None
        raise error


def _row_of(shard: Shard, row: int, columns: tuple[str, ...]) -> dict[str, Any]:
    group = shard.group_of(row)
    table = _columns_of(shard, group, columns)
    at = row - shard.group_rows(group).start
    with refused_by_name(shard.path):
        return {name: table[name][at].as_py() for name in table.column_names}


def _path_of(shard: Shard, row: int) -> str | None:
    kind = shard.schema.field(shard.column).type
    if not hasattr(kind, "get_field_index") or kind.get_field_index("path") < 0:
        return None
    value = _row_of(shard, row, (f"{shard.column}.path",))[shard.column]
    path = value["path"] if value else None
    return path if isinstance(path, str) else None


@functools.lru_cache(maxsize=64)
def _columns_of(shard: Shard, group: int, columns: tuple[str, ...]) -> Any:
    """Return columns of a row group as a table. It is cached for rows that are read one by one."""
    table = shard.table(group, list(columns))
    if columns and table.num_rows != len(shard.group_rows(group)):
        raise FormatError(f"{shard.path.name}: a row group has a wrong number of rows: {table.num_rows}")
    return table


def _open_shards(path: Path, partial: bool) -> list[Shard]:
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
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
        alike = shard.schema.equals(first.schema) and shard.features == first.features
        if shard.settings != first.settings or not alike:
            raise FormatError(f"{shard.path.name} and {first.path.name} belong to different datasets")
    if first.settings is not None and path.is_dir():
        shards.sort(key=lambda shard: shard.account.number if shard.account else -1)
        _check_numbers(shards, first.settings.shards, partial)
    return shards


def _check_numbers(shards: list[Shard], total: int | None, partial: bool) -> None:
    """Raise `FormatError` if a shard exists twice or, unless `partial`, is missing."""
    there: dict[int, Shard] = {}
    for shard in shards:
        if shard.account is None:
            raise FormatError(f"{shard.path.name} does not contain its shard number")
        other = there.setdefault(shard.account.number, shard)
        if other is not shard:
            raise FormatError(f"{other.path.name} and {shard.path.name} are the same shard")
    wanted = max(there) + 1 if total is None else total
    if len(there) < wanted and not partial:
        lacking = next(number for number in itertools.count() if number not in there)
        raise FormatError(
            f"{wanted - len(there)} of {wanted} shards are missing, the first is number {lacking}: finish "
            "packing, or open the dataset with partial=True"
        )
