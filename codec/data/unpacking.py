"""Unpacking a dataset to a folder of picture files."""

from __future__ import annotations

import base64
import itertools
import json
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from codec import convert
from codec.api import EXTENSION, Codec, shared_codec
from codec.data.reading.dataset import Dataset
from codec.errors import CodecError
from codec.limits import DEFAULT
from codec.pictures.atomic import write_atomically
from codec.pictures.writing import check_suffix

METADATA = "metadata.jsonl"
"""File with the columns of the pictures of a folder, one line per picture, as Hugging Face's
`imagefolder` reads it."""

Told = Callable[[int, int], None]
"""Callback with the numbers of pictures and bytes that were written since the last call."""


def unpack(
    dataset: Dataset, out: str | os.PathLike[str], *, suffix: str = ".png", force: bool = False,
    progress: Told = lambda pictures, size: None,
) -> list[dict[str, str]]:
    """Write every picture into a folder, and the columns into `metadata.jsonl`.

    Each picture keeps its original name, with another extension. Returns `path` and `error` of each
    picture that could not be written.

    `suffix` is the extension of a format that `codec.decode` writes, or ".cae" for the unchanged
    files. Pictures are decoded in the precision of the dataset. A name that is already taken keeps
    its old extension too; a name that would lead out of the folder, or that is still taken, is
    replaced by a number. Where the file system does not distinguish `A.png` from `a.png`, the
    second of two such names is taken. Existing files are an error unless `force` is set. Columns of
    bytes are written in base64.
    """
    suffix = suffix.lower()
    if suffix != EXTENSION:
        check_suffix(suffix)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if dataset.columns and (folder / METADATA).exists() and not force:
        raise FileExistsError(17, "already exists", os.fspath(folder / METADATA))
    failures: list[dict[str, str]] = []
    names = _Names(folder)
    lines: list[bytes] = []
    for index, (path, data, columns) in enumerate(tolerant(dataset, failures)):
        name = names.new(path, index, suffix)
        target = folder / name
        try:
            if target.exists() and not force:
                raise FileExistsError(17, "already exists")
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, data if suffix == EXTENSION else _decoded(data, suffix, dataset))
        except (CodecError, OSError, ValueError) as error:
            failures.append({"path": name, "error": _text(error)})
            continue
        about = {**plain(columns, dataset, "file_name"), "file_name": name}
        lines.append((json.dumps(about) + "\n").encode())
        progress(1, target.stat().st_size)
    if dataset.columns and lines:
        write_atomically(folder / METADATA, lines)
    return failures


def _decoded(data: bytes, suffix: str, dataset: Dataset) -> Iterator[bytes]:
    def worker() -> Codec:
        return shared_codec(None, None, dataset.precision)

    return convert.decode_to_chunks(data, suffix, worker, region=None, strip=False, limits=DEFAULT)


def tolerant(
    dataset: Dataset, failures: list[dict[str, str]]
) -> Iterator[tuple[str | None, bytes, dict[str, Any]]]:
    """Yield all rows that can be read. The others are added to `failures`."""
    for index in range(len(dataset)):
        try:
            row = dataset.pathname(index), dataset.read(index), dataset.values(index)
        except CodecError as error:
            failures.append({"path": f"row {index}", "error": _text(error)})
        else:
            yield row


class _Names:
    """The names of the files that are written into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folded = folds_names(folder)
        self._taken = {self._key(METADATA)}

    def new(self, path: str | None, index: int, suffix: str) -> str:
        """Return a name within the folder that no other picture has."""
        pure = inner_path(path)
        names = itertools.chain(
            [] if pure is None else [str(pure.with_suffix(suffix)), f"{pure}{suffix}"],
            [f"{index:08d}{suffix}"],
            (f"{index:08d}_{attempt}{suffix}" for attempt in itertools.count(2)),
        )
        name = next(name for name in names if self._key(name) not in self._taken)
        self._taken.add(self._key(name))
        return name

    def _key(self, name: str) -> str:
        return unicodedata.normalize("NFC", name.casefold()) if self._folded else name


def folds_names(folder: Path) -> bool:
    """Return whether a file in this folder can also be opened with capital letters."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".codec-a", suffix=".tmp", dir=folder) as file:
            name = Path(file.name)
            return (folder / name.name.upper()).exists()
    except OSError:
        return False


def inner_path(path: str | None) -> PurePosixPath | None:
    """Return the name of a picture as a path that stays in its folder, or None if it would not."""
    pure = PurePosixPath(path or "")
    safe = path and "\0" not in path and "\\" not in path and ":" not in path and not pure.is_absolute()
    parts = pure.parts
    if not safe or not parts or ".." in parts or pure.name.startswith(".codec-"):
        return None
    return pure


def plain(columns: dict[str, Any], dataset: Dataset, ours: str) -> dict[str, Any]:
    """Return the columns as JSON values, with the name of the label.

    A column with the name `ours` gets the suffix _.
    """
    found = {f"{name}_" if name == ours else name: _json_of(value) for name, value in columns.items()}
    classes, label = dataset.classes, columns.get("label")
    if classes and type(label) is int and 0 <= label < len(classes):
        found["label_name"] = classes[label]
    return found


def _json_of(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return str(value)
    return value


def _text(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())
