"""Reading a dataset: single rows, batches, columns, or all rows in order."""

from __future__ import annotations

import bisect
import functools
import itertools
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from codec.api import shared_codec
from codec.data.layout import Settings, pyarrow
from codec.data.reading import agreement
from codec.data.reading.opening import SUFFIX, find_files
from codec.data.reading.shards import Shard
from codec.engine.worker import check_precision
from codec.errors import CodecError, FormatError
from codec.format.header import SIGNATURE
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.pictures.picture import Samples

if TYPE_CHECKING:
    from codec.model.runtime import Precision

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
        path: folder of `.parquet` files, also with Hive partitions (`label=3/…`), which become
            columns; or one such file; or a pattern such as "set/train-*.parquet"; or a URL of one
            of these, for which fsspec must be installed. Files of other writers can be read if the
            pictures are `.cae` files in a column of bytes or of structs with `bytes`.
        columns: names of the user's columns to read; None for all.
        column: column of the pictures. It is only needed if another tool wrote the files, and
            several columns may hold pictures.
        transform: called with each decoded picture; its result replaces the picture.
        device: device on which pictures are decoded; None for the CPU.
        precision: "float32" or "bfloat16", as for `codec.decompress`.
        limits: limits of size for each picture.
        partial: whether a dataset whose packing is not finished can be opened.

    Raises `FormatError` (also for files of different datasets, and for missing shards),
    `FileNotFoundError`, and `MissingExtra` if pyarrow is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        column: str | None = None,
        transform: Callable[[Samples], Any] | None = None,
        device: str | None = None,
        precision: Precision | None = None,
        limits: Limits = DEFAULT_LIMITS,
        partial: bool = False,
    ) -> None:
        if isinstance(columns, str):
            raise TypeError(f"columns must be a list of names, not the name {columns!r}")
        check_precision(precision)
        self.path = os.fspath(path)
        pyarrow()
        found = find_files(path)
        shards = [Shard(found.files[0], column)]
        self.image_column = shards[0].column
        shards += [Shard(file, self.image_column) for file in found.files[1:]]
        for shard, partition in zip(shards, found.partitions, strict=True):
            shard.partition = {
                name: value for name, value in partition.items() if shard.schema.get_field_index(name) < 0
            }
        self.schema: Any = agreement.common_schema(shards, columns)
        """Types of the user's columns, as a schema of pyarrow."""
        for name in columns or ():
            self._check_name(name, self.schema.names)
        self.columns = list(self.schema.names if columns is None else columns)
        self.settings: Settings | None = agreement.common_settings(shards)
        """Settings with which the dataset was packed; None if another tool wrote it."""
        self.features: dict[str, Any] = agreement.common_features(shards)
        """Hugging Face's description of the columns; empty if there is none."""
        whole = found.folder is not None
        self.shards, self.missing = agreement.in_reading_order(shards, whole=whole, partial=partial)
        """Files in the order of their rows, and the number of shards that are missing."""
        if found.nested and not all(shard.account for shard in shards):
            raise FormatError(
                f"{found.root} has {SUFFIX} files, and also folders of them: {', '.join(found.nested)}: open "
                f"one of these, or {os.path.join(found.root, '*' + SUFFIX)} for the files only"
            )
        self.transform = transform
        self.device = device
        self.precision = precision
        self.limits = limits
        self._firsts = [0, *itertools.accumulate(shard.rows for shard in self.shards)]

    @staticmethod
    def _check_name(name: str, names: Sequence[str]) -> None:
        if name not in names:
            raise KeyError(f"no column {name!r} (available: {', '.join(names) or 'none'})")

    def __len__(self) -> int:
        return self._firsts[-1]

    def __repr__(self) -> str:
        about = ", ".join(self.columns) or "none"
        return f"Dataset({self.path!r}, {len(self)} pictures, columns: {about})"

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
        return self._file(shard, row, shard.read(row))

    def row(self, index: int) -> bytes:
        """Return the stored bytes of a picture: a `.cae` file or a bare row."""
        shard, row = self.locate(index)
        return shard.read(row)

    def pathname(self, index: int) -> str | None:
        """Return the name of the picture's file in the source, or None if it is not known."""
        shard, row = self.locate(index)
        return shard.pathname(row)

    def values(self, index: int) -> dict[str, Any]:
        """Return the user's columns of a row."""
        shard, row = self.locate(index)
        return shard.values(row, self.columns)

    def column(self, name: str) -> Any:
        """Return a whole column as a `ChunkedArray` of pyarrow."""
        self._check_name(name, self.columns)
        kind = self.schema.field(name).type
        arrays = [array for shard in self.shards for array in shard.arrays(name)]
        return pyarrow().chunked_array([agreement.cast(array, kind) for array in arrays], kind)

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
        pictures = self._decoded(places, [self._file(shard, row, shard.read(row)) for shard, row in places])
        return [
            {self.image_column: picture, **shard.values(row, self.columns)}
            for picture, (shard, row) in zip(pictures, places, strict=True)
        ]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield all rows in order, with few reads."""
        columns = tuple(self.columns)
        for shard in self.shards:
            for group in range(shard.groups):
                rows = shard.group_rows(group)
                pictures, values = shard.pictures(group), shard.values_in_order(group, columns)
                for start in range(0, len(rows), _BATCH):
                    places = [(shard, row) for row in rows[start : start + _BATCH]]
                    files = [self._file(shard, row, next(pictures)) for _, row in places]
                    shown = self._decoded(places, files)
                    yield from ({self.image_column: picture, **next(values)} for picture in shown)

    def files(self) -> Iterator[tuple[str | None, bytes, dict[str, Any]]]:
        """Yield path, `.cae` file and columns of all rows in order. Nothing is decoded."""
        columns = tuple(self.columns)
        for shard in self.shards:
            for group in range(shard.groups):
                rows = shard.group_rows(group)
                parts = shard.paths_in_order(group), shard.pictures(group)
                values = shard.values_in_order(group, columns)
                for row, path, data, found in zip(rows, *parts, values, strict=True):
                    yield path, self._file(shard, row, data), found

    def _decoded(self, places: list[tuple[Shard, int]], files: list[bytes]) -> list[Any]:
        codec = shared_codec(None, self.device, self.precision)
        decode = functools.partial(codec.decompress_batch, limits=self.limits)
        pictures = decode_named(decode, places, files)
        return list(map(self.transform, pictures) if self.transform else pictures)

    def _file(self, shard: Shard, row: int, data: bytes) -> bytes:
        rows = shard.settings.rows if shard.settings else None
        if rows is not None:
            return rows.unpack(data)
        if not data.startswith(SIGNATURE):
            raise FormatError(f"{shard.name}: row {row} is {_what_else(data, shard)}")
        return data


def _what_else(data: bytes, shard: Shard) -> str:
    """Return what the bytes of a row are if they are no `.cae` file."""
    for start, kind in _KINDS.items():
        if data.startswith(start):
            return f"a {kind} file, not a .cae file: codec.data.pack makes a dataset of these files"
    if shard.settings is None:
        return (
            "not a .cae file. If it is a bare row, its settings were lost when another tool wrote the file: "
            "read the original dataset, or copy the schema's metadata 'codec' from it"
        )
    return "not a .cae file, it is damaged"


_KINDS = {
    b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"GIF8": "GIF", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"BM": "BMP",
}

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
                raise type(found)(f"{shard.name}: row {row}: {found}") from None
        raise error
