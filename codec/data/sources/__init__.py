"""Sources of the pictures of a dataset: folders, Parquet files, WebDataset tars, iterables.

Every source except an iterable knows its number of items and can return any range of them in the
same order each time, so packing can be stopped and continued.

Start reading: `base.py` has the interface; each other module has one kind of source or one rule.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codec.data.sources.base import Item, Source, as_text, listed, suffix_of
from codec.data.sources.folder import DESCRIPTIONS, FolderSource
from codec.data.sources.iterable import WAY_OUT, IterableSource, named
from codec.data.sources.listing import list_tree
from codec.data.sources.memory import open_rows
from codec.data.sources.parquet import ParquetSource
from codec.data.sources.tar import TarSource
from codec.errors import FormatError

__all__ = ["Item", "Source", "open_source", "unread"]

_CONTAINERS = {".parquet": "parquet", ".tar": "webdataset"}

_WAYS_OUT = {
    "DataFrame": 'dataframe.to_dict("records") in pandas, dataframe.to_dicts() in Polars',
    "LazyFrame": "frame.collect().to_dicts()",
    "Table": "table.to_pylist()",
    "RecordBatch": "batch.to_pylist()",
}
"""How to get dicts from tables of other libraries, by the name of their class."""


def open_source(
    source: Any, kind: str | None = None, column: str | None = None, image: str | None = None
) -> Source:
    """Open a folder, a file, a dataset, or an iterable of dicts with pictures as a source.

    `kind` is "folder", "parquet" or "webdataset". If it is None, it is derived from the file names.
    `column` is the column of the pictures, where the source has columns. `image` is the extension
    of the member to compress of each sample of a tar. Raises `FormatError` or `FileNotFoundError`
    if there is nothing to pack.
    """
    if not isinstance(source, (str, os.PathLike)):
        if kind is not None or image is not None:
            raise ValueError("kind and image apply only to files")
        return open_rows(source, column) or IterableSource(_iterable(source), column or "image")
    path = Path(source)
    if not path.exists():
        raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
    if kind not in (None, "folder", *_CONTAINERS.values()):
        raise ValueError(f"kind must be folder, parquet or webdataset, not {kind!r}")
    found = kind or _kind_of(path)
    folder = FolderSource(path) if found == "folder" and path.is_dir() else None
    if kind is None and folder is not None and folder.count() == 0:
        found = _kind_below(path)
    if column is not None and found != "parquet":
        raise ValueError(f"column applies only to a Parquet source, and this source is {found}")
    if image is not None and found != "webdataset":
        raise ValueError(f"image applies only to a WebDataset source, and this source is {found}")
    if found in _CONTAINERS.values():
        suffix = next(suffix for suffix, other in _CONTAINERS.items() if other == found)
        files, ignored = _find(path, suffix) if path.is_dir() else ([path], [])
        if not files:
            raise FormatError(f"no {suffix} files in {path}")
        opened = ParquetSource(files, path, column) if found == "parquet" else TarSource(files, path, image)
        opened.ignored += ignored
        return opened
    if folder is None:
        raise NotADirectoryError(20, "Not a directory", os.fspath(path))
    if folder.count() == 0 and folder.ignored:
        raise FormatError(f"the source has no pictures: {_what_is_there(path)}")
    return folder


def unread(ignored: list[str]) -> str | None:
    """Return a note about Parquet files and tars among the files that a source ignores, or None."""
    found = [
        name for name in ignored
        if suffix_of(name) in _CONTAINERS and not name.startswith((".", "_"))
        and not any(f"/{mark}" in name for mark in "._") and os.path.basename(name) not in DESCRIPTIONS
    ]
    return f"not read, another kind of source (choose with kind): {listed(found)}" if found else None


def _iterable(source: Any) -> Iterable[Any]:
    """Return the source. Raises `TypeError` if it does not yield dicts, and says what to do."""
    kind = type(source)
    library = kind.__module__.split(".")[0]
    if kind.__name__ in _WAYS_OUT and library in ("pandas", "polars", "pyarrow"):
        way = _WAYS_OUT[kind.__name__]
        raise TypeError(f"a {library} {kind.__name__} is not an iterable of dicts: pass {way}")
    if isinstance(source, Mapping):
        names = ", ".join(map(str, list(source)[:8]))
        raise TypeError(f"a dict (with {names}) is not an iterable of dicts: give one dict for each picture")
    if isinstance(source, (bytes, bytearray, memoryview)) or not (
        hasattr(source, "__iter__") or hasattr(source, "__getitem__")
    ):
        call = ": call it" if callable(source) and not isinstance(source, type) else ""
        raise TypeError(
            f"the source must be a path or an iterable of dicts, not {named(source)}{call or f': {WAY_OUT}'}"
        )
    items: Iterable[Any] = source
    if not hasattr(source, "__iter__") and hasattr(source, "__len__"):
        # A dataset of torch. Python would go on until an IndexError, which it need not raise.
        items = map(source.__getitem__, range(len(source)))
    return items


def _kind_of(path: Path) -> str:
    """Return the kind of a source from its name, or from those of the files directly in it."""
    if not path.is_dir():
        if suffix_of(path.name) in _CONTAINERS:
            return _CONTAINERS[suffix_of(path.name)]
        raise FormatError(f"{path.name} is neither a folder nor a .parquet or .tar file{_hint(path.name)}")
    names = {name for name in os.listdir(path) if name[0] not in "._" and os.path.isfile(path / name)}
    if names == {"metadata.parquet"}:  # may describe a folder of pictures
        return "folder"
    suffixes = {suffix_of(name) for name in names}
    return next((kind for suffix, kind in _CONTAINERS.items() if suffixes == {suffix}), "folder")


def _kind_below(path: Path) -> str:
    """Return the kind of the files in a folder without pictures."""
    found = [kind for suffix, kind in _CONTAINERS.items() if _find(path, suffix)[0]]
    if len(found) > 1:
        raise FormatError(f"{path} has both Parquet files and tars: say which with kind")
    return found[0] if found else "folder"


def _hint(name: str) -> str:
    packed = name.lower().endswith((".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".lz4"))
    return ": it is compressed, decompress it first" if packed else ""


def _find(path: Path, suffix: str) -> tuple[list[Path], list[str]]:
    """Return the files with an extension below a folder, and what else is there.

    Names that begin with _ are hidden, as for all readers of folders of Parquet files.
    """
    tree = list_tree(path, {suffix})
    for name, problem in tree.problems.items():
        raise FormatError(f"{as_text(name)}: {problem}")
    hidden = [as_text(name) for name in tree.names if "/_" in f"/{name}"]
    return [path / name for name in tree.names if "/_" not in f"/{name}"], tree.ignored + hidden


def _what_is_there(path: Path) -> str:
    """Return a text about the files of a folder without pictures."""
    counts = collections.Counter(
        suffix_of(name) or "without extension" for _, _, names in os.walk(path) for name in names
    )
    shown = listed([f"{count} {suffix}" for suffix, count in counts.most_common()])
    hint = next(filter(None, map(_hint, counts)), "")
    if counts[".arrow"]:
        hint = ": for a folder of datasets.save_to_disk, pass datasets.load_from_disk(folder)"
    return f"its files are {shown or 'hidden'}{hint}"
