"""Parquet files with a column of pictures as a source."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from codec.data.layout import Settings, class_names, pyarrow, read_features, refused_by_name
from codec.data.reading.agreement import common_fields
from codec.data.reading.files import is_utf_8
from codec.data.sources.base import Item, as_text
from codec.data.sources.splits import FileColumns
from codec.data.sources.values import find_picture, picture_column, rows_of
from codec.errors import FormatError
from codec.format.rows import RowFormat


def _joined(features: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the features of files together, of which the last is `name`.

    Files that were appended to a dataset may have more classes. Raises `FormatError` if the labels
    mean something else.
    """
    found = {**other, **features}
    for column, about in other.items():
        ours, theirs = class_names(found[column]), class_names(about)
        if ours is None or theirs is None:
            continue
        shorter = min(len(ours), len(theirs))
        if ours[:shorter] != theirs[:shorter]:
            raise FormatError(
                f"{name}: column {column!r} has other names of classes than the files before it: pack "
                "these files into another folder"
            )
        if len(theirs) > len(ours):
            found[column] = about
    return found


@contextlib.contextmanager
def _opened(path: Path) -> Generator[Any, None, None]:
    """Open a Parquet file. Its errors become a `FormatError` with its name."""
    with open(path, "rb") as raw, refused_by_name(as_text(path.name)):
        found = path if is_utf_8(path) else raw  # pyarrow takes only paths that are UTF-8
        with pyarrow().parquet.ParquetFile(found) as file:
            yield file


class ParquetSource:
    """Rows of Parquet files with a column of encoded pictures. Other columns are kept unchanged.

    Where a row has no bytes but a path, that file of the local disk is read, whatever folder it is
    in (see `values.py`). A relative path is relative to the folder of the Parquet file.
    """

    def __init__(self, paths: list[Path], root: Path, column: str | None) -> None:
        self.ignored: list[str] = []
        self._paths = paths
        self._groups: list[list[int]] = []
        """Number of rows of each row group of each file. The files are not kept open, because there
        may be thousands."""
        self._formats: list[RowFormat | None] = []
        """The format of the bare rows of each file, if it is of a dataset of this package."""
        schemas: list[tuple[str, Any]] = []
        features: dict[str, Any] = {}
        for path in paths:
            with _opened(path) as file:
                schema, about = file.schema_arrow, file.metadata
            name = as_text(os.fspath(path.relative_to(root)) if path != root else path.name)
            features = _joined(features, read_features(schema.metadata), name)
            self._groups.append([about.row_group(n).num_rows for n in range(about.num_row_groups)])
            settings = Settings.read(schema.metadata)
            self._formats.append(settings.rows if settings else None)
            if not any(schema.equals(other) for _, other in schemas):
                schemas.append((name, schema))
        self.column = picture_column(schemas[0][1], features, column)
        for name, schema in schemas[1:]:
            if self.column not in schema.names:
                raise FormatError(f"{name} has no column {self.column!r}, which {schemas[0][0]} has")
            if not pyarrow().types.is_null(schema.field(self.column).type):  # as in a file without rows
                try:
                    picture_column(schema, features, self.column)
                except FormatError as error:
                    raise FormatError(f"{name}: {error}") from None
        self._fixed = FileColumns(paths, root, schemas[0][1].names)
        others = [
            (name, {field.name: field for field in schema if field.name != self.column})
            for name, schema in schemas
        ]
        self.fields: list[Any] | None = common_fields(others) + self._fixed.fields
        self.features = {name: about for name, about in features.items() if name != self.column}
        self.features.update(self._fixed.features)
        self.notes = self._fixed.notes

    def count(self) -> int:
        return sum(map(sum, self._groups))

    def digest(self, start: int, stop: int) -> str:
        about = [(as_text(path.name), path.stat().st_size) for path in self._paths]
        return hashlib.sha256(repr((about, start, stop)).encode()).hexdigest()

    def items(self, start: int, stop: int) -> Iterator[Item]:
        first = 0
        for number, (path, groups) in enumerate(zip(self._paths, self._groups, strict=True)):
            after = first + sum(groups)
            if first < stop and after > start:
                with _opened(path) as file:
                    for index, row in self._rows_of(file, groups, first, start, stop):
                        row.update(self._fixed.values[number])
                        yield self._item(row, index, path.parent, self._formats[number])
            first = after

    def _rows_of(
        self, file: Any, groups: list[int], first: int, start: int, stop: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for group, rows in enumerate(groups):
            if first < stop and first + rows > start:
                batches = file.iter_batches(256, row_groups=[group])
                columns = (dict(zip(batch.schema.names, batch.columns, strict=True)) for batch in batches)
                every = itertools.chain.from_iterable(map(rows_of, columns))
                for number, row in enumerate(every, first):
                    if start <= number < stop:
                        yield number, row
            first += rows

    def _item(self, row: dict[str, Any], number: int, folder: Path, bare: RowFormat | None) -> Item:
        path, load = find_picture(row.pop(self.column), folder, f"row {number}")
        return Item(path or f"{number:08d}", load if bare is None else lambda: bare.unpack(load()), row)
