"""Sources and destinations of pictures and files: paths, file objects, buffers and URLs.

URLs are opened with fsspec, if it is installed. A string is a URL if it begins with a scheme of two
or more letters and "://", as in s3://bucket/key or memory://name. (file:// is a path.) Nothing is
opened that the caller has not named.

File objects of the caller are used from their position on and are never closed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit

from codec.errors import CodecError, MissingExtra
from codec.format.readable import OpenFile, bytes_of, open_bytes
from codec.pictures.atomic import write_atomically

if TYPE_CHECKING:
    from _typeshed import SupportsRead, SupportsWrite
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    Source = str | os.PathLike[Any] | SupportsRead[bytes] | Buffer | NDArray[Any]
    Destination = str | bytes | os.PathLike[Any] | SupportsWrite[bytes]
else:
    Source = Destination = Any

_URL = re.compile(r"[a-z][a-z0-9+.-]+(::[a-z][a-z0-9+.-]+)*://", re.IGNORECASE)
_SCHEME = re.compile(r"(?:^|(?<=::))[a-z][a-z0-9+.-]+(?=://|::)", re.IGNORECASE)

_LONGEST_PATH = 4096

_IN_MEMORY = 1 << 26
"""Bytes up to which a result is kept in memory before it is copied to its destination."""

T = TypeVar("T")


def local_path(place: Any) -> str | None:
    """Return the path of a place in the local file system; None for other places and for bytes."""
    if isinstance(place, os.PathLike):
        return os.fsdecode(place)
    if not isinstance(place, str):
        return None
    if place[:7].lower() == "file://":
        from urllib.request import url2pathname  # slow to import

        parts = urlsplit(place)
        if parts.netloc not in ("", "localhost"):
            raise ValueError(f"{place} is on another machine: only files of this one can be opened")
        return url2pathname(parts.path)
    return None if _URL.match(place) else place


@contextlib.contextmanager
def open_readable(src: Any) -> Iterator[BinaryIO]:
    """Yield the bytes of a source as a file that can seek, from its first byte on.

    `src` is a path, a binary file object, a buffer or a URL. Raises `TypeError` for anything else,
    for a file in text mode and for a path as bytes, and `OSError` or `MissingExtra`.
    """
    path = local_path(src)
    if path is not None:
        with open(path, "rb") as file:
            yield file if file.seekable() else io.BytesIO(file.read())
    elif isinstance(src, str):
        with _open_url(src) as remote:
            yield io.BytesIO(remote.read())
    elif _is_quick(src):
        yield io.BufferedReader(_Rest(src))
    else:
        yield io.BytesIO(_content(src))


@contextlib.contextmanager
def open_data(src: Any) -> Iterator[OpenFile | memoryview | bytes]:
    """Yield the bytes of a source. They are read on access where the source can seek.

    `src` and errors are those of `open_readable`.
    """
    path = local_path(src)
    if path is not None:
        with open_bytes(path) as data:
            yield data
    elif isinstance(src, str):
        with _open_url(src) as remote:
            yield OpenFile(cast(BinaryIO, remote)) if remote.seekable() else remote.read()
    elif _is_quick(src):
        yield OpenFile(src)
    else:
        yield _content(src)


def write_to(dst: Any, data: bytes | Iterable[bytes]) -> None:
    """Write a file to a destination: a path, a binary file object or a URL.

    A local file is replaced completely or left unchanged. Other destinations are written to when
    all of `data` is there. A URL is completed only if every byte could be sent.
    """
    path = _local_destination(dst)
    if path is not None:
        write_atomically(path, data)
        return
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        for chunk in [data] if isinstance(data, bytes) else data:
            file.write(chunk)
        size = file.tell()
        file.seek(0)
        if isinstance(dst, str):
            _upload(dst, file, size)
        else:
            while chunk := file.read(1 << 20):
                _write(dst, chunk)
            if hasattr(dst, "flush"):
                dst.flush()


def check_destination(dst: Any) -> None:
    """Raise the error of `write_to` for a destination that cannot be written to, if it is known."""
    if _local_destination(dst) is not None:
        return
    if isinstance(dst, str):
        _filesystem(dst)
        return
    if not callable(getattr(dst, "write", None)):
        raise TypeError(
            f"the destination must be a path, a binary file object or a URL, not {type(dst).__name__}"
        )
    _check_binary(dst)
    if not _can(dst, "writable"):
        raise ValueError("the destination is not open for writing")


def suffix_of(dst: Any) -> str:
    """Return the extension of a destination, or "" if it has none."""
    path = _local_destination(dst)
    if path is not None:
        return Path(path).suffix
    if isinstance(dst, str):
        return PurePosixPath(dst.split("::")[0]).suffix
    name = getattr(dst, "name", None)  # the number of the descriptor for some files
    return Path(os.fsdecode(name)).suffix if isinstance(name, (str, bytes)) else ""


def _local_destination(dst: Any) -> str | None:
    return os.fsdecode(dst) if isinstance(dst, bytes) else local_path(dst)


class _Rest(io.RawIOBase):
    """The bytes of a file from its position on. Closing it leaves the file open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        at = self._file.seek(offset + self._start if whence == os.SEEK_SET else offset, whence)
        return at - self._start

    def readinto(self, buffer: Any, /) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _is_quick(src: Any) -> bool:
    """Whether a file object can seek without reading all of it again, as members of archives do."""
    if not isinstance(src, (io.FileIO, io.BufferedReader, io.BufferedRandom, io.BytesIO)):
        return False
    raw = getattr(src, "raw", src)
    return isinstance(raw, (io.FileIO, io.BytesIO)) and src.readable() and src.seekable()


def _content(src: Any) -> memoryview | bytes:
    """Return all bytes of a file object or a buffer."""
    if callable(getattr(src, "read", None)) and not _is_buffer(src):
        _check_binary(src)
        if not _can(src, "readable"):
            raise ValueError("the source is not open for reading")
        data = src.read()
        if data is None:
            raise BlockingIOError("the source has no bytes yet: it must be a file that waits for them")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"the source must give bytes, not {type(data).__name__}")
        return bytes_of(data)
    if callable(getattr(src, "read_bytes", None)):  # a path in an archive, or a resource of a package
        return bytes_of(src.read_bytes())
    if isinstance(src, bytes) and _names_a_file(src):
        raise TypeError("bytes are the content of a file, not its name: pass os.fsdecode(path)")
    try:
        return bytes_of(src)
    except TypeError as error:
        text, kind = str(error), type(src).__name__
        if text == f"data must be bytes, not {kind}":
            text = f"the source must be a path, a binary file object, a buffer or a URL, not {kind}"
        raise TypeError(text) from None


def _is_buffer(src: Any) -> bool:
    """Whether an object is a buffer, although it has a method read, such as mmap."""
    try:
        with memoryview(src):
            return True
    except TypeError:
        return False


def _names_a_file(data: bytes) -> bool:
    return len(data) <= _LONGEST_PATH and b"\0" not in data and os.path.exists(data)


def _check_binary(file: Any) -> None:
    if hasattr(file, "encoding"):
        raise TypeError("the file is open in text mode: open it in binary mode, or pass its attribute buffer")


def _can(file: Any, ability: str) -> bool:
    ask = getattr(file, ability, None)
    return ask is None or bool(ask())


def _write(dst: Any, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        written = dst.write(rest)
        if written is None and isinstance(dst, io.RawIOBase):
            raise BlockingIOError("the destination takes no bytes now: it must be a file that waits")
        if not isinstance(written, int):  # objects with no more than a method write
            return
        rest = rest[written:]


# URLs


class _Remote:
    """An open file of fsspec. Exceptions of its libraries become `OSError`, with the URL."""

    def __init__(self, url: str, file: Any) -> None:
        self._url = url
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return bytes(_named(self._url, lambda: self._file.read(size)))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(_named(self._url, lambda: self._file.seek(offset, whence)))

    def tell(self) -> int:
        return int(self._file.tell())

    def seekable(self) -> bool:
        return bool(self._file.seekable())


def _named(url: str, function: Callable[[], T]) -> T:
    try:
        return function()
    except (OSError, CodecError, MemoryError):
        raise
    except Exception as error:  # each library has its own exceptions
        raise OSError(f"{url}: {error or type(error).__name__}") from error


def _filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise MissingExtra(f"{url} needs fsspec: pip install fsspec", name="fsspec") from None
    try:
        # Schemes have no case, but fsspec knows those in small letters alone.
        filesystem, path = fsspec.core.url_to_fs(_SCHEME.sub(lambda match: match[0].lower(), url))
    except ImportError as error:  # the library for this scheme
        raise MissingExtra(f"{url} cannot be opened: {error}", name=error.name) from None
    except ValueError as error:
        raise ValueError(f"{url} cannot be opened: {error}") from None
    return filesystem, str(path)


@contextlib.contextmanager
def _open_url(url: str) -> Iterator[_Remote]:
    filesystem, path = _filesystem(url)
    file = _named(url, lambda: filesystem.open(path, "rb"))
    with contextlib.closing(file):
        yield _Remote(url, file)


def _upload(url: str, file: Any, size: int) -> None:
    import fsspec

    filesystem, path = _filesystem(url)
    plain = getattr(filesystem.pipe_file, "__func__", None) is fsspec.AbstractFileSystem.pipe_file
    if not plain and size <= _IN_MEMORY:
        # The file system has a request that writes a whole file.
        data = file.read()
        _named(url, lambda: filesystem.pipe_file(path, data))
        return
    # Without autocommit, the file appears at its place when it is committed.
    out = _named(url, lambda: filesystem.open(path, "wb", autocommit=False))
    try:
        with contextlib.suppress(AttributeError, ValueError):  # it is no part of a transaction
            filesystem.transaction.files.remove(out)
        _named(url, lambda: shutil.copyfileobj(file, out, 1 << 20))
        _named(url, out.close)
        if hasattr(out, "commit"):
            _named(url, out.commit)
    except BaseException:
        with contextlib.suppress(Exception):
            out.discard()
        with contextlib.suppress(Exception):
            out.closed = True  # closing it would complete what is there
        raise
