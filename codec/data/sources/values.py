"""Pictures in the values of a table: bytes, paths, structs of both, and lists of one of these.

Paths are read from the local disk, wherever they lead, as Hugging Face's `datasets` does: a table
from someone else can name any picture on this machine. Only regular files are read. URLs are
refused: nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import stat
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codec.data.layout import pyarrow
from codec.errors import FormatError

_PATHS = ("path", "file_name", "filename", "file", "name")
"""Names of a field of a struct that may hold the path of the picture."""


def picture_column(schema: Any, features: dict[str, Any], wanted: str | None) -> str:
    """Return the name of the column of pictures.

    Without `wanted` it is a column that is an `Image` in the features, a struct with `bytes`, a
    binary column, another struct with one field of bytes, or a list of one of these, in this order.
    A column of text holds paths if it is `wanted` or an `Image`. Raises `FormatError` if there is
    no such column or more than one.
    """
    if len(set(schema.names)) != len(schema.names):
        raise FormatError("two columns have the same name")
    about = ", ".join(f"{field.name}: {field.type}" for field in schema)
    kinds = {field.name: _kind(field.type) for field in schema}
    if wanted is not None:
        if wanted not in kinds:
            raise FormatError(f"no column {wanted!r} (available: {', '.join(schema.names)})")
        if kinds[wanted] is None:
            raise FormatError(
                f"column {wanted!r} holds {schema.field(wanted).type}, not encoded pictures or paths of files"
            )
        return wanted
    stated = [name for name in kinds if kinds[name] and _is_image(features.get(name))]
    ranks = ("image", "bytes", "struct", "list")
    for names in (stated, *([name for name in kinds if kinds[name] == kind] for kind in ranks)):
        if len(names) == 1:
            return str(names[0])
        if names:
            found = ", ".join(names)
            raise FormatError(f"more than one column may hold pictures: {found}; name one with column")
    text = [name for name in kinds if kinds[name] == "path"]
    way = f"; if {', '.join(text)} holds paths of pictures, name it with column" if text else ""
    needed = "a binary column, or a struct with `bytes`, is needed"
    raise FormatError(f"no column holds pictures: {needed} (the columns are {about or 'none'}){way}")


def _is_image(about: Any) -> bool:
    if isinstance(about, list) and len(about) == 1:
        return _is_image(about[0])
    if not isinstance(about, dict):
        return False
    return about.get("_type") == "Image" or _is_image(about.get("feature"))


def storage_of(kind: Any) -> Any:
    """Return the type in which values of a type are stored."""
    return kind.storage_type if isinstance(kind, pyarrow().BaseExtensionType) else kind


def _kind(kind: Any) -> str | None:
    """Return how values of a type hold pictures, or None if they cannot."""
    types = pyarrow().types
    kind = storage_of(kind)
    if types.is_dictionary(kind):
        kind = kind.value_type
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    if any(test(kind) for test in binary):
        return "bytes"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "path"
    if types.is_struct(kind):
        inner = {field.name: _kind(field.type) for field in kind}
        if "bytes" in inner and (inner["bytes"] == "bytes" or types.is_null(kind.field("bytes").type)):
            return "image"
        if list(inner.values()).count("bytes") == 1:
            return "struct"
        return "path" if inner.get("path") == "path" else None
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view)
    if any(test(kind) for test in lists):
        return "list" if _kind(kind.value_type) in ("bytes", "image", "struct") else None
    return None


def _parts(value: Any) -> tuple[str | None, Any]:
    """Return the path in a value, and the bytes or whatever else it is."""
    if isinstance(value, (list, tuple)):
        if len(value) != 1:
            raise FormatError(f"it holds {len(value)} pictures, and each row has one")
        value = value[0]
    if isinstance(value, (str, os.PathLike)):
        return os.fsdecode(value), None
    if isinstance(value, Mapping):
        others = (found for found in value.values() if isinstance(found, (bytes, bytearray)))
        data = value["bytes"] if "bytes" in value else next(others, None)
        path = next((v for v in map(value.get, _PATHS) if isinstance(v, (str, os.PathLike))), None)
        return None if path is None else os.fsdecode(path), data
    return None, value


def find_picture(value: Any, folder: Path, what: str) -> tuple[str | None, Callable[[], Any]]:
    """Return the path in a value of a column of pictures, and a function that loads the picture.

    Relative paths are relative to `folder`. `what` names the value in errors, which are raised when
    the picture is loaded.
    """
    path, data, problem = None, None, None
    try:
        path, data = _parts(value)
    except FormatError as error:
        problem = f"{what}: {error}"

    def load() -> Any:
        if problem is not None:
            raise FormatError(problem)
        if data is not None:
            return data
        if path is None:
            raise FormatError(f"{what} has no picture")
        return read_local(path, folder)

    return path, load


def rows_of(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, given by its columns, with the values as Python's objects.

    Values that Python's types do not hold stay scalars of Arrow: times in nanoseconds, dates beyond
    the year 9999, text that is not UTF-8.
    """
    for values in zip(*map(_values, columns.values()), strict=True):
        yield dict(zip(columns, values, strict=True))


def _values(column: Any) -> list[Any]:
    if "[ns" in str(column.type):
        return list(column)
    try:
        found: list[Any] = column.to_pylist()
    except Exception:  # pyarrow raises any error here
        return list(map(_value, column))
    return found


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except Exception:  # see above; the row with this value is a bad one
        return scalar


def read_local(path: str, folder: Path) -> bytes:
    """Return the content of a file on this machine. Raises `FormatError` with its full path."""
    if path.startswith("file://"):
        from urllib.request import url2pathname  # slow to import

        path = url2pathname(urllib.parse.urlsplit(path).path)
    elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", path):
        shown = path if len(path) <= 200 else f"{path[:200]}…"
        raise FormatError(f"{shown} is a URL, and only files on this machine are read: download it first")
    target = folder / path
    try:
        if not stat.S_ISREG(os.stat(target).st_mode):
            raise FormatError(f"it has a path and no bytes, and {target} is not a regular file")
        return target.read_bytes()
    except OSError as error:
        reason = f"{target} cannot be read: {error.strerror}"
        raise FormatError(f"it has a path and no bytes, and {reason}") from None
