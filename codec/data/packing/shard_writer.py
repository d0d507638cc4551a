"""Writing shards. The layout is described in `reading/shards.py`."""

from __future__ import annotations

import contextlib
import pickle
import tempfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from codec.data.layout import SHARD_KEY, Account, Settings, pyarrow, writer_schema
from codec.data.packing.columns import Columns, array_of, size_of
from codec.errors import FormatError

_GROUP_ROWS = 1000
_GROUP_BYTES = 1 << 26
_GROUP_COLUMN_BYTES = 1 << 22
"""A row group ends when it has this number of rows, of bytes in pictures, or of bytes in other
columns, which are read as a whole for one row."""

_Row = tuple[bytes, str | None, dict[str, Any]]
"""Picture, path, and the values of the columns."""


class ShardWriter:
    """Writes rows to an open file. Leaving its context completes the Parquet file.

    If the types of the columns are still growing, the row groups wait in a temporary file until
    `finish`. It is in the folder of `target`, and has no name where the system allows this.
    """

    def __init__(
        self, file: BinaryIO, target: Path, settings: Settings, columns: Columns, features: dict[str, Any]
    ) -> None:
        self._file = file
        self._settings = settings
        self._columns = columns
        self._features = features
        self._target = target
        self._writer: Any = None
        self._waiting: BinaryIO | None = None
        self._rows: list[_Row] = []
        self._pending = 0
        self._beside = 0
        self._lengths: list[int] = []
        self._marks: list[int] = []
        if not columns.growing:
            self._open()

    def _open(self) -> None:
        pa = pyarrow()
        settings, fields = self._settings, self._columns.fields
        self._schema = writer_schema(settings, fields, self._features)
        column = f"{settings.column}.bytes"
        paths = f"{settings.column}.path"
        others = [*_leaves(pa.schema(fields)), paths]
        if column in others or others.count(paths) > 1 or settings.column in (field.name for field in fields):
            raise FormatError(f"a column has the same name as a column of the pictures: {column}, {paths}")
        self._writer = pa.parquet.ParquetWriter(
            self._file,
            self._schema,
            compression={column: "NONE", **dict.fromkeys(others, "ZSTD")},
            use_dictionary=[name for name in others if name != paths],
            column_encoding={column: "DELTA_LENGTH_BYTE_ARRAY", paths: "DELTA_BYTE_ARRAY"},
            write_statistics=others,
            data_page_size=1 << 30,  # one page per row group
            write_page_index=True,
            write_page_checksum=True,
        )

    def add(self, data: bytes, path: str | None, columns: dict[str, Any]) -> None:
        """Add one row, with values from `Columns.take`. Columns that are not given are null."""
        self._rows.append((data, path, columns))
        self._pending += len(data)
        self._beside += size_of(columns)
        self._lengths.append(len(data))
        full = len(self._rows) >= _GROUP_ROWS or self._pending >= _GROUP_BYTES
        if full or self._beside >= _GROUP_COLUMN_BYTES:
            self._end_group()

    def _end_group(self) -> None:
        self._marks.append(zlib.crc32(self._rows[0][0]))
        if self._writer is None:
            if self._waiting is None:
                prefix = f".{self._target.name}-"
                self._waiting = tempfile.TemporaryFile(dir=self._target.parent, prefix=prefix, suffix=".tmp")  # noqa: SIM115
            pickle.dump(self._rows, self._waiting, pickle.HIGHEST_PROTOCOL)
        else:
            self._write(self._rows)
        self._rows, self._pending, self._beside = [], 0, 0

    def _write(self, rows: list[_Row]) -> None:
        pa = pyarrow()
        image, *others = self._schema
        pictures = pa.array([data for data, _, _ in rows], pa.binary())
        paths = pa.array([path for _, path, _ in rows], pa.string())
        arrays = [pa.StructArray.from_arrays([pictures, paths], fields=list(image.type))]
        arrays += [
            array_of([columns.get(field.name) for _, _, columns in rows], field.type) for field in others
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def finish(self, account: Account) -> None:
        """Write the remaining rows, and the metadata of this shard into the footer."""
        if self._writer is None:
            self._open()
        if self._waiting is not None:
            end = self._waiting.tell()
            self._waiting.seek(0)
            while self._waiting.tell() < end:
                self._write(pickle.load(self._waiting))
        if self._rows:
            self._end_group()
        self._writer.add_key_value_metadata({SHARD_KEY: account.to_json(self._lengths, self._marks)})
        self._writer.close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._waiting is not None:
            self._waiting.close()
        if self._writer is not None:
            with contextlib.suppress(OSError):  # closed before, or another error is on its way
                self._writer.close()


def _leaves(schema: Any, prefix: str = "") -> list[str]:
    """Return the dotted names of the leaf columns, as Parquet defines them."""
    pa = pyarrow()
    names = []
    for field in schema:
        name = prefix + field.name
        kind = field.type
        if pa.types.is_struct(kind):
            names += _leaves(pa.schema(list(kind)), name + ".")
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            names += _leaves(pa.schema([pa.field("element", kind.value_type)]), name + ".list.")
        elif pa.types.is_map(kind):
            pair = pa.schema([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
            names += _leaves(pair, name + ".key_value.")
        else:
            names.append(name)
    return names
