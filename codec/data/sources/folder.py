"""A folder tree of picture files as a source."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from codec.data.layout import pyarrow
from codec.data.sources.base import Item, as_text, listed, listed_suffixes
from codec.data.sources.listing import list_tree
from codec.data.sources.splits import STRING, find_levels
from codec.errors import FormatError

DESCRIPTIONS = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""Files with columns of the pictures of a folder, in Hugging Face's layout."""


class FolderSource:
    """Files in a folder tree, in the order of their names.

    `find_levels` says which folders are the classes and the splits. The files are listed once:
    files that appear later are left out, and files that vanish are bad pictures. Links that lead
    nowhere and subfolders that cannot be read are bad pictures too.
    """

    column = "image"

    def __init__(self, root: Path) -> None:
        pa = pyarrow()
        found = list_tree(root, listed_suffixes())
        self.root = root
        self._names, self._problems = found.names, found.problems
        self.ignored = found.ignored
        pictures = [name for name in self._names if not name.endswith("/")]
        self._levels = find_levels(pictures)
        described = [name for name in self.ignored if os.path.basename(name) in DESCRIPTIONS]
        self.notes = [f"columns in {listed(described)} are not read"] if described else []
        self.notes += [self._levels.note] if self._levels.note else []
        if found.linked:
            links = listed([as_text(name) for name in found.linked])
            self.notes.append(f"links to folders that are packed under another name, not followed: {links}")
        level = self._levels.label
        found_classes = {name.split("/")[level] for name in pictures if name.count("/") > level}
        classes = sorted(found_classes, key=os.fsencode)
        self._labels = {name: number for number, name in enumerate(classes)}
        fields, self.features = [], dict[str, Any]()
        if classes:
            fields.append(pa.field("label", pa.int64()))
            self.features["label"] = {"names": list(map(as_text, classes)), "_type": "ClassLabel"}
        if self._levels.split is not None:
            fields.append(pa.field("split", pa.string()))
            self.features["split"] = STRING
        self.fields: list[Any] | None = fields

    def count(self) -> int:
        return len(self._names)

    def digest(self, start: int, stop: int) -> str:
        return self.digest_of(range(start, min(stop, len(self._names))))

    def digest_of(self, places: Sequence[int]) -> str:
        """Return a digest of the names and sizes of these items."""
        self._check_root()
        sha = hashlib.sha256()
        for name in map(self._names.__getitem__, places):
            sha.update(os.fsencode(name) + f"\0{self._size(name)}\0".encode())
        return sha.hexdigest()

    def _size(self, name: str) -> str:
        if name in self._problems:
            return "bad"
        try:
            return str(os.stat(os.path.join(self.root, name)).st_size)
        except OSError:
            return "missing"

    def items(self, start: int, stop: int) -> Iterator[Item]:
        for name in self._names[start:stop]:
            columns: dict[str, Any] = {}
            parts = name.split("/")[:-1]
            if len(parts) > self._levels.label and not name.endswith("/"):
                columns["label"] = self._labels[parts[self._levels.label]]
            if self._levels.split is not None and len(parts) > self._levels.split:
                columns["split"] = as_text(parts[self._levels.split])
            missing: list[str] = []
            yield Item(as_text(name), functools.partial(self._load, name, missing), columns)
            if missing:
                self._check_root()

    def _load(self, name: str, missing: list[str]) -> bytes:
        if name in self._problems:
            raise FormatError(self._problems[name])
        try:
            with open(os.path.join(self.root, name), "rb") as file:
                return file.read()
        except OSError:
            missing.append(name)
            raise

    def _check_root(self) -> None:
        """Raise `FileNotFoundError` if the whole folder is gone, as when its disk is removed."""
        if not self.root.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(self.root))
