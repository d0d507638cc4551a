"""Sources and destinations: paths, file objects, members of archives, buffers and URLs."""

# ruff: noqa: SIM115 - the functions under test get open files

from __future__ import annotations

import array
import contextlib
import gzip
import io
import mmap
import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

import codec
from codec.pictures import streams
from tests.support.pictures import textured

MEMORY = fsspec.filesystem("memory")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture and its file, alone and in archives."""
    path = tmp_path_factory.mktemp("streams")
    Image.fromarray(textured(48, 64)).save(path / "a.png")
    codec.encode(path / "a.png", path / "a.cae", quality=30)
    with zipfile.ZipFile(path / "a.zip", "w") as archive:
        archive.write(path / "a.png", "a.png")
        archive.write(path / "a.cae", "a.cae")
    for name in ("a.png", "a.cae"):
        with gzip.open(path / f"{name}.gz", "wb") as file:
            file.write((path / name).read_bytes())
    return path


@pytest.fixture(scope="module")
def data(folder: Path) -> bytes:
    return (folder / "a.cae").read_bytes()


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    MEMORY.store.clear()


def encoded(src: Any) -> bytes:
    out = io.BytesIO()
    codec.encode(src, out, quality=30)
    assert not out.closed
    return out.getvalue()


def decoded(src: Any, **options: Any) -> Any:
    out = io.BytesIO()
    codec.decode(src, out, format="npy", **options)
    return np.load(io.BytesIO(out.getvalue()))


class OnlyRead:
    """A file object with no more than the method read."""

    def __init__(self, path: Path) -> None:
        self._file = io.BytesIO(path.read_bytes())

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)


def mapped(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def in_the_middle(path: Path) -> io.BytesIO:
    file = io.BytesIO(b"something else" + path.read_bytes())
    file.seek(14)
    return file


def spooled(path: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()
    file.write(path.read_bytes())
    file.seek(0)
    return file


def piped(path: Path) -> Any:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as file:
            file.write(path.read_bytes())

    threading.Thread(target=write).start()
    return os.fdopen(reading, "rb")


def in_memory(path: Path) -> str:
    MEMORY.pipe_file(f"/{path.name}", path.read_bytes())
    return f"memory://{path.name}"


SOURCES: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "name": str,
    "path of bytes": lambda path: next(
        entry for entry in os.scandir(os.fsencode(path.parent)) if entry.name == os.fsencode(path.name)
    ),
    "file": lambda path: open(path, "rb"),
    "file without a buffer": lambda path: open(path, "rb", buffering=0),
    "file to read and write": lambda path: open(path, "r+b"),
    "middle of a file": in_the_middle,
    "member of a zip file": lambda path: zipfile.ZipFile(path.with_suffix(".zip")).open(path.name),
    "path in a zip file": lambda path: zipfile.Path(path.with_suffix(".zip"), path.name),
    "gzip": lambda path: gzip.open(f"{path}.gz"),
    "temporary file": spooled,
    "pipe": piped,
    "object with a method read": OnlyRead,
    "bytes": Path.read_bytes,
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "array.array": lambda path: array.array("B", path.read_bytes()),
    "mmap": mapped,
    "uint8": lambda path: np.frombuffer(path.read_bytes(), np.uint8),
    "memory map": lambda path: np.memmap(path, np.uint8, "r"),
    "void": lambda path: np.void(path.read_bytes()),
    "pyarrow.Buffer": lambda path: pa.py_buffer(path.read_bytes()),
    "tensor": lambda path: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8),
    "URL": in_memory,
    "URL in capitals": lambda path: in_memory(path).replace("memory", "MEMORY"),
    "chain of URLs": lambda path: f"zip://{path.name}::file://{path.with_suffix('.zip')}",
    "chain in capitals": lambda path: f"ZIP://{path.name}::FILE://{path.with_suffix('.zip')}",
    "file URL": Path.as_uri,
}
BUFFERS = [
    "bytes", "bytearray", "memoryview", "array.array", "mmap", "uint8", "memory map", "void",
    "pyarrow.Buffer", "tensor",
]


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # files that the test opens
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_sources(kind: str, folder: Path, data: bytes) -> None:
    source = SOURCES[kind](folder / "a.png")
    assert encoded(source) == data
    if isinstance(source, io.IOBase):
        assert not source.closed
    expected = codec.decompress(data)
    assert np.array_equal(decoded(SOURCES[kind](folder / "a.cae")), expected)
    part = decoded(SOURCES[kind](folder / "a.cae"), region=(3, 4, 20, 30))
    assert np.array_equal(part, expected[3:23, 4:34])


@pytest.mark.parametrize("kind", BUFFERS)
def test_any_buffer(kind: str, folder: Path, data: bytes) -> None:
    source = SOURCES[kind](folder / "a.cae")
    assert np.array_equal(codec.decompress(source), codec.decompress(data))
    assert codec.inspect(source) == codec.inspect(data)
    codec.verify(source)
    assert not codec.read_metadata(source)
    assert len(codec.Codec().decompress_batch([source, data])) == 2


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("a.cae", r"not str: pass the content of the file"),
        (Path("a.cae"), r"Path: pass the content of the file"),
        (io.BytesIO(b"x"), "not BytesIO: pass what its method read returns"),
        (np.zeros((4, 5, 3), np.uint8), "not an array of 4×5×3 samples: codec.compress"),
        (np.zeros((4, 5), np.uint8), "not an array of 4×5 samples"),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), "not an array of 3×4×5 samples"),
        (np.zeros(9, np.float32), "not an array of float32"),
        (np.zeros(9, np.uint16), "not an array of uint16"),
        (np.array(b"text"), "not an array of"),
        (np.zeros(9, np.uint8)[::2], "a buffer with gaps"),
        (memoryview(b"123456")[::2], "a buffer with gaps"),
        ([1, 2], "not list"),
        (None, "not NoneType"),
    ],
)
def test_what_is_no_buffer_of_bytes(source: Any, says: str) -> None:
    for function in (codec.decompress, codec.inspect, codec.verify, codec.read_metadata):
        with pytest.raises(TypeError, match=says):
            function(source)


def test_buffers_of_other_forms() -> None:
    files = (codec.compress(np.zeros((9, side), np.uint8)) for side in range(1, 400))
    data = next(file for file in files if len(file) % 4 == 0)
    for view in (memoryview(data).cast("f"), memoryview(data).cast("B", (2, len(data) // 2))):
        assert codec.decompress(view).shape[0] == 9
    with pytest.raises(codec.FormatError, match="signature"):
        codec.decompress(np.empty(0, np.uint8))


@pytest.mark.parametrize(
    ("source", "error", "says"),
    [
        (lambda path: io.StringIO("text"), TypeError, "text mode"),
        (lambda path: os.fsencode(path / "a.png"), TypeError, r"not its name: pass os\.fsdecode"),
        (lambda path: textured(9, 9), TypeError, "9×9×3 samples: codec.compress"),
        (lambda path: Image.new("L", (9, 9)), TypeError, "a buffer or a URL, not Image"),
        (lambda path: 3, TypeError, "not int"),
        (lambda path: "memory://missing.png", FileNotFoundError, "missing"),
        (lambda path: "nothing://a", ValueError, "nothing://a cannot be opened: Protocol not known"),
        (lambda path: "file://elsewhere/a.png", ValueError, "on another machine"),
        (lambda path: "C:/a.png", FileNotFoundError, "C:/a.png"),  # a drive, and no scheme
        (lambda path: "C://a.png", FileNotFoundError, "C://a.png"),
        (lambda path: path, IsADirectoryError, "directory"),
    ],
)
def test_sources_that_are_refused(
    folder: Path, tmp_path: Path, source: Callable[[Path], Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        codec.encode(source(folder), tmp_path / "x.cae")
    with pytest.raises(error, match=says):
        codec.decode(source(folder), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_read_or_written(folder: Path, tmp_path: Path) -> None:
    with open(folder / "a.png", encoding="latin-1") as text, pytest.raises(TypeError, match="text mode"):
        codec.encode(text, tmp_path / "x.cae")  # type: ignore[arg-type]
    with open(tmp_path / "out", "wb") as file, pytest.raises(ValueError, match="not open for reading"):
        codec.encode(file, tmp_path / "x.cae")
    with open(folder / "a.png", "rb") as file, pytest.raises(ValueError, match="not open for writing"):
        codec.encode(folder / "a.png", file)
    with open(tmp_path / "out", "w", encoding="utf-8") as text, pytest.raises(TypeError, match="text mode"):
        codec.encode(folder / "a.png", text)  # type: ignore[arg-type]
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(ValueError, match="closed"):
        codec.encode(closed, tmp_path / "x.cae")
    for wrong in (bytearray(), None, 3):
        with pytest.raises(TypeError, match="destination must be a path"):
            codec.encode(folder / "a.png", wrong)  # type: ignore[arg-type]


# Destinations


class OnlyWrite:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: Any) -> None:
        self.data += bytes(data)


class Slow(io.RawIOBase):
    """A file that takes seven bytes at a time."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.data += bytes(data[:7])
        return min(len(data), 7)


def test_destinations(folder: Path, tmp_path: Path, data: bytes) -> None:
    src = folder / "a.png"
    for dst in (tmp_path / "1", str(tmp_path / "2"), os.fsencode(tmp_path / "3"), (tmp_path / "4").as_uri()):
        codec.encode(src, dst, quality=30)
    with open(tmp_path / "5", "wb") as file:
        codec.encode(src, file, quality=30)
        assert (tmp_path / "5").read_bytes() == data  # nothing is left in a buffer
    with open(tmp_path / "6", "wb", buffering=0) as raw:
        codec.encode(src, raw, quality=30)
    assert [path.read_bytes() == data for path in sorted(tmp_path.iterdir())] == [True] * 6
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive, archive.open("x.cae", "w") as member:
        codec.encode(src, member, quality=30)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.read("x.cae") == data
    for other in (OnlyWrite(), Slow()):
        codec.encode(src, other, quality=30)
        assert other.data == data
    codec.encode(src, "memory://folder/x.cae", quality=30)
    assert MEMORY.cat("/folder/x.cae") == data
    assert not MEMORY.transaction.files


def test_the_format_of_a_destination(folder: Path, tmp_path: Path, data: bytes) -> None:
    with open(tmp_path / "a.png", "wb") as file:
        codec.decode(data, file)
    codec.decode(data, "memory://a.png")
    codec.decode(data, tmp_path / "plain", format=".PNG")
    codec.decode(data, tmp_path / "a.cae", format="png")
    for content in (tmp_path / "a.png", tmp_path / "plain", tmp_path / "a.cae"):
        assert content.read_bytes() == MEMORY.cat("/a.png")
        with Image.open(content, formats=["PNG"]) as image:
            assert np.array_equal(np.asarray(image), codec.decompress(data))
    for nameless in (io.BytesIO(), tmp_path / "b", "memory://b", OnlyWrite()):
        with pytest.raises(ValueError, match="has no extension: choose its format, as with format='png'"):
            codec.decode(data, nameless)
    with gzip.open(tmp_path / "a.png.gz", "wb") as packed, pytest.raises(ValueError, match=r"'\.gz'"):
        codec.decode(data, packed)
    with pytest.raises(ValueError, match=r"cannot write a picture with the extension '\.cae'"):
        codec.decode(data, tmp_path / "b", format="cae")
    with pytest.raises(TypeError, match="format must be"):
        codec.decode(data, tmp_path / "b", format=5)  # type: ignore[arg-type]
    assert not (tmp_path / "b").exists()


def failing() -> Iterator[bytes]:
    yield b"begun"
    raise codec.FormatError("damaged")


@pytest.mark.parametrize("kind", ["path", "file", "URL"])
def test_nothing_is_half_written(tmp_path: Path, kind: str) -> None:
    file = io.BytesIO()
    MEMORY.pipe_file("/x.png", b"old")
    (tmp_path / "x.png").write_bytes(b"old")
    dst = {"path": tmp_path / "x.png", "file": file, "URL": "memory://x.png"}[kind]
    with pytest.raises(codec.FormatError, match="damaged"):
        streams.write_to(dst, failing())
    assert file.getvalue() == b""
    assert (tmp_path / "x.png").read_bytes() == MEMORY.cat("/x.png") == b"old"


def test_an_upload_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old object stays, and the exception of the library becomes an `OSError` with the URL."""
    MEMORY.pipe_file("/x.cae", b"old")

    def fail(*_: Any) -> None:
        raise RuntimeError("connection lost")

    monkeypatch.setattr(type(MEMORY), "pipe_file", fail)
    with pytest.raises(OSError, match=r"memory://x\.cae: connection lost"):
        codec.encode(folder / "a.png", "memory://x.cae")
    assert MEMORY.cat("/x.cae") == b"old"
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFile.read", fail)
    with pytest.raises(OSError, match=r"memory://x\.cae: connection lost"):
        codec.encode("memory://x.cae", io.BytesIO())
    with pytest.raises(OSError, match=r"memory://x\.cae: connection lost"):
        codec.decode("memory://x.cae", io.BytesIO(), format="png")


class Parts(io.BytesIO):
    """A file of a remote file system that appears when it is committed."""

    def __init__(self, broken: bool) -> None:
        super().__init__()
        self.broken = broken
        self.sent: bytes | None = None
        self.content = b""
        self.discarded = False

    def write(self, data: Any, /) -> int:
        if self.broken:
            raise RuntimeError("connection lost")
        return super().write(data)

    def close(self) -> None:
        self.content = self.getvalue() if not self.closed else self.content
        super().close()

    def commit(self) -> None:
        self.sent = self.content

    def discard(self) -> None:
        self.discarded = True


@pytest.mark.parametrize("broken", [False, True])
def test_uploads_in_parts(folder: Path, data: bytes, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    """Where no request writes a whole file, a file is committed only when all of it was sent."""
    monkeypatch.setattr(type(MEMORY), "pipe_file", fsspec.AbstractFileSystem.pipe_file)
    parts = Parts(broken)

    def open_parts(*_: Any, **options: Any) -> Parts:
        assert options["autocommit"] is False
        return parts

    monkeypatch.setattr(type(MEMORY), "open", open_parts)
    with pytest.raises(OSError, match="connection lost") if broken else contextlib.nullcontext():
        codec.encode(folder / "a.png", "memory://x.cae", quality=30)
    assert (parts.sent, parts.discarded) == ((None, True) if broken else (data, False))


@pytest.mark.parametrize("url", ["s3://bucket/a.png", "memory://a.png", "https://a/b.png"])
def test_urls_without_their_library(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    for src, dst in ((url, tmp_path / "x.png"), (tmp_path / "missing", url)):
        for function in (codec.encode, codec.decode):
            with pytest.raises(codec.MissingExtra, match=f"{url} needs fsspec: pip install fsspec"):
                function(src, dst)


def test_a_scheme_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3fs", "boto3"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(codec.MissingExtra, match=r"s3://bucket/a\.png cannot be opened: Install s3fs"):
        codec.encode("s3://bucket/a.png", tmp_path / "x.cae")


def test_only_the_region_is_read_from_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.compress(np.tile(textured(64, 64), (80, 1, 1)), quality=40)
    MEMORY.pipe_file("/a.cae", data)
    sizes: list[int] = []
    read = streams._Remote.read

    def counted(self: Any, size: int = -1) -> bytes:
        found = read(self, size)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(streams._Remote, "read", counted)
    part = decoded("memory://a.cae", region=(0, 0, 9, 9))
    assert part.shape == (9, 9, 3)
    assert 0 < sum(sizes) < len(data) / 2


def test_opened_files_are_closed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an error. Unclosed files are errors in this test suite."""
    for src in (folder / "a.png", folder / "a.cae", "memory://a.png", folder / "missing"):
        with contextlib.suppress(OSError, codec.CodecError):
            codec.encode(src, tmp_path / "x.cae", quality=30)
        with contextlib.suppress(OSError, codec.CodecError):
            codec.decode(src, tmp_path / "x.png")
