"""Sources of the pictures of a dataset: folders, Parquet files, WebDataset tars, iterables.

Every source except an iterable knows its number of items and can return any range of them in the
same order each time, so packing can be stopped and continued.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from codec.api import EXTENSION
from codec.data.layout import (
    FEATURES_KEY,
    SCHEMA_KEY,
    Settings,
    check_column,
    find_column,
    pyarrow,
    read_features,
    refused_by_name,
)
from codec.data.tars import TarIndex
from codec.errors import FormatError
from codec.pictures import raster


@dataclasses.dataclass
class Item:
    """One picture of a source, with its name and columns."""

    path: str | None
    """Name of the picture in the source."""
    load: Callable[[], Any]
    """Returns the bytes of the picture's file, or a picture that `codec.compress` takes."""
    columns: dict[str, Any]


class Source(Protocol):
    """The interface of a source for packing."""

    column: str
    """Name of the column of pictures."""
    fields: list[Any]
    """Fields of the other columns, as pyarrow defines them."""
    features: dict[str, Any]
    """Hugging Face's description of some of these columns."""
    ignored: list[str]
    """Files that are not pictures by name."""

    def count(self) -> int | None:
        """Return the total number of items; None if it is not known."""

    def digest(self, start: int, stop: int) -> str:
        """Return a digest of the names and sizes of a range of items; "" if there is none."""

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield a range of items, which is shorter at the end of the source."""


def open_source(source: Any, kind: str | None = None, column: str | None = None) -> Source:
    """Open a folder, a file, or an iterable of dicts with a picture under "image" as a source.

    `kind` is "folder", "parquet" or "webdataset". If it is None, it is derived from the file names.
    Raises `FormatError` or `FileNotFoundError` if there is nothing to pack.
    """
    if not isinstance(source, (str, os.PathLike)):
        if kind is not None or column is not None:
            raise ValueError("kind and column apply only to files")
        return IterableSource(source)
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    kind = kind or _kind_of(path)
    if column is not None and kind != "parquet":
        raise ValueError(f"column applies only to a Parquet source, and this source is {kind}")
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
    found = sorted(path.glob(f"*{suffix}")) if path.is_dir() else [path]
    files = [file for file in found if path == file or file.name[0] not in "._"]
    if not files:
        raise FormatError(f"no {suffix} files in {path}")
    return files


def picture_suffixes() -> frozenset[str]:
    """Return the extensions of the picture files that can be read."""
    import PIL.Image

    PIL.Image.init()
    known = PIL.Image.registered_extensions()
    opened = {suffix for suffix, kind in known.items() if kind in PIL.Image.OPEN}
    return frozenset(opened - {".pdf", ".mpg", ".mpeg"} | set(raster.SUFFIXES) | {EXTENSION})


class FolderSource:
    """Files in a folder tree, in the order of their names. Top-level subfolders are the classes."""

    column = "image"

    def __init__(self, root: Path) -> None:
        pa = pyarrow()
        suffixes = picture_suffixes()
        names: list[str] = []
        self.ignored: list[str] = []
        for folder, folders, files in _walk(root, self.ignored):
            for name in sorted(files):
                path = Path(folder, name)
                relative = path.relative_to(root).as_posix()
                picture = path.suffix.lower() in suffixes and not name.startswith(".") and path.is_file()
                (names if picture else self.ignored).append(relative)
            folders.sort()
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


def _walk(root: Path, ignored: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk through a folder tree as `os.walk` does, following links.

    Hidden folders, and folders that were visited before, are not entered. They are added to
    `ignored`.
    """

    def refuse(error: OSError) -> None:
        raise error

    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        entered = []
        for name in folders:
            about = os.stat(Path(folder, name))
            known = (about.st_dev, about.st_ino) in seen
            if known or name.startswith("."):
                ignored.append(Path(folder, name).relative_to(root).as_posix() + "/")
            else:
                seen.add((about.st_dev, about.st_ino))
                entered.append(name)
        folders[:] = entered
        yield folder, folders, files


def _text(name: str) -> str:
    """Return a file name as text. Bytes that are not UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class ParquetSource:
    """Rows of Parquet files with a column of encoded pictures. Other columns are kept unchanged."""

    def __init__(self, paths: list[Path], column: str | None) -> None:
        self.ignored: list[str] = []
        self._paths = paths
        self._groups: list[list[int]] = []
        """Number of rows of each row group of each file. The files are not kept open, because there
        may be thousands."""
        schema = None
        for path in paths:
            with refused_by_name(path), pyarrow().parquet.ParquetFile(path) as file:
                schema = schema or file.schema_arrow
                if not file.schema_arrow.equals(schema):
                    raise FormatError(f"{path.name} has different columns than {paths[0].name}")
                about = file.metadata
                self._groups.append([about.row_group(n).num_rows for n in range(about.num_row_groups)])
        assert schema is not None  # there is at least one file
        known = schema.metadata or {}
        features = read_features(known.get(FEATURES_KEY))
        if column is not None and schema.get_field_index(column) < 0:
            raise FormatError(f"no column {column!r} (available: {', '.join(schema.names)})")
        self.column = column or find_column(schema, features)
        check_column(schema, self.column)
        # A dataset of this package may contain bare rows.
        self._rows = Settings.from_json(known[SCHEMA_KEY]).rows if SCHEMA_KEY in known else None
        self.fields = [field for field in schema if field.name != self.column]
        self.features = {name: about for name, about in features.items() if name != self.column}

    def count(self) -> int:
        return sum(map(sum, self._groups))

    def digest(self, start: int, stop: int) -> str:
        about = [(path.name, path.stat().st_size) for path in self._paths]
        return hashlib.sha256(repr((about, start, stop)).encode()).hexdigest()

    def items(self, start: int, stop: int) -> Iterator[Item]:
        first = 0
        for path, groups in zip(self._paths, self._groups, strict=True):
            after = first + sum(groups)
            if first < stop and after > start:
                with refused_by_name(path), pyarrow().parquet.ParquetFile(path) as file:
                    for number, row in self._rows_of(file, groups, first, start, stop):
                        yield self._item(row, number)
            first = after

    def _rows_of(
        self, file: Any, groups: list[int], first: int, start: int, stop: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for group, rows in enumerate(groups):
            if first < stop and first + rows > start:
                batches = (batch.to_pylist() for batch in file.iter_batches(256, row_groups=[group]))
                for number, row in enumerate(itertools.chain.from_iterable(batches), first):
                    if start <= number < stop:
                        yield number, row
            first += rows

    def _item(self, row: dict[str, Any], number: int) -> Item:
        picture = row.pop(self.column)
        path, data = None, picture
        if isinstance(picture, Mapping):
            path, data = picture.get("path"), picture.get("bytes")

        def load() -> Any:
            if data is None:
                raise FormatError(f"row {number} has no picture")
            return data if self._rows is None else self._rows.unpack(data)

        return Item(path or f"{number:08d}", load, row)


class TarSource:
    """Samples of WebDataset tars. A sample consists of the members that share a key.

    `.cls` becomes the column `label`. Other members except the picture become columns too.
    """

    column = "image"

    def __init__(self, paths: list[Path]) -> None:
        pa = pyarrow()
        self._index = TarIndex(paths, picture_suffixes())
        self.ignored = self._index.ignored
        kinds = {"cls": ("label", pa.int64()), "txt": ("txt", pa.string()), "json": ("json", pa.string())}
        self._columns: dict[str, tuple[str, Any]] = {}
        found = self._index.extensions
        taken = {self.column, *(kinds[extension][0] for extension in found if extension in kinds)}
        for extension in found:
            name, kind = kinds.get(extension, (extension.replace(".", "_"), pa.binary()))
            while extension not in kinds and name in taken:
                name += "_"
            taken.add(name)
            self._columns[extension] = (name, kind)
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
    """Dicts with a picture under "image", optionally "path", and columns of plain values."""

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
            raise TypeError(f"a column holds values that Parquet cannot store: {error}") from None
        for field in self.fields:
            if pa.types.is_null(field.type):
                raise TypeError(f"column {field.name!r} of the first item is None: its type is not known")

    def count(self) -> None:
        return None

    def digest(self, start: int, stop: int) -> str:
        return ""

    def items(self, start: int, stop: int) -> Iterator[Item]:
        if start < self._position:
            raise ValueError("an iterable can be read only once")
        for _ in itertools.islice(self._rest, start - self._position):
            pass
        self._position = start
        known = {field.name for field in self.fields}
        for fields in itertools.islice(self._rest, stop - start):
            columns = {name: value for name, value in fields.items() if name not in ("image", "path")}
            if not set(columns) <= known:
                extra = ", ".join(sorted(set(columns) - known))
                raise TypeError(f"item {self._position} has columns that the first item lacks: {extra}")
            path = fields.get("path") or f"{self._position:08d}"
            yield Item(str(path), functools.partial(operator.itemgetter("image"), fields), columns)
            self._position += 1
