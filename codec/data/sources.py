"""Where the pictures of a dataset come from: folders, Parquet files, WebDataset tars, iterables.

Every source but the last knows how many items it has and gives any stretch of them in the same order each
time, so that packing can stop and go on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from codec import raster
from codec.api import EXTENSION
from codec.data.shards import FEATURES_KEY, find_column, pyarrow
from codec.data.tars import TarIndex
from codec.errors import FormatError


@dataclasses.dataclass
class Item:
    """One picture of a source, and what belongs to it."""

    path: str | None
    """Its name in the source."""
    load: Callable[[], Any]
    """The bytes of its file, or a picture as `codec.compress` takes it."""
    columns: dict[str, Any]


class Source(Protocol):
    """What packing needs of a source."""

    column: str
    """What the column of pictures is called."""
    fields: list[Any]
    """pyarrow's fields of the other columns."""
    features: dict[str, Any]
    """Hugging Face's description of some of them."""
    ignored: list[str]
    """Files that are no pictures by their names."""

    def count(self) -> int | None:
        """Items in all, if that is known."""

    def digest(self, start: int, stop: int) -> str:
        """Names a stretch of items by what they are called and their sizes; "" if the source cannot."""

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """A stretch of items; fewer where the source ends."""


def open_source(source: Any, kind: str | None = None, column: str | None = None) -> Source:
    """The source in a folder or file, or of an iterable of dicts with a picture under "image".

    `kind` is "folder", "parquet" or "webdataset", or seen from the names of files. Raises `FormatError` or
    `FileNotFoundError` if nothing is there to pack.
    """
    if not isinstance(source, (str, os.PathLike)):
        if kind is not None or column is not None:
            raise ValueError("kind and column are those of files")
        return IterableSource(source)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    kind = kind or _kind_of(path)
    if kind == "folder":
        if not path.is_dir():
            raise NotADirectoryError(20, "Not a directory", os.fspath(path))
        return FolderSource(path)
    if kind == "parquet":
        return ParquetSource(_files(path, ".parquet"), column)
    if kind == "webdataset":
        return TarSource(_files(path, ".tar"))
    raise ValueError(f"kind must be folder, parquet or webdataset, not {kind!r}")


def _kind_of(path: Path) -> str:
    if path.suffix == ".parquet":
        return "parquet"
    if path.suffix == ".tar":
        return "webdataset"
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file() and file.name[0] not in "._"]
        suffixes = {file.suffix for file in files}
        for suffix, kind in ((".parquet", "parquet"), (".tar", "webdataset")):
            if suffixes == {suffix}:
                return kind
        return "folder"
    raise FormatError(f"{path.name} is neither a folder nor a .parquet or .tar file")


def _files(path: Path, suffix: str) -> list[Path]:
    files = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path]
    if not files:
        raise FormatError(f"no {suffix} files in {path}")
    return files


def picture_suffixes() -> frozenset[str]:
    """Extensions of the picture files that are read."""
    import PIL.Image

    PIL.Image.init()
    known = PIL.Image.registered_extensions()
    opened = {suffix for suffix, kind in known.items() if kind in PIL.Image.OPEN}
    return frozenset(opened - {".pdf", ".mpg", ".mpeg"} | set(raster.SUFFIXES) | {EXTENSION})


class FolderSource:
    """Files below a folder, in the order of their names; folders right below it are the classes."""

    column = "image"

    def __init__(self, root: Path) -> None:
        pa = pyarrow()
        suffixes = picture_suffixes()
        names: list[str] = []
        self.ignored: list[str] = []
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                path = Path(folder, name)
                relative = path.relative_to(root).as_posix()
                picture = path.suffix.lower() in suffixes and not name.startswith(".") and path.is_file()
                (names if picture else self.ignored).append(relative)
        names.sort(key=os.fsencode)
        self._root, self._names = root, names
        self._classes = sorted({name.split("/")[0] for name in names if "/" in name}, key=os.fsencode)
        self.fields = [pa.field("label", pa.int64())] if self._classes else []
        label = {"names": [_text(name) for name in self._classes], "_type": "ClassLabel"}
        self.features = {"label": label} if self._classes else {}

    def count(self) -> int:
        return len(self._names)

    def digest(self, start: int, stop: int) -> str:
        sha = hashlib.sha256()
        for name in self._names[start:stop]:
            sha.update(os.fsencode(name) + f"\0{(self._root / name).stat().st_size}\0".encode())
        return sha.hexdigest()

    def items(self, start: int, stop: int) -> Iterator[Item]:
        labels = {name: number for number, name in enumerate(self._classes)}
        for name in self._names[start:stop]:
            columns = {"label": labels[name.split("/")[0]]} if "/" in name else {}
            yield Item(_text(name), (self._root / name).read_bytes, columns)


def _text(name: str) -> str:
    """A file's name as text, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class ParquetSource:
    """Rows of Parquet files with a column of encoded pictures; other columns come along as they are."""

    def __init__(self, paths: list[Path], column: str | None) -> None:
        pq = pyarrow().parquet
        self.ignored: list[str] = []
        try:
            self._files = [pq.ParquetFile(path) for path in paths]
        except (OSError, ValueError) as error:
            raise FormatError(f"not Parquet: {error}") from None
        self._paths = paths
        schema = self._files[0].schema_arrow
        for path, file in zip(paths, self._files, strict=True):
            if not file.schema_arrow.equals(schema):
                raise FormatError(f"{path.name} has other columns than {paths[0].name}")
        found = json.loads((schema.metadata or {}).get(FEATURES_KEY, b"{}"))
        features = found.get("info", {}).get("features") or {}
        if column is not None and schema.get_field_index(column) < 0:
            raise FormatError(f"no column {column!r} (there are: {', '.join(schema.names)})")
        self.column = column or find_column(schema, features)
        self.fields = [field for field in schema if field.name != self.column]
        self.features = {name: about for name, about in features.items() if name != self.column}
        self._counts = [file.metadata.num_rows for file in self._files]

    def count(self) -> int:
        return sum(self._counts)

    def digest(self, start: int, stop: int) -> str:
        about = [(path.name, path.stat().st_size) for path in self._paths]
        return hashlib.sha256(repr((about, start, stop)).encode()).hexdigest()

    def items(self, start: int, stop: int) -> Iterator[Item]:
        first = 0
        for path, file in zip(self._paths, self._files, strict=True):
            for group in range(file.num_row_groups):
                after = first + file.metadata.row_group(group).num_rows
                if first < stop and after > start:
                    rows = itertools.chain.from_iterable(
                        batch.to_pylist() for batch in file.iter_batches(256, row_groups=[group])
                    )
                    for number, row in enumerate(rows, first):
                        if start <= number < stop:
                            yield self._item(row, number, path)
                first = after

    def _item(self, row: dict[str, Any], number: int, file: Path) -> Item:
        picture = row.pop(self.column)
        path, data = None, picture
        if isinstance(picture, Mapping):
            path, data = picture.get("path"), picture.get("bytes")

        def load() -> Any:
            if data is None:
                raise FormatError(f"row {number} has no picture")
            return data

        return Item(path or f"{number:08d}", load, row)


class TarSource:
    """Samples of WebDataset tars: members that share a key; `.cls` becomes `label`, others are columns."""

    column = "image"

    def __init__(self, paths: list[Path]) -> None:
        pa = pyarrow()
        self._index = TarIndex(paths, picture_suffixes())
        self.ignored = self._index.ignored
        kinds = {"cls": ("label", pa.int64()), "txt": ("txt", pa.string()), "json": ("json", pa.string())}
        self._columns = {
            extension: kinds.get(extension, (extension, pa.binary())) for extension in self._index.extensions
        }
        self.fields = [pa.field(name, kind) for name, kind in self._columns.values()]
        self.features: dict[str, Any] = {}

    def count(self) -> int:
        return len(self._index)

    def digest(self, start: int, stop: int) -> str:
        return self._index.digest(start, stop)

    def items(self, start: int, stop: int) -> Iterator[Item]:
        for number in range(start, min(stop, len(self._index))):
            sample = self._index.read(number)
            columns: dict[str, Any] = {}
            problem: str | None = None
            for extension, data in sample.others.items():
                name, kind = self._columns[extension]
                try:
                    text = data if str(kind) == "binary" else data.decode()
                    columns[name] = int(text) if str(kind) == "int64" else text
                except ValueError:
                    problem = f"its .{extension} is not {'a whole number' if extension == 'cls' else 'text'}"
            yield Item(sample.path, _loader(sample.picture, problem), columns)


def _loader(picture: bytes, problem: str | None) -> Callable[[], bytes]:
    def load() -> bytes:
        if problem is not None:
            raise FormatError(problem)
        return picture

    return load


class IterableSource:
    """Dicts with a picture under "image", maybe a path under "path", and columns of plain values."""

    column = "image"

    def __init__(self, items: Iterable[Mapping[str, Any]]) -> None:
        pa = pyarrow()
        self.ignored: list[str] = []
        self.features: dict[str, Any] = {}
        self._rest = iter(items)
        self._position = 0
        first = next(self._rest, None)
        self._rest = itertools.chain([] if first is None else [first], self._rest)
        if first is not None and (not isinstance(first, Mapping) or "image" not in first):
            raise TypeError('items must be dicts with a picture under "image"')
        columns = {name: value for name, value in (first or {}).items() if name not in ("image", "path")}
        try:
            self.fields = [pa.field(name, pa.array([value]).type) for name, value in columns.items()]
        except pa.ArrowInvalid as error:
            raise TypeError(f"a column holds what Parquet does not: {error}") from None

    def count(self) -> None:
        return None

    def digest(self, start: int, stop: int) -> str:
        return ""

    def items(self, start: int, stop: int) -> Iterator[Item]:
        if start < self._position:
            raise ValueError("an iterable is read once")
        for _ in itertools.islice(self._rest, start - self._position):
            pass
        self._position = start
        known = {field.name for field in self.fields}
        for fields in itertools.islice(self._rest, stop - start):
            columns = {name: value for name, value in fields.items() if name not in ("image", "path")}
            if not set(columns) <= known:
                extra = ", ".join(sorted(set(columns) - known))
                raise TypeError(f"item {self._position} has columns that the first lacks: {extra}")
            path = fields.get("path") or f"{self._position:08d}"
            yield Item(str(path), functools.partial(operator.itemgetter("image"), fields), columns)
            self._position += 1
