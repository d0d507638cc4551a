"""The metadata of shards: settings, accounts, features and columns. Also pyarrow's errors by name.

Everything that is read from a file is checked here before it is used: types, sizes, and the column
of pictures.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import zlib
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.errors import FormatError, UnsupportedVersion
from codec.extras import missing
from codec.format.rows import RowFormat

VERSION = 1

SHARD_KEY = b"codec.shard"
_SCHEMA_KEY, _FEATURES_KEY = b"codec", b"huggingface"


def pyarrow() -> Any:
    """Return the module `pyarrow`. Raises `MissingExtra` if it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing("pyarrow", "data") from error
    return pyarrow


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings with which a dataset was packed. They are the same in all its shards."""

    column: str
    """Name of the column that contains the pictures."""
    quality: float
    effort: int
    model: str
    """Id of the model, twelve hexadecimal digits."""
    weights_sha256: str
    package: str
    """Version of this package."""
    shards: int | None
    """Total number of shards; None if it was not known."""
    shard_rows: int
    """Number of items of the source per shard."""
    metadata: bool
    """Whether ICC profiles, EXIF and XMP were kept."""
    max_pixels: int
    """Maximum number of pixels. Larger pictures were treated as bad."""
    rows: RowFormat | None = None
    """The common properties of bare rows; None for whole files."""
    bands: tuple[int, ...] | None = None
    """Numbers of the bands that were taken of each picture; None for all."""
    image: str | None = None
    """Which picture of each sample was taken; None for the one that is chosen without this."""

    def to_json(self) -> bytes:
        fields = {"version": VERSION, **dataclasses.asdict(self)}
        fields["rows"] = None if self.rows is None else self.rows.as_dict()
        for name in ("bands", "image"):  # unknown before version 0.9
            if fields[name] is None:
                del fields[name]
        return json.dumps(fields, sort_keys=True).encode()

    def same_set(self, other: Settings) -> bool:
        """Return whether shards with these settings may be in one dataset.

        Another version may have continued packing. Shards that were appended have a larger total
        number.
        """
        alike = (self.shards is None) is (other.shards is None)
        return alike and dataclasses.replace(self, shards=other.shards, package=other.package) == other

    @classmethod
    def read(cls, metadata: Mapping[bytes, bytes] | None) -> Settings | None:
        """Return the settings in the metadata of a schema; None if there are none.

        Raises `UnsupportedVersion` or `FormatError`.
        """
        if not metadata or _SCHEMA_KEY not in metadata:
            return None
        fields = _object(metadata[_SCHEMA_KEY], "the schema's metadata")
        if fields.pop("version", None) != VERSION:
            raise UnsupportedVersion("the dataset has a version that this package cannot read")
        rows, bands = fields.pop("rows", None), fields.pop("bands", None)
        try:
            found = cls(
                **fields, rows=None if rows is None else RowFormat.from_dict(rows),
                bands=None if bands is None else tuple(bands),
            )
        except TypeError as error:
            raise FormatError(f"the schema's metadata: {error}") from None
        _check_types(found, "the schema's metadata")
        return found

_KINDS: dict[str, tuple[type, ...]] = {
    "column": (str,), "quality": (int, float), "effort": (int,), "model": (str,), "weights_sha256": (str,),
    "package": (str,), "shards": (int, type(None)), "shard_rows": (int,), "metadata": (bool,),
    "max_pixels": (int,), "rows": (RowFormat, type(None)), "number": (int,), "source": (str,),
    "items": (int,), "pixels": (int,), "bytes_in": (int,), "bytes_out": (int,), "failures": (list,),
    "notes": (dict,), "bands": (tuple, type(None)), "image": (str, type(None)),
}
"""Types of the fields of `Settings` and `Account`."""


def _check_types(found: Settings | Account, what: str) -> None:
    """Raise `FormatError` if a field has a wrong type or is negative."""
    for name, value in vars(found).items():
        if type(value) not in _KINDS[name] or (isinstance(value, (int, float)) and not value >= 0):
            raise FormatError(f"{what}: invalid value of {name}: {value!r}")


@dataclasses.dataclass
class Account:
    """The metadata of a single shard."""

    number: int = 0
    source: str = ""
    """Digest of the part of the source from which the shard was made; "" if there is none."""
    items: int = 0
    """Number of pictures of this part of the source, including bad pictures."""
    pixels: int = 0
    bytes_in: int = 0
    """Total size of the picture files in the source."""
    bytes_out: int = 0
    """Total size of the compressed pictures in the shard."""
    failures: list[dict[str, str]] = dataclasses.field(default_factory=list)
    """`path` and `error` of each bad picture."""
    notes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Notes on what was not kept, with the number of pictures for each note."""

    def to_json(self, lengths: list[int], marks: list[int]) -> bytes:
        fields = {**dataclasses.asdict(self), "lengths": _pack_lengths(lengths), "marks": marks}
        return json.dumps(fields, sort_keys=True).encode()


def _pack_lengths(lengths: list[int]) -> str:
    """Return the lengths as text: the lowest bytes of all lengths first, deflated, in base 85."""
    planes = np.array(lengths, "<u4").view(np.uint8).reshape(-1, 4).T
    return base64.b85encode(zlib.compress(planes.tobytes(), 9)).decode()


def unpack_lengths(text: str, count: int) -> NDArray[np.int64] | None:
    """Return the inverse of `_pack_lengths`; None if the text does not contain `count` lengths."""
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
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise FormatError(f"{what} is not an object")
    return fields


def writer_schema(settings: Settings, fields: list[Any], features: dict[str, Any]) -> Any:
    """Return the schema of a shard, with the settings and the features of its columns.

    To Hugging Face's `datasets`, whole files are declared as pictures, and bare rows as bytes.
    """
    pa = pyarrow()
    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    value = {"_type": "Value"}
    bare = {"bytes": {"dtype": "binary", **value}, "path": {"dtype": "string", **value}}
    about = {settings.column: {"_type": "Image"} if settings.rows is None else bare, **features}
    return pa.schema([pa.field(settings.column, image), *fields]).with_metadata({
        _SCHEMA_KEY: settings.to_json(), _FEATURES_KEY: json.dumps({"info": {"features": about}}).encode(),
    })


def read_account(metadata: Mapping[bytes, bytes] | None) -> tuple[Account | None, str | None, list[int]]:
    """Return the account, the lengths and the marks in the metadata of a footer.

    The marks are the CRC-32s of the first picture of each row group.
    """
    if not metadata or SHARD_KEY not in metadata:
        return None, None, []
    fields = _object(metadata[SHARD_KEY], "the footer's metadata")
    lengths, marks = fields.pop("lengths", None), fields.pop("marks", [])
    if not isinstance(lengths, (str, type(None))) or not isinstance(marks, list):
        raise FormatError("the footer's metadata: lengths or marks have a wrong type")
    try:
        account = Account(**fields)
    except TypeError as error:
        raise FormatError(f"the footer's metadata: {error}") from None
    _check_types(account, "the footer's metadata")
    return account, lengths, marks


def read_features(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    """Return Hugging Face's description of the columns; empty if there is none."""
    text = (metadata or {}).get(_FEATURES_KEY)
    found = {} if text is None else _object(text, "the features").get("info", {})
    features = found.get("features", {}) if isinstance(found, dict) else {}
    return features if isinstance(features, dict) else {}


def class_names(feature: Any) -> list[Any] | None:
    """Return the names of a `ClassLabel`; None if the feature is something else."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return names if isinstance(names, list) else None


def check_column(schema: Any, name: str) -> None:
    """Raise `FormatError` if the column cannot be that of the pictures.

    It must exist, it must hold bytes or a struct with `bytes`, and no two columns may have the same
    name.
    """
    pa = pyarrow()
    if len(set(schema.names)) != len(schema.names):
        raise FormatError("two columns have the same name")
    if schema.get_field_index(name) < 0:
        raise FormatError(f"no column {name!r}")
    kind = schema.field(name).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (_is_binary(kind) or pa.types.is_null(kind)):
        raise FormatError(f"column {name!r} holds {kind}, not pictures")


def _is_binary(kind: Any) -> bool:
    """Return whether values of an Arrow type are bytes, which other writers may store as such."""
    types = pyarrow().types
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def find_column(schema: Any, features: dict[str, Any]) -> str:
    """Return the name of the column of pictures.

    It is a column that is an `Image` in the features, a struct with `bytes`, or binary, in this
    order. Raises `FormatError` if there is no such column or more than one.
    """
    pa = pyarrow()
    kinds = [
        [name for name, about in features.items() if about == {"_type": "Image"}],
        [f.name for f in schema if pa.types.is_struct(f.type) and f.type.get_field_index("bytes") >= 0],
        [f.name for f in schema if _is_binary(f.type)],
    ]
    for names in kinds:
        if len(names) == 1 and schema.get_field_index(names[0]) >= 0:
            return str(names[0])
        if names:
            found = ", ".join(names)
            raise FormatError(f"more than one column may hold pictures: {found}; name one with column")
    raise FormatError("no column holds pictures: a binary column, or a struct with `bytes`, is needed")


@contextlib.contextmanager
def refused_by_name(name: str) -> Generator[None, None, None]:
    """Turn errors of pyarrow into a `FormatError` that names the file."""
    try:
        yield
    except _STRANGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{name} is not a readable Parquet file: {text}") from None
    except Exception as error:
        # Some errors of pyarrow are derived only from Exception.
        if type(error).__module__.split(".")[0] != "pyarrow":
            raise
        raise FormatError(f"{name} is not a readable Parquet file: {error}") from None

_STRANGE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError
)
"""Errors that pyarrow may raise when it reads files with wrong metadata."""
