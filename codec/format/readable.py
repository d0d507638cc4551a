"""The bytes of a file, read where they are asked for: in memory or on disk."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from typing import BinaryIO, Protocol


class Readable(Protocol):
    """Bytes of a file that are read where they are asked for: a memoryview, or an open file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


class OpenFile:
    """The bytes of a file, read where they are asked for, by any thread."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._size = os.fstat(file.fileno()).st_size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, step = part.indices(self._size)
        if step != 1:
            raise ValueError("only whole stretches of a file are read")
        with self._lock:  # tiles are decoded side by side, and a file has one position
            self._file.seek(start)
            # Fewer bytes than asked for, if the file was cut short meanwhile, are found like any truncation.
            return self._file.read(max(stop - start, 0))


@contextlib.contextmanager
def open_bytes(path: str | os.PathLike[str]) -> Iterator[OpenFile | bytes]:
    """The bytes of a file as they are needed; of a pipe or device, all of them."""
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        # Some files of the system have no size and still bytes.
        yield OpenFile(file) if stat.S_ISREG(about.st_mode) and about.st_size else file.read()
