"""Random access to the bytes of a file, in memory or on disk."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from typing import BinaryIO, Protocol


class Readable(Protocol):
    """Bytes of a file that are read on access: a memoryview or an open file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


class OpenFile:
    """The bytes of an open file, read on access. Any thread may read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._size = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, step = part.indices(self._size)
        if step != 1:
            raise ValueError("a slice of a file must have a step of 1")
        with self._lock:  # tiles are decoded in parallel, but a file has only one position
            self._file.seek(start)
            # If the file was truncated meanwhile, this returns fewer bytes than requested. Callers
            # detect that like any other truncation.
            return self._file.read(max(stop - start, 0))


@contextlib.contextmanager
def open_bytes(path: str | os.PathLike[str]) -> Iterator[OpenFile | bytes]:
    """Open a file, whose bytes are read on access. A pipe or device is read completely at once."""
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        # Some system files report a size of 0 but contain bytes.
        yield OpenFile(file) if stat.S_ISREG(about.st_mode) and about.st_size else file.read()
