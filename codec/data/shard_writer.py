"""Writing shards. The layout is described in `shards.py`."""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

from codec.data.layout import (
    FEATURES_KEY,
    SCHEMA_KEY,
    SHARD_KEY,
    Account,
    Settings,
    pyarrow,
    write_features,
    writer_schema,
)
from codec.errors import FormatError

_GROUP_ROWS = 1000
_GROUP_BYTES = 1 << 26
"""A row group ends when it has this number of rows or bytes."""


class ShardWriter:
    """Writes rows to an open file. Leaving its context completes the Parquet file.

    `fields` are the user's columns.
    """

    def __init__(
        self, file: BinaryIO, settings: Settings, fields: list[Any], features: dict[str, Any]
    ) -> None:
        pa = pyarrow()
        self._schema = writer_schema(settings, fields).with_metadata(
            {SCHEMA_KEY: settings.to_json(), FEATURES_KEY: write_features(settings, features)}
        )
        column = f"{settings.column}.bytes"
        paths = f"{settings.column}.path"
        others = [*_leaves(pa.schema(fields)), paths]
        if column in others or others.count(paths) > 1 or settings.column in (field.name for field in fields):
            raise FormatError(f"a column has the same name as a column of the pictures: {column}, {paths}")
        self._writer = pa.parquet.ParquetWriter(
            file,
            self._schema,
            compression={column: "NONE", **dict.fromkeys(others, "ZSTD")},
            use_dictionary=[name for name in others if name != paths],
            column_encoding={column: "DELTA_LENGTH_BYTE_ARRAY", paths: "DELTA_BYTE_ARRAY"},
            write_statistics=others,
            data_page_size=1 << 30,  # one page per row group
            write_page_index=True,
            write_page_checksum=True,
        )
        self._name = settings.column
        self._rows: list[tuple[bytes, str | None, dict[str, Any]]] = []
        self._pending = 0
        self._lengths: list[int] = []
        self._marks: list[int] = []

    def add(self, data: bytes, path: str | None, columns: dict[str, Any]) -> None:
        """Add one row. Columns that are not given are null."""
        self._rows.append((data, path, columns))
        self._pending += len(data)
        self._lengths.append(len(data))
        if len(self._rows) >= _GROUP_ROWS or self._pending >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        pa = pyarrow()
        self._marks.append(zlib.crc32(self._rows[0][0]))
        arrays = [
            pa.StructArray.from_arrays(
                [
                    pa.array([data for data, _, _ in self._rows], pa.binary()),
                    pa.array([path for _, path, _ in self._rows], pa.string()),
                ],
                fields=list(self._schema.field(self._name).type),
            )
        ]
        arrays += [
            pa.array([columns.get(field.name) for _, _, columns in self._rows], field.type)
            for field in list(self._schema)[1:]
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows, self._pending = [], 0

    def finish(self, account: Account) -> None:
        """Write the remaining rows, and the metadata of this shard into the footer."""
        if self._rows:
            self._flush()
        self._writer.add_key_value_metadata({SHARD_KEY: account.to_json(self._lengths, self._marks)})

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
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
