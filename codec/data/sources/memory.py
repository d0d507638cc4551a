"""Datasets in memory as sources: those of Hugging Face, and those of this package."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from codec.data.layout import class_names, pyarrow
from codec.data.reading.dataset import Dataset
from codec.data.sources.base import Item
from codec.data.sources.iterable import IterableSource
from codec.data.sources.values import find_picture, picture_column, rows_of, storage_of

_BATCH = 256


def open_rows(source: Any, column: str | None) -> HuggingFaceSource | DatasetSource | IterableSource | None:
    """Return a source for a dataset of a known library; None for anything else.

    Raises `ValueError` for a dict of splits.
    """
    if isinstance(source, Dataset):
        return DatasetSource(source)
    library = sys.modules.get("datasets")
    if library is None:
        return None
    if isinstance(source, (library.DatasetDict, library.IterableDatasetDict)):
        names = ", ".join(map(repr, source))
        raise ValueError(f"the source is a dict of the splits {names}: pack one of them")
    if not isinstance(source, (library.Dataset, library.IterableDataset)):
        return None
    if source.features is None or _has_transform(source):
        # The rows are what the user's functions return. Their types are not known in advance.
        rows = IterableSource(source, column or "image")
        features = source.features.to_dict() if source.features is not None else {}
        rows.notes += [
            f"names of the classes of {name} are not kept: the dataset has a transform"
            for name, about in features.items() if class_names(about) is not None
        ]
        return rows
    return HuggingFaceSource(source, column)


def _has_transform(source: Any) -> bool:
    known = getattr(source, "format", None)
    return isinstance(known, dict) and known.get("type") == "custom"


class HuggingFaceSource:
    """A dataset of Hugging Face, with its columns, types and features.

    Rows are read as Arrow tables, so pictures are the bytes of their files and are not decoded.
    Where a row has no bytes but a path, the file is read. A stream can be read only once.
    """

    def __init__(self, source: Any, column: str | None) -> None:
        pa = pyarrow()
        known = getattr(source, "format", None)
        names = known["columns"] if isinstance(known, dict) else source.column_names
        known_features = json.loads(json.dumps(source.features.to_dict()))
        features = {name: about for name, about in known_features.items() if name in names}
        schema = pa.schema([field for field in source.features.arrow_schema if field.name in names])
        self.column = picture_column(schema, features, column)
        self.fields: list[Any] | None = [
            field.with_type(storage_of(field.type)) for field in schema if field.name != self.column
        ]
        self.features = {name: about for name, about in features.items() if name != self.column}
        self.ignored: list[str] = []
        self.notes: list[str] = []
        self._names = [field.name for field in schema]
        self._source = source.with_format("arrow")
        stored = isinstance(source, sys.modules["datasets"].Dataset)
        self._count: int | None = len(source) if stored else None
        self._about = repr((self._count, features))
        self._stream: Iterator[dict[str, Any]] | None = None
        self._position = 0

    def count(self) -> int | None:
        return self._count

    def digest(self, start: int, stop: int) -> str:
        if self._count is None:
            return ""
        return hashlib.sha256(f"{self._about} {start} {stop}".encode()).hexdigest()

    def items(self, start: int, stop: int) -> Iterator[Item]:
        for number, row in enumerate(self._rows(start, stop), start):
            path, load = find_picture(row.pop(self.column), Path(), f"row {number}")
            yield Item(path or f"{number:08d}", load, row)

    def _rows(self, start: int, stop: int) -> Iterator[dict[str, Any]]:
        if self._count is not None:
            for first in range(start, min(stop, self._count), _BATCH):
                yield from self._values(self._source[first : min(first + _BATCH, stop)])
            return
        if start < self._position:
            raise ValueError("a stream can be read only once")
        if self._stream is None:
            tables = self._source.iter(batch_size=_BATCH)
            self._stream = (row for table in tables for row in self._values(table))
        for row in itertools.islice(self._stream, max(0, stop - self._position)):
            self._position += 1
            if self._position > start:
                yield row

    def _values(self, table: Any) -> Iterator[dict[str, Any]]:
        columns = {name: table[name] for name in self._names}
        for name, column in columns.items():
            if isinstance(column.type, pyarrow().BaseExtensionType):
                chunks = [chunk.storage for chunk in column.chunks]
                columns[name] = pyarrow().chunked_array(chunks, storage_of(column.type))
        return rows_of(columns)


class DatasetSource:
    """A dataset of this package. Its pictures are not compressed again."""

    def __init__(self, source: Dataset) -> None:
        if source.transform is not None:
            raise ValueError("the dataset has a transform: pack an iterable of dicts of what it returns")
        self.column = source.image_column
        first = {field.name: field.metadata for field in source.shards[0].schema}
        self.fields: list[Any] | None = [
            source.schema.field(name).with_metadata(first.get(name)) for name in source.columns
        ]
        self.features = {name: about for name, about in source.features.items() if name in source.columns}
        self.ignored: list[str] = []
        self.notes: list[str] = []
        self._source = source

    def count(self) -> int:
        return len(self._source)

    def digest(self, start: int, stop: int) -> str:
        about = [(shard.name, shard.file.size()) for shard in self._source.shards]
        return hashlib.sha256(repr((about, start, stop)).encode()).hexdigest()

    def items(self, start: int, stop: int) -> Iterator[Item]:
        for index in range(start, min(stop, len(self._source))):
            name = self._source.pathname(index) or f"{index:08d}"
            yield Item(name, functools.partial(self._source.read, index), self._source.values(index))
