"""Shards: Parquet files with one picture a row, in the layout that Hugging Face's `Image` feature reads.

    image: struct<bytes: binary, path: string>   whole `.cae` files, or bare rows (`codec.rows`)
    label, …                                      the user's own columns

The schema says what all shards share (key `codec`), the footer what is the shard's own (key `codec.shard`).
The pictures of a row group are one uncompressed page of the encoding DELTA_LENGTH_BYTE_ARRAY: their bytes
follow one another up to the end of the column's chunk. With the lengths, which the footer holds, the place of
every picture in the file is known: reading one is one read of just its bytes.
"""

from __future__ import annotations

import base64
import bisect
import contextlib
import dataclasses
import functools
import itertools
import json
import os
import weakref
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.errors import FormatError, UnsupportedVersion
from codec.extras import missing
from codec.rows import RowFormat

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1
SCHEMA_KEY, SHARD_KEY, FEATURES_KEY = b"codec", b"codec.shard", b"huggingface"

_GROUP_ROWS = 1000
_GROUP_BYTES = 1 << 26
"""A row group ends after so many rows or bytes."""

_PAGE_OVERHEAD = 256
"""Bytes of a page's header and levels at most, beside some for each row."""


def pyarrow() -> Any:
    """The library; raises `MissingExtra`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing("pyarrow", "data") from error
    return pyarrow


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a dataset was packed: what all its shards share."""

    column: str
    """Name of the column of pictures."""
    quality: float
    effort: int
    model: str
    """Id of the model, twelve hexadecimal digits."""
    weights_sha256: str
    package: str
    """Version of this package."""
    shards: int | None
    """Shards in all; None if that was not known."""
    rows: RowFormat | None = None
    """What bare rows share; None for whole files."""

    def to_json(self) -> bytes:
        fields = {"version": VERSION, **dataclasses.asdict(self)}
        fields["rows"] = None if self.rows is None else self.rows.as_dict()
        return json.dumps(fields, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Settings:
        """Raises `UnsupportedVersion` or `FormatError`."""
        fields = _object(text, "the schema's metadata")
        if fields.pop("version", None) != VERSION:
            raise UnsupportedVersion("a dataset of another version than this package reads")
        rows = fields.pop("rows", None)
        try:
            return cls(**fields, rows=None if rows is None else RowFormat.from_dict(rows))
        except TypeError as error:
            raise FormatError(f"the schema's metadata: {error}") from None


@dataclasses.dataclass
class Account:
    """What a shard says of itself."""

    number: int = 0
    source: str = ""
    """Digest of the part of the source that it was made from; "" if that has none."""
    items: int = 0
    """Pictures of the source that it stands for, bad ones counted."""
    pixels: int = 0
    bytes_in: int = 0
    """Bytes of the pictures' files in the source."""
    bytes_out: int = 0
    """Bytes of the pictures here."""
    failures: list[dict[str, str]] = dataclasses.field(default_factory=list)
    """`path` and `error` of each bad picture."""
    notes: dict[str, int] = dataclasses.field(default_factory=dict)
    """What was not kept, and of how many pictures."""

    def to_json(self, lengths: list[int]) -> bytes:
        fields = {**dataclasses.asdict(self), "lengths": _pack_lengths(lengths)}
        return json.dumps(fields, sort_keys=True).encode()


def _pack_lengths(lengths: list[int]) -> str:
    """Lengths as text: all lowest bytes first, deflated."""
    planes = np.array(lengths, "<u4").view(np.uint8).reshape(-1, 4).T
    return base64.b85encode(zlib.compress(planes.tobytes(), 9)).decode()


def _unpack_lengths(text: str, count: int) -> NDArray[np.int64] | None:
    """The inverse; None if it is not that of so many lengths."""
    try:
        raw = zlib.decompressobj().decompress(base64.b85decode(text), 4 * count + 1)
    except (ValueError, zlib.error):
        return None
    if len(raw) != 4 * count:
        return None
    planes = np.frombuffer(raw, np.uint8).reshape(4, count)
    return np.ascontiguousarray(planes.T).view("<u4")[:, 0].astype(np.int64)


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{what} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise FormatError(f"{what} is not an object")
    return fields


class ShardWriter:
    """Writes rows into a file that is open; its context ends the file. `fields` are the user's columns."""

    def __init__(
        self, file: BinaryIO, settings: Settings, fields: list[Any], features: dict[str, Any]
    ) -> None:
        pa = pyarrow()
        image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
        self._schema = pa.schema(
            [pa.field(settings.column, image), *fields],
            metadata={SCHEMA_KEY: settings.to_json(), FEATURES_KEY: _features(settings, features)},
        )
        column = f"{settings.column}.bytes"
        paths = f"{settings.column}.path"
        others = [*_leaves(pa.schema(fields)), paths]
        self._writer = pa.parquet.ParquetWriter(
            file,
            self._schema,
            compression={column: "NONE", **dict.fromkeys(others, "ZSTD")},
            use_dictionary=[name for name in others if name != paths],
            column_encoding={column: "DELTA_LENGTH_BYTE_ARRAY", paths: "DELTA_BYTE_ARRAY"},
            write_statistics=others,
            data_page_size=1 << 30,  # one page a row group
            write_page_index=True,
            write_page_checksum=True,
        )
        self._name = settings.column
        self._rows: list[tuple[bytes, str | None, dict[str, Any]]] = []
        self._pending = 0
        self._lengths: list[int] = []

    def add(self, data: bytes, path: str | None, columns: dict[str, Any]) -> None:
        """One row; columns that are not given are null."""
        self._rows.append((data, path, columns))
        self._pending += len(data)
        self._lengths.append(len(data))
        if len(self._rows) >= _GROUP_ROWS or self._pending >= _GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        pa = pyarrow()
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
        """Write what is left, and the footer's own part."""
        if self._rows:
            self._flush()
        self._writer.add_key_value_metadata({SHARD_KEY: account.to_json(self._lengths)})

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()


def _leaves(schema: Any, prefix: str = "") -> list[str]:
    """Dotted names of the columns that hold values, as Parquet counts them."""
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


def _features(settings: Settings, features: dict[str, Any]) -> bytes:
    """What Hugging Face's `datasets` reads: bare rows are bytes to it, whole files pictures."""
    value = {"_type": "Value"}
    bare = {"bytes": {"dtype": "binary", **value}, "path": {"dtype": "string", **value}}
    image = {"_type": "Image"} if settings.rows is None else bare
    return json.dumps({"info": {"features": {settings.column: image, **features}}}).encode()


class Shard:
    """A shard that can be read at any row. Files of other writers are read too, a row group at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        pq = pyarrow().parquet
        with _refused_by_name(path):
            about = pq.read_metadata(path)
            self.rows: int = about.num_rows
            self.schema: pa.Schema = about.schema.to_arrow_schema()
            known = about.metadata or {}
        settings = (self.schema.metadata or {}).get(SCHEMA_KEY)
        self.settings = None if settings is None else Settings.from_json(settings)
        features = (self.schema.metadata or {}).get(FEATURES_KEY)
        self.features: dict[str, Any] = {}
        if features is not None:
            found = _object(features, f"{path.name}: features").get("info", {})
            self.features = found.get("features") or {} if isinstance(found, dict) else {}
        self.account, self._packed_lengths = _account(known.get(SHARD_KEY))
        self.column = self.settings.column if self.settings else find_column(self.schema, self.features)
        counts = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        self._groups: list[int] = [0, *itertools.accumulate(counts)]
        self._chunks = [
            _chunk_end(about.row_group(group), f"{self.column}.bytes") for group in range(len(counts))
        ]
        self._starts: Any = None

    def group_of(self, row: int) -> int:
        """The row group that holds a row."""
        return bisect.bisect_right(self._groups, row) - 1

    def group_rows(self, group: int) -> range:
        return range(self._groups[group], self._groups[group + 1])

    @property
    def groups(self) -> int:
        return len(self._groups) - 1

    def read(self, row: int) -> bytes:
        """The bytes of a row's picture."""
        place = self._place(row)
        if place is None:
            return self._read_group(self.group_of(row))[row - self._groups[self.group_of(row)]]
        start, length = place
        with _refused_by_name(self.path):
            data: bytes = os.pread(_descriptor(self).number, length, start)
        return data

    def table(self, group: int, columns: list[str]) -> Any:
        """Columns of a row group."""
        with _refused_by_name(self.path), pyarrow().parquet.ParquetFile(self.path) as file:
            return file.read_row_group(group, columns=columns, use_threads=False)

    def pictures(self, group: int) -> Iterator[bytes]:
        """The bytes of the pictures of a row group, read at once."""
        yield from self._read_group(group)

    def _read_group(self, group: int) -> list[bytes]:
        name = f"{self.column}.bytes" if self._is_struct() else self.column
        values = self.table(group, [name])[self.column].combine_chunks()
        values = values.field("bytes") if self._is_struct() else values
        found: list[bytes] = values.to_pylist()
        if None in found:
            raise FormatError(f"{self.path.name}: a row has no picture")
        return found

    def _is_struct(self) -> bool:
        return bool(pyarrow().types.is_struct(self.schema.field(self.column).type))

    def _place(self, row: int) -> tuple[int, int] | None:
        """Where the bytes of a row's picture lie, and how many they are; None if that is not known."""
        if self._starts is None:
            self._starts = self._find_starts()
        if not len(self._starts):
            return None
        return int(self._starts[row]), int(self._lengths[row])

    def _find_starts(self) -> Any:
        """Where each picture begins: chunks end with the last picture of their row group."""
        nothing = np.empty(0, np.int64)
        if self._packed_lengths is None:
            return nothing
        found = _unpack_lengths(str(self._packed_lengths), self.rows)
        if found is None:
            return nothing
        self._lengths = found
        starts = np.empty(self.rows, np.int64)
        for (first, after), chunk in zip(itertools.pairwise(self._groups), self._chunks, strict=True):
            # A file that another tool wrote anew keeps the metadata, and has its pages elsewhere.
            lengths = self._lengths[first:after]
            spare = -1 if chunk is None else chunk[1] - int(lengths.sum())
            if chunk is None or chunk[0] < chunk[1] or not 0 <= spare <= _PAGE_OVERHEAD + 8 * len(lengths):
                return nothing
            starts[first:after] = chunk[0] - np.cumsum(lengths[::-1])[::-1]
        return starts


class _Descriptor:
    """A file that is open for reading at any place, until nothing refers to it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.number)


@functools.lru_cache(maxsize=128)
def _descriptor(shard: Shard) -> _Descriptor:
    """Of a shard; a process may have many shards, but not as many open files."""
    return _Descriptor(shard.path)


def _chunk_end(group: Any, name: str) -> tuple[int, int] | None:
    """End and size of a column's chunk in the file, if its values lie there as they are."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema == name:
            plain = chunk.compression == "UNCOMPRESSED" and "DELTA_LENGTH_BYTE_ARRAY" in chunk.encodings
            size = chunk.total_compressed_size
            return (chunk.data_page_offset + size, size) if plain and not chunk.has_dictionary_page else None
    return None


def _account(text: bytes | None) -> tuple[Account | None, str | None]:
    if text is None:
        return None, None
    fields = _object(text, "the footer's metadata")
    lengths = fields.pop("lengths", None)
    try:
        return Account(**fields), lengths
    except TypeError as error:
        raise FormatError(f"the footer's metadata: {error}") from None


def find_column(schema: Any, features: dict[str, Any]) -> str:
    """The column of pictures: the one that features call `Image`, a struct with `bytes`, or binary."""
    pa = pyarrow()
    kinds = [
        [name for name, about in features.items() if about == {"_type": "Image"}],
        [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0],
        [f.name for f in schema if pa.types.is_binary(f.type) or pa.types.is_large_binary(f.type)],
    ]
    for names in kinds:
        if len(names) == 1 and schema.get_field_index(names[0]) >= 0:
            return str(names[0])
        if names:
            raise FormatError(f"more than one column may hold pictures: {', '.join(names)}; name one")
    raise FormatError("no column holds pictures: a struct with `bytes`, or binary, is needed")


@contextlib.contextmanager
def _refused_by_name(path: Path) -> Generator[None, None, None]:
    """Errors of pyarrow as `FormatError` that names the shard."""
    try:
        yield
    except (pyarrow().ArrowException, OSError) as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        text = " ".join(str(error).split())
        raise FormatError(f"{path.name} is not a shard that can be read: {text}") from None
