"""Files and folders of a dataset: on a local disk, or in any file system of `fsspec`."""

from __future__ import annotations

import functools
import glob
import os
import re
import threading
import weakref
from pathlib import Path, PurePosixPath
from typing import Any

from codec.errors import FormatError, MissingExtra


def stored(path: str | os.PathLike[str]) -> Stored:
    """Return the file or folder of a path or of a URL such as `s3://…` or `hf://…`."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"path must be a string or a path, not {type(path).__name__}")
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text):
        return Local(Path(text), Path(text).name)
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtra(
            f"{text} is a URL, which needs fsspec: pip install fsspec, or copy the dataset to a local folder",
            name="fsspec",
        ) from None
    system, inner = url_to_fs(text)
    return Remote(system, inner, PurePosixPath(inner).name or text)


def in_order(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return a key that sorts names by the numbers in them: part-2 comes before part-10."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)], name


def is_utf_8(path: Path) -> bool:
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


class Local:
    """A file or a folder on a local disk."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        """Name in messages: the path relative to the dataset."""

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def size(self) -> int:
        return self.path.stat().st_size

    def is_dir(self) -> bool:
        return self.path.is_dir()

    def exists(self) -> bool:
        return self.path.exists()

    def entries(self) -> list[Stored]:
        """Return the files and folders in this folder. part-2 comes before part-10."""
        return [Local(self.path / name, name) for name in sorted(os.listdir(self.path), key=in_order)]

    def matches(self) -> list[Stored]:
        """Return the files whose paths match this path, which is a pattern."""
        found = sorted(glob.glob(os.fspath(self.path), recursive=True), key=in_order)
        return [Local(Path(path), Path(path).name) for path in found if os.path.isfile(path)]

    def source(self) -> Any:
        """Return what pyarrow can read: a path or an open file."""
        # pyarrow takes only paths that are UTF-8.
        return os.fspath(self.path) if is_utf_8(self.path) else open(self.path, "rb")

    def read_at(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes at an offset. Raises `FormatError` if there are fewer."""
        opened = _opened(self)  # keeps the file open if another thread evicts it from the cache
        data = opened.read(start, length)
        while len(data) < length:
            # Some file systems return fewer bytes than were asked for.
            more = opened.read(start + len(data), length - len(data))
            if not more:
                raise _ends_early(self.name, start + length)
            data += more
        return data


class _Opened:
    """A file that is open for reading at any offset until this object is no longer referenced."""

    def __init__(self, path: Path) -> None:
        self._number = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        weakref.finalize(self, os.close, self._number)

    def read(self, start: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._number, length, start)
        with self._lock:  # without pread, as on Windows, the position belongs to all threads
            os.lseek(self._number, start, os.SEEK_SET)
            return os.read(self._number, length)


@functools.lru_cache(maxsize=128)
def _opened(file: Local) -> _Opened:
    """Return the open file. The cache limits the number of open files of the process."""
    return _Opened(file.path)


if hasattr(os, "register_at_fork"):  # two processes must not share the position of a file
    os.register_at_fork(after_in_child=lambda: _opened.cache_clear())


class Remote:
    """A file or a folder in a file system of `fsspec`, with the methods of `Local`."""

    def __init__(self, system: Any, path: str, name: str, kind: str | None = None) -> None:
        self.system = system
        self.path = path
        self.name = name
        self._kind = kind
        """What the listing of a folder has told, "file" or "directory"."""

    def __fspath__(self) -> str:
        return str(self.system.unstrip_protocol(self.path))

    def size(self) -> int:
        return int(self.system.size(self.path))

    def is_dir(self) -> bool:
        return bool(self.system.isdir(self.path)) if self._kind is None else self._kind == "directory"

    def exists(self) -> bool:
        return bool(self.system.exists(self.path))

    def entries(self) -> list[Stored]:
        found = []
        for entry in self.system.ls(self.path, detail=True):
            path = entry["name"].rstrip("/")
            if path != self.path.rstrip("/"):  # some file systems list the folder itself
                found.append(Remote(self.system, path, PurePosixPath(path).name, entry["type"]))
        return sorted(found, key=lambda file: in_order(file.name))

    def matches(self) -> list[Stored]:
        found = sorted(self.system.glob(self.path), key=in_order)
        files = [Remote(self.system, path, PurePosixPath(path).name) for path in found]
        return [file for file in files if not file.is_dir()]

    def source(self) -> Any:
        return self.system.open(self.path, "rb")

    def read_at(self, start: int, length: int) -> bytes:
        data = bytes(self.system.cat_file(self.path, start=start, end=start + length))
        if len(data) != length:
            raise _ends_early(self.name, start + length)
        return data


Stored = Local | Remote
"""A file or a folder. It can be pickled."""


def _ends_early(name: str, end: int) -> FormatError:
    return FormatError(f"{name} ends before byte {end}: it was cut or replaced after the dataset was opened")
