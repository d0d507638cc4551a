"""Random access to the bytes of a file, in memory or on disk."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol


class Readable(Protocol):
    """Bytes of a file that are read on access: a memoryview or an open file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes | memoryview: ...


class OpenFile:
    """The bytes of an open file from its position on, read on access. Any thread may read.

    The file must be able to seek.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._start = file.tell()
        file.seek(0, os.SEEK_END)
        self._size = max(file.tell() - self._start, 0)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, step = part.indices(self._size)
        if step != 1:
            raise ValueError("a slice of a file must have a step of 1")
        with self._lock:  # tiles are decoded in parallel, but a file has only one position
            self._file.seek(self._start + start)
            # If the file was truncated meanwhile, this returns fewer bytes than requested. Callers
            # detect that like any other truncation.
            return _read(self._file, max(stop - start, 0))


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    while 0 < len(data) < size and (more := file.read(size - len(data))):  # a file without a buffer
        data += more
    return data


@contextlib.contextmanager
def open_bytes(path: str | os.PathLike[str]) -> Iterator[OpenFile | bytes]:
    """Open a file, whose bytes are read on access. A pipe or device is read completely at once."""
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        # Some system files report a size of 0 but contain bytes.
        yield OpenFile(file) if stat.S_ISREG(about.st_mode) and about.st_size else file.read()


def bytes_of(data: Any) -> memoryview:
    """Return the bytes of any buffer: bytes, memoryview, mmap, pyarrow.Buffer, uint8 array, …

    The buffer is not copied. A torch tensor of bytes is taken as well. Raises `TypeError`, which
    says why, for anything else: files, names of files, pictures, and arrays of other types.
    """
    if isinstance(data, (str, os.PathLike)):
        raise TypeError(_not_bytes(data, "pass the content of the file, open(path, 'rb').read()"))
    if any(base.__module__ == "torch" for base in type(data).__mro__):
        data = data.detach().cpu().numpy()
    if hasattr(data, "dtype") and hasattr(data, "shape") and not isinstance(data, bytes):
        _check_array(data)
    try:
        view = memoryview(data)
    except TypeError:
        way_out = "pass what its method read returns" if hasattr(data, "read") else ""
        raise TypeError(_not_bytes(data, way_out)) from None
    if not view.c_contiguous:
        raise TypeError("data must be bytes, not a buffer with gaps: pass bytes(data)")
    if not view.nbytes:
        return memoryview(b"")
    try:
        return view.cast("B")
    except (TypeError, ValueError):  # a format that memoryview does not know
        return memoryview(view.tobytes())


def _not_bytes(data: Any, way_out: str) -> str:
    return f"data must be bytes, not {type(data).__name__}" + (f": {way_out}" if way_out else "")


def _check_array(array: Any) -> None:
    """Raise `TypeError` unless an array holds bytes: one dimension of one byte each, or a void."""
    shape, dtype = tuple(array.shape), array.dtype
    if len(shape) > 1:
        raise TypeError(
            f"data must be the bytes of a file, not an array of {'×'.join(map(str, shape))} samples: "
            "codec.compress makes a file of a picture"
        )
    if dtype.kind != "V" and (dtype.kind not in "ui" or dtype.itemsize > 1 or not shape):
        raise TypeError(f"data must be bytes, not an array of {dtype}: only uint8 holds the bytes of a file")
