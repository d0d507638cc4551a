"""Shards: Parquet files with one picture per row, in the layout of Hugging Face's `Image` feature.

    image: struct<bytes: binary, path: string>   whole `.cae` files, or bare rows
    label, …                                      the user's own columns

The schema contains the metadata that all shards share (key `codec`). The footer contains the
metadata of the single shard (key `codec.shard`). The pictures of a row group are one uncompressed
page with the encoding DELTA_LENGTH_BYTE_ARRAY: their bytes are contiguous up to the end of the
column chunk. The footer contains their lengths, so the position of every picture in the file is
known. Reading a picture is one read of exactly its bytes. The first picture of a row group takes a
second read, which checks that the page is where the footer says.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import zlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.data import layout
from codec.data.reading import cells
from codec.data.reading.files import Stored, stored
from codec.errors import FormatError

_BUFFER = 1 << 18
"""Number of bytes that are read at a time from row groups that are not needed as a whole."""

_READ = 1 << 22
"""Number of bytes that are read together if all pictures are read in order."""


class Shard:
    """A shard with random access to its rows.

    Files of other writers can also be read, some rows at a time. `column` is the column of
    pictures, if it is not the one that the settings name or that is found.
    """

    def __init__(self, file: str | Path | Stored, column: str | None = None) -> None:
        self.file: Stored = stored(file) if isinstance(file, (str, Path)) else file
        self.partition: dict[str, Any] = {}
        """Columns whose value is the same in all rows, and is in the name of the folder."""
        with layout.refused_by_name(self.name):
            with self._open(None) as opened:
                about = opened.metadata
            self.rows: int = about.num_rows
            self.schema: Any = about.schema.to_arrow_schema()
            self.settings = layout.Settings.read(self.schema.metadata)
            self.features = layout.read_features(self.schema.metadata)
            self.account, self._packed_lengths, self._marks = layout.read_account(about.metadata)
            if self.account and 0 < self.account.items - len(self.account.failures) < self.rows:
                self.account = None  # of the first of several shards that a tool put into one file
            named = self.settings.column if self.settings else None
            self.column = column or named or layout.find_column(self.schema, self.features)
            layout.check_column(self.schema, self.column)
            counts = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
            if sum(counts) != self.rows or min(counts, default=0) < 0:
                raise FormatError(f"{self.name}: {sum(counts)} rows in row groups, but {self.rows} in all")
            self._groups: list[int] = [0, *itertools.accumulate(counts)]
            kind = self.schema.field(self.column).type
            self._is_struct = bool(layout.pyarrow().types.is_struct(kind))
            self._leaf = f"{self.column}.bytes" if self._is_struct else self.column
            self._has_path = self._is_struct and kind.get_field_index("path") >= 0
            size = self.file.size()
            groups = map(about.row_group, range(len(counts)))
            self._chunks = [_chunk_end(group, self._leaf, size) for group in groups]
        self._starts: Any = None
        self._trusted: dict[int, bool] = {}
        self.part_rows: dict[tuple[int, tuple[str, ...]], int] = {}
        """Number of rows read together, by row group and columns; see `cells.py`."""

    @property
    def name(self) -> str:
        """Name in messages: the path relative to the dataset."""
        return self.file.name

    def group_of(self, row: int) -> int:
        """Return the row group that contains a row."""
        return bisect.bisect_right(self._groups, row) - 1

    def group_rows(self, group: int) -> range:
        return range(self._groups[group], self._groups[group + 1])

    @property
    def groups(self) -> int:
        return len(self._groups) - 1

    def read(self, row: int) -> bytes:
        """Return the bytes of the picture in a row."""
        place = self._place(row)
        if place is None:
            return self._there(cells.cells(self, row, (self._leaf,)), row)
        return self.file.read_at(*place)

    def pathname(self, row: int) -> str | None:
        """Return the name of the picture's file in the source, or None if it is not known."""
        if not self._has_path:
            return None
        return _path_in(cells.cells(self, row, (f"{self.column}.path",))[self.column])

    def values(self, row: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return the values of the user's columns in a row."""
        found = {**cells.cells(self, row, self._stored(columns)), **self.partition}
        return {name: found[name] for name in columns}

    def values_in_order(self, group: int, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """Yield the values of the user's columns of all rows of a row group."""
        for row in cells.rows_in_order(self, group, self._stored(columns)):
            found = {**row, **self.partition}
            yield {name: found[name] for name in columns}

    def _stored(self, columns: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in columns if name not in self.partition)

    def paths_in_order(self, group: int) -> Iterator[str | None]:
        """Yield the names of the pictures of a row group, as `pathname` returns them."""
        if not self._has_path:
            return itertools.repeat(None, len(self.group_rows(group)))
        rows = cells.rows_in_order(self, group, (f"{self.column}.path",))
        return (_path_in(found[self.column]) for found in rows)

    def pictures(self, group: int) -> Iterator[bytes]:
        """Yield the bytes of the pictures of a row group, with few reads."""
        rows = self.group_rows(group)
        if not rows:
            return
        if self._place(rows.start) is None:
            for row, found in zip(rows, cells.rows_in_order(self, group, (self._leaf,)), strict=True):
                yield self._there(found, row)
            return
        lengths = self._lengths[rows.start : rows.stop]
        ends = np.cumsum(lengths)
        first = 0
        while first < len(lengths):
            before = int(ends[first - 1]) if first else 0
            after = max(first + 1, int(np.searchsorted(ends, before + _READ, "right")))
            data = self.file.read_at(int(self._starts[rows.start + first]), int(ends[after - 1]) - before)
            for end, length in zip(ends[first:after].tolist(), lengths[first:after].tolist(), strict=True):
                yield data[end - before - length : end - before]
            first = after

    def arrays(self, name: str) -> Iterator[Any]:
        """Yield a whole column, as one or more arrays for each row group."""
        if name in self.partition:
            yield layout.pyarrow().array([self.partition[name]] * self.rows)
            return
        for group in range(self.groups):
            with self._open(self._about()) as file, layout.refused_by_name(self.name):
                table = file.read_row_group(group, columns=[name], use_threads=False)
            cells.check_rows(self, table.num_rows, len(self.group_rows(group)))
            yield from table[name].chunks

    def batches(self, group: int, columns: tuple[str, ...], rows: int) -> Generator[Any, None, None]:
        """Yield columns of a row group, some rows at a time.

        Page CRCs of pictures are not checked, because pictures have their own checksums.
        """
        checked = columns != (self._leaf,)
        buffer = _BUFFER if rows < len(self.group_rows(group)) else 0
        with self._open(self._about(), checked, buffer) as file:
            batches = file.iter_batches(rows, row_groups=[group], columns=list(columns), use_threads=False)
            while True:
                with layout.refused_by_name(self.name):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

    def weight(self, group: int, columns: tuple[str, ...]) -> int:
        """Return the number of bytes that columns of a row group have in the file, uncompressed."""
        with layout.refused_by_name(self.name):
            about = self._about().row_group(group)
            chunks = (about.column(number) for number in range(about.num_columns))
            wanted = tuple(f"{name}." for name in columns)
            return sum(
                chunk.total_uncompressed_size for chunk in chunks
                if f"{chunk.path_in_schema}.".startswith(wanted)
            )

    def is_made_of(self, parts: list[Shard]) -> bool:
        """Return whether these files together hold the rows of the shard, in this order.

        The lengths of all pictures are compared with those that the footer lists.
        """
        found = [len(data) for part in parts for group in range(part.groups) for data in part.pictures(group)]
        listed = layout.unpack_lengths(self._packed_lengths or "", len(found))
        return listed is not None and found == listed.tolist()

    @contextlib.contextmanager
    def _open(self, about: Any, checked: bool = True, buffer: int = 0) -> Generator[Any, None, None]:
        """Open the file with pyarrow. With a `buffer`, pages are read as they are needed."""
        source = self.file.source()
        try:
            with layout.refused_by_name(self.name):
                file = layout.pyarrow().parquet.ParquetFile(
                    source, metadata=about, page_checksum_verification=checked, pre_buffer=False,
                    buffer_size=buffer,
                )
            with file:
                yield file
        finally:
            if not isinstance(source, str):
                source.close()

    def _about(self) -> Any:
        """Return the metadata of the file, which is cached."""

        def read() -> tuple[Any, int]:
            with self._open(None) as file:
                return file.metadata, 4 * file.metadata.serialized_size

        return cells.cache.get(self, read)

    def _there(self, found: dict[str, Any], row: int) -> bytes:
        value = found[self.column]
        data = value and value["bytes"] if self._is_struct else value
        if data is None:
            raise FormatError(f"{self.name}: row {row} has no picture")
        return bytes(data)

    def _place(self, row: int) -> tuple[int, int] | None:
        """Return the offset and the length of the picture in a row; None if they are not known."""
        if self._starts is None:
            self._starts = self._find_starts()
        if not len(self._starts):
            return None
        group = self.group_of(row)
        if group not in self._trusted:
            # If another tool rewrote the file, the metadata is the same, but the pages have moved.
            first = self._groups[group]
            begin = self.file.read_at(int(self._starts[first]), int(self._lengths[first]))
            self._trusted[group] = zlib.crc32(begin) == self._marks[group]
        return (int(self._starts[row]), int(self._lengths[row])) if self._trusted[group] else None

    def _find_starts(self) -> Any:
        """Return the offset of each picture; an empty array if the offsets are not known.

        A column chunk ends with the last picture of its row group.
        """
        nothing = np.empty(0, np.int64)
        found = layout.unpack_lengths(self._packed_lengths or "", self.rows)
        if found is None or len(self._marks) != self.groups:
            return nothing
        self._lengths = found
        starts = np.empty(self.rows, np.int64)
        for (first, after), chunk in zip(itertools.pairwise(self._groups), self._chunks, strict=True):
            lengths = self._lengths[first:after]
            if chunk is None or not 0 <= chunk[1] - int(lengths.sum()) <= chunk[0]:
                return nothing
            starts[first:after] = chunk[0] - np.cumsum(lengths[::-1])[::-1]
        return starts


def _path_in(value: Any) -> str | None:
    path = value["path"] if value else None
    return path if isinstance(path, str) else None


def _chunk_end(group: Any, name: str, size: int) -> tuple[int, int] | None:
    """Return end and size of a column chunk in a file of `size` bytes.

    Returns None if the chunk does not contain the values uncompressed and contiguous.
    """
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema == name:
            plain = chunk.compression == "UNCOMPRESSED" and "DELTA_LENGTH_BYTE_ARRAY" in chunk.encodings
            length = chunk.total_compressed_size
            end = chunk.data_page_offset + length
            within = 0 <= length <= end <= size
            return (end, length) if plain and within and not chunk.has_dictionary_page else None
    return None
