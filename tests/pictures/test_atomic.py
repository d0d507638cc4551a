"""Tests of `encode`, `decode` and atomic writing."""

from __future__ import annotations

import io
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import codec
from codec.format.readable import OpenFile
from codec.pictures import atomic
from codec.training.data import read_rgb
from tests.support.pictures import textured


def test_encode_and_decode(tmp_path: Path) -> None:
    source, packed, back = (tmp_path / name for name in ("a.png", "a.cae", "b.png"))
    Image.fromarray(textured(40, 30)).save(source)
    codec.encode(source, packed, quality=40)
    codec.decode(packed, back)
    expected = codec.decompress(codec.compress(read_rgb(source), quality=40))
    assert np.array_equal(read_rgb(back), expected)
    codec.decode(str(packed), str(tmp_path / "c.jpg"))
    assert read_rgb(tmp_path / "c.jpg").shape == (40, 30, 3)


class SlowFile(io.FileIO):
    """A file that lets other threads run between a seek and the read that follows it."""

    def seek(self, *args: int) -> int:
        place = super().seek(*args)
        time.sleep(0.001)
        return place


def test_an_open_file_is_read_by_many_threads(tmp_path: Path) -> None:
    """Tiles are decoded in parallel, so no thread may move the file position of another thread."""
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(100)))
    with SlowFile(path) as file, ThreadPoolExecutor(4) as executor:
        data = OpenFile(file)
        found = list(executor.map(lambda at: data[at : at + 1], range(100)))
    assert found == [bytes([at]) for at in range(100)]


def test_errors_leave_nothing_behind(tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    with pytest.raises(codec.InvalidImage):
        codec.encode(text, tmp_path / "out.cae")
    with pytest.raises(FileNotFoundError):
        codec.encode(tmp_path / "missing.png", tmp_path / "out.cae")
    with pytest.raises(codec.FormatError):
        codec.decode(text, tmp_path / "out.png")
    with pytest.raises(ValueError, match="xyz"):
        codec.decode(text, tmp_path / "out.xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["text.png"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"old")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def fail(descriptor: int, error: BaseException = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(type(error)):
                atomic.write_atomically(target, b"new")
        assert target.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 1


def test_permissions_and_links(tmp_path: Path) -> None:
    target = tmp_path / "file"
    link = tmp_path / "link"
    atomic.write_atomically(target, b"1")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    target.chmod(0o640)
    link.symlink_to(target)
    atomic.write_atomically(link, b"2")
    assert link.is_symlink()
    assert target.read_bytes() == b"2"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_pipes_are_written_to_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic.write_atomically(pipe, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    with pytest.raises(IsADirectoryError):
        atomic.write_atomically(tmp_path, b"")


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic.write_atomically(tmp_path / "no" / "file", b"")
