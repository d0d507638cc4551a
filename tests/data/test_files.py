"""Files of datasets: systems without pread, short reads, files that change, and fsspec."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import codec
import codec.data
from codec.data.reading import files
from tests.support.pictures import textured

COUNT = 6


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [codec.compress(textured(16, 16, number), quality=5) for number in range(COUNT)]


@pytest.fixture
def packed(pictures: list[bytes], tmp_path: Path) -> Path:
    items = [{"image": data, "label": n, "path": f"{n}.png"} for n, data in enumerate(pictures)]
    codec.data.pack(items, tmp_path / "set", shard_rows=4)
    return tmp_path / "set"


def read_all(dataset: codec.Dataset) -> list[bytes]:
    assert all(shard._place(0) is not None for shard in dataset.shards)  # not read by pyarrow
    assert [dataset.values(index)["label"] for index in range(COUNT)] == list(range(COUNT))
    assert [dataset.pathname(index) for index in range(COUNT)] == [f"{n}.png" for n in range(COUNT)]
    in_order = [data for _, data, _ in dataset.files()]
    assert in_order == [dataset.read(index) for index in range(COUNT)]
    return in_order


def test_without_pread(packed: Path, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pread", "O_CLOEXEC"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "O_BINARY", 0, raising=False)
    assert read_all(codec.Dataset(packed)) == pictures


@pytest.mark.parametrize("pread", [True, False])
def test_short_reads(
    packed: Path, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch, pread: bool
) -> None:
    """A file system may return fewer bytes than were asked for."""
    if pread:
        whole = os.pread
        monkeypatch.setattr(os, "pread", lambda number, length, start: whole(number, min(length, 7), start))
    else:
        monkeypatch.delattr(os, "pread")
        read = os.read
        monkeypatch.setattr(os, "read", lambda number, length: read(number, min(length, 7)))
    assert read_all(codec.Dataset(packed)) == pictures


def test_a_file_that_was_cut_after_it_was_opened(packed: Path) -> None:
    dataset = codec.Dataset(packed)
    dataset.read(0)
    shard = packed / "shard-00000.parquet"
    os.truncate(shard, 100)
    with pytest.raises(codec.FormatError, match=r"shard-00000\.parquet ends before byte [0-9]+: it was cut"):
        dataset.read(3)
    with pytest.raises(codec.FormatError, match=r"shard-00000\.parquet"):
        dataset.values(3)
    assert dataset.values(5)["label"] == 5


def test_errors_of_the_disk_are_not_damage(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = codec.Dataset(packed)

    def fails(number: int, length: int, start: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(OSError, match="Input/output error"):
        dataset.read(1)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are bytes only there")
def test_names_that_are_no_utf8(packed: Path, pictures: list[bytes], tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    packed.rename(folder)
    (folder / "shard-00001.parquet").rename(folder / os.fsdecode(b"\xff.parquet"))
    assert read_all(codec.Dataset(folder)) == pictures


def test_few_files_stay_open(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        read_all(codec.Dataset(packed))
    files._opened.cache_clear()
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def memory(packed: Path) -> Iterator[Any]:
    import fsspec
    system = fsspec.filesystem("memory")
    system.put(os.fspath(packed), "/bucket/set", recursive=True)
    yield system
    system.rm("/bucket", recursive=True)


def test_urls(memory: Any, pictures: list[bytes]) -> None:
    dataset = codec.Dataset("memory://bucket/set")
    assert read_all(dataset) == pictures
    assert read_all(pickle.loads(pickle.dumps(dataset))) == pictures
    assert repr(dataset).startswith("Dataset('memory://bucket/set', 6 pictures")
    assert len(codec.Dataset("memory://bucket/set/shard-*.parquet")) == COUNT
    assert len(codec.Dataset("memory://bucket/set/shard-00001.parquet")) == 2
    assert len(codec.Dataset("memory://bucket")) == COUNT  # the only folder in a folder
    assert list(codec.data.verify("memory://bucket/set")) == []
    memory.mv("/bucket/set/shard-00001.parquet", "/bucket/hive/fold=7/a.parquet")
    assert codec.Dataset("memory://bucket/hive/", partial=True).values(0) == {"label": 4, "fold": 7}
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        codec.Dataset("memory://bucket/nothing")


def test_urls_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsspec", "fsspec.core"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(codec.MissingExtra, match="s3://bucket/set is a URL, which needs fsspec"):
        codec.Dataset("s3://bucket/set")
