"""Finding the files of a dataset: one file, a pattern, or a folder, also of partitions.

    set/shard-00000.parquet                one folder of files
    set/split=train/label=3/a.parquet      Hive partitions: the columns split and label
    set/data/a.parquet                     the only folder in a folder

Names that begin with . or _ are hidden, as for all readers of folders of Parquet files.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import re
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote

from codec.api import EXTENSION
from codec.data.reading.files import Stored, stored
from codec.errors import FormatError
from codec.format.header import SIGNATURE

SUFFIX = ".parquet"

_MAGIC = b"PAR1"

_NULL = "__HIVE_DEFAULT_PARTITION__"
"""Value in the name of a folder of rows whose value is missing."""

_DEPTH = 16
"""Maximum depth of folders. It ends circles of links."""

_SPLIT = re.compile(r"(.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet", re.ASCII)
"""Names of the files that Hugging Face's libraries write. They begin with the split."""

_TABLES = {"_delta_log": "Delta Lake", ".hoodie": "Hudi"}
"""Folders with the log of a table. Only this log says which of its files are valid."""


@dataclasses.dataclass
class Found:
    """The files of a dataset."""

    root: str
    """Path, pattern or URL as it was given."""
    folder: Stored | None = None
    """The folder of which these are all files; None for one file and for a pattern."""
    files: list[Stored] = dataclasses.field(default_factory=list)
    partitions: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Columns in the names of the folders of each file."""
    nested: list[str] = dataclasses.field(default_factory=list)
    """Folders with Parquet files that do not belong to these files."""


def find_files(path: str | os.PathLike[str]) -> Found:
    """Return the Parquet files of a path or a URL, which may be a pattern with *, ? or [].

    Raises `FileNotFoundError` or `FormatError`, which say what is there instead.
    """
    root = stored(path)
    found = Found(os.fspath(path))
    if root.is_dir():
        _find_in(root, found)
    elif root.exists():
        _check_file(root)
        found.files = [root]
    else:
        pattern = re.search(r"[*?\[]", found.root)
        found.files = root.matches() if pattern else []
        if not found.files:
            text = "No file matches this pattern" if pattern else "No such file or directory"
            raise FileNotFoundError(2, text, found.root)
        if len({os.path.dirname(file) for file in found.files}) > 1:
            for file in found.files:  # names of files may be the same in different folders
                file.name = PurePath(file).as_posix()
    found.partitions = found.partitions or [{} for _ in found.files]
    _type_partitions(found)
    return found


def _find_in(root: Stored, found: Found) -> None:
    while True:
        _refuse_tables(root, found.root)
        folders: list[Stored] = []
        _walk(root, "", {}, found, folders)
        found.nested = [folder.name for folder in folders if _has_parquet(folder, _DEPTH)]
        if found.files or len(found.nested) != 1:
            break
        root = next(folder for folder in folders if folder.name == found.nested[0])
    found.folder = root
    if not found.files and found.nested:
        raise FormatError(
            f"{found.root} has no {SUFFIX} files of its own, but folders of them: "
            f"{_listed(found.nested)}: open one of them, or a pattern such as */*{SUFFIX}"
        )
    if not found.files:
        text = f"No {SUFFIX} files in this folder, {_instead(root)}"
        raise FileNotFoundError(2, text, found.root)
    splits = {match[1] if (match := _SPLIT.fullmatch(file.name)) else "" for file in found.files}
    if len(splits) > 1 and "" not in splits:
        raise FormatError(
            f"{found.root} has files of several splits: {_listed(sorted(splits))}: open one of them, as in "
            f"{os.path.join(found.root, min(splits))}-*{SUFFIX}"
        )


def _walk(
    folder: Stored, prefix: str, values: dict[str, str | None], found: Found, others: list[Stored],
) -> None:
    """Add the files of a folder and of the partitions in it to `found`."""
    folders: list[Stored] = []
    files: list[Stored] = []
    for entry in folder.entries():
        if entry.name[0] not in "._":
            (folders if entry.is_dir() else files).append(entry)
    named = [file for file in files if file.name.lower().endswith(SUFFIX)]
    for file in named or _nameless(files):
        file.name = prefix + file.name
        found.files.append(file)
        found.partitions.append(dict(values))
    for entry in folders:
        key, equals, text = entry.name.partition("=")
        if not equals or not key:
            entry.name = prefix + entry.name
            others.append(entry)
        elif prefix.count("/") < _DEPTH:
            value = None if text == _NULL else unquote(text)
            _walk(entry, f"{prefix}{entry.name}/", {**values, unquote(key): value}, found, others)


def _nameless(files: list[Stored]) -> list[Stored]:
    """Return the Parquet files among files without an extension, as some engines write them."""
    plain = [file for file in files if not PurePath(file.name).suffix]
    return [file for file in plain if _start(file).startswith(_MAGIC)]


def _has_parquet(folder: Stored, depth: int) -> bool:
    entries = [entry for entry in folder.entries() if entry.name[0] not in "._"]
    if any(entry.name.lower().endswith(SUFFIX) for entry in entries):
        return True
    return depth > 0 and any(_has_parquet(entry, depth - 1) for entry in entries if entry.is_dir())


def _type_partitions(found: Found) -> None:
    """Make numbers of the values of the partitions that are all whole numbers in decimal.

    Text such as 007 stays text. Raises `FormatError` if files have different partitions.
    """
    names = list(found.partitions[0])
    for file, values in zip(found.files, found.partitions, strict=True):
        if set(values) != set(names):
            first = found.files[0].name
            raise FormatError(
                f"{first} is in the partitions {_listed(names) or 'none'}, and {file.name} in "
                f"{_listed(list(values)) or 'none'}: a dataset has the same partitions everywhere"
            )
    for name in names:
        texts = {values[name] for values in found.partitions} - {None}
        if texts and all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", text) for text in texts):
            for values in found.partitions:
                values[name] = None if values[name] is None else int(values[name])


def _start(file: Stored) -> bytes:
    return file.read_at(0, min(8, file.size()))


def _check_file(file: Stored) -> None:
    """Raise `FormatError` if a file is certainly no Parquet file, and say what to do with it."""
    suffix, start = PurePath(file.name).suffix.lower(), _start(file)
    if start.startswith(_MAGIC) or suffix == SUFFIX:
        return
    if start.startswith(SIGNATURE):
        text = "a single picture: codec.decode reads it, and codec.data.pack makes a dataset of many"
    elif suffix in _HINTS:
        text = f"a {suffix} file, not a dataset: {_HINTS[suffix]}"
    else:
        text = "not a Parquet file: codec.data.pack makes a dataset of folders, tars and Parquet files"
    raise FormatError(f"{file.name} is {text}")


_HINTS = {
    ".tar": "codec.data.pack makes a dataset of it",
    ".arrow": "datasets.Dataset.to_parquet writes it as Parquet",
    EXTENSION: "codec.decode reads pictures, and codec.data.pack makes a dataset of them",
}


def _instead(folder: Stored) -> str:
    """Return what a folder without Parquet files has, and what to do with it."""
    counts: collections.Counter[str] = collections.Counter()
    _count(folder, counts, _DEPTH)
    if not counts:
        return "it is empty"
    suffix, count = counts.most_common(1)[0]
    hint = _HINTS.get(suffix, "codec.data.pack makes a dataset of pictures")
    return f"but {count} {suffix or 'other'} file{'s' * (count > 1)}: {hint}"


def _count(folder: Stored, counts: collections.Counter[str], depth: int) -> None:
    for entry in folder.entries():
        if counts.total() >= 1000:
            return
        if not entry.is_dir():
            counts[PurePath(entry.name).suffix.lower()] += 1
        elif depth > 0:
            _count(entry, counts, depth - 1)


def _refuse_tables(folder: Stored, root: str) -> None:
    names = {entry.name: entry for entry in folder.entries()}
    kinds = [kind for name, kind in _TABLES.items() if name in names]
    if "metadata" in names and names["metadata"].is_dir():
        logs = names["metadata"].entries()
        kinds += ["Iceberg"] * any(entry.name.endswith(".metadata.json") for entry in logs)
    if kinds:
        raise FormatError(
            f"{root} is a table of {kinds[0]}, whose log says which files are valid: export its rows to "
            "plain Parquet files"
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
