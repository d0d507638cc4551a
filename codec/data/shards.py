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
import functools
import itertools
import os
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.data.layout import (
    FEATURES_KEY,
    SCHEMA_KEY,
    SHARD_KEY,
    Settings,
    check_column,
    find_column,
    pyarrow,
    read_account,
    read_features,
    refused_by_name,
    unpack_lengths,
)
from codec.errors import FormatError

if TYPE_CHECKING:
    import pyarrow as pa


class Shard:
    """A shard with random access to its rows.

    Files of other writers can also be read, one row group at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with refused_by_name(path):
            about = pyarrow().parquet.read_metadata(path)
            self.rows: int = about.num_rows
            self.schema: pa.Schema = about.schema.to_arrow_schema()
            shared, known = self.schema.metadata or {}, about.metadata or {}
            text = shared.get(SCHEMA_KEY)
            self.settings = None if text is None else Settings.from_json(text)
            self.features = read_features(shared.get(FEATURES_KEY))
            self.account, self._packed_lengths, self._marks = read_account(known.get(SHARD_KEY))
            self.column = self.settings.column if self.settings else find_column(self.schema, self.features)
            check_column(self.schema, self.column)
            counts = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
            if sum(counts) != self.rows or min(counts, default=0) < 0:
                raise FormatError(f"{path.name}: {sum(counts)} rows in row groups, but {self.rows} in all")
            self._groups: list[int] = [0, *itertools.accumulate(counts)]
            size, name = path.stat().st_size, f"{self.column}.bytes"
            self._chunks = [_chunk_end(about.row_group(group), name, size) for group in range(len(counts))]
        self._starts: Any = None
        self._trusted: dict[int, bool] = {}

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
            group = self.group_of(row)
            return self._there(_pictures(self, group)[row - self._groups[group]], row)
        return self._read_at(place)

    def _read_at(self, place: tuple[int, int]) -> bytes:
        start, length = place
        descriptor = _descriptor(self)  # keeps the file open if another thread evicts it from the cache
        return os.pread(descriptor.number, length, start)

    def table(self, group: int, columns: list[str], *, checked: bool = True) -> Any:
        """Return columns of a row group. If `checked`, pages are checked against their CRCs."""
        with refused_by_name(self.path), pyarrow().parquet.ParquetFile(
            self.path, page_checksum_verification=checked
        ) as file:
            return file.read_row_group(group, columns=columns, use_threads=False)

    def pictures(self, group: int) -> Iterator[bytes]:
        """Yield the bytes of the pictures of a row group, which is read at once."""
        for row, data in zip(self.group_rows(group), self.read_group(group), strict=True):
            yield self._there(data, row)

    def read_group(self, group: int) -> list[bytes | None]:
        """Return the stored pictures of a row group, with None for missing pictures.

        Page CRCs are not checked here, because pictures have their own checksums.
        """
        name = f"{self.column}.bytes" if self._is_struct() else self.column
        table = self.table(group, [name], checked=False)
        with refused_by_name(self.path):
            values = table[self.column].combine_chunks()
            found: list[bytes | None] = (values.field("bytes") if self._is_struct() else values).to_pylist()
        if len(found) != len(self.group_rows(group)):
            raise FormatError(f"{self.path.name}: a row group has a wrong number of pictures: {len(found)}")
        return found

    def _there(self, data: bytes | None, row: int) -> bytes:
        if data is None:
            raise FormatError(f"{self.path.name}: row {row} has no picture")
        return data

    def _is_struct(self) -> bool:
        return bool(pyarrow().types.is_struct(self.schema.field(self.column).type))

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
            begin = self._read_at((int(self._starts[first]), int(self._lengths[first])))
            self._trusted[group] = zlib.crc32(begin) == self._marks[group]
        return (int(self._starts[row]), int(self._lengths[row])) if self._trusted[group] else None

    def _find_starts(self) -> Any:
        """Return the offset of each picture; an empty array if the offsets are not known.

        A column chunk ends with the last picture of its row group.
        """
        nothing = np.empty(0, np.int64)
        if self._packed_lengths is None or len(self._marks) != self.groups:
            return nothing
        found = unpack_lengths(self._packed_lengths, self.rows)
        if found is None:
            return nothing
        self._lengths = found
        starts = np.empty(self.rows, np.int64)
        for (first, after), chunk in zip(itertools.pairwise(self._groups), self._chunks, strict=True):
            lengths = self._lengths[first:after]
            if chunk is None or not 0 <= chunk[1] - int(lengths.sum()) <= chunk[0]:
                return nothing
            starts[first:after] = chunk[0] - np.cumsum(lengths[::-1])[::-1]
        return starts


class _Descriptor:
    """A file that is open for reading at any offset until this object is no longer referenced."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.number)


@functools.lru_cache(maxsize=128)
def _descriptor(shard: Shard) -> _Descriptor:
    """Return the open file of a shard. The cache limits the number of open files of the process."""
    return _Descriptor(shard.path)


@functools.lru_cache(maxsize=2)
def _pictures(shard: Shard, group: int) -> list[bytes | None]:
    """Return the pictures of a row group. Used if the rows cannot be read one by one."""
    return shard.read_group(group)


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


