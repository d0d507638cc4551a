"""Reading cells of wide columns: memory, parts in order, threads, and processes."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import random
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import codec
import codec.data
from codec.data.reading import cells
from codec.data.reading.cache import ByteCache
from codec.data.reading.shards import Shard

ROWS = 96
WIDE = 4000


def wide(row: int) -> bytes:
    return random.Random(row).randbytes(WIDE)


@pytest.fixture(scope="module")
def data() -> bytes:
    return codec.compress(codec.decompress(codec.compress(_gray())), quality=5)


def _gray() -> Any:
    import numpy as np

    return np.full((16, 16), 99, np.uint8)


@pytest.fixture(scope="module")
def file(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two row groups of another engine, with a wide column and two light ones."""
    path: Path = tmp_path_factory.mktemp("cells") / "wide.parquet"
    table = pa.table({
        "image": [{"bytes": data + bytes([row]), "path": f"{row}.png"} for row in range(ROWS)],
        "depth": [wide(row) for row in range(ROWS)],
        "same": [b"s" * WIDE] * ROWS,
        "label": list(range(ROWS)),
    })
    pq.write_table(table, path, row_group_size=ROWS // 2, data_page_size=WIDE, write_batch_size=2)
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Parts of 8 rows, a small cache, and the number of rows of each batch that is read."""
    monkeypatch.setattr(cells, "_PART", 8 * WIDE)
    monkeypatch.setattr(cells, "_LIGHT", 8 * WIDE)
    monkeypatch.setattr(cells, "cache", ByteCache(3 * (8 * WIDE + 5000)))
    monkeypatch.setattr(cells, "_cursors", cells._Cursors())
    read: list[int] = []
    batches = Shard.batches

    def counting(self: Shard, group: int, columns: tuple[str, ...], rows: int) -> Any:
        for batch in batches(self, group, columns, rows):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(Shard, "batches", counting)
    return read


def expected(row: int) -> dict[str, Any]:
    return {"depth": wide(row), "same": b"s" * WIDE, "label": row}


def test_rows_of_wide_columns(file: Path, data: bytes, counted: list[int]) -> None:
    dataset = codec.Dataset(file)
    rows = list(range(ROWS))
    random.Random(2).shuffle(rows)
    for row in [*rows, *range(ROWS), *reversed(range(ROWS))]:
        assert dataset.values(row) == expected(row)
        assert dataset.pathname(row) == f"{row}.png"
        assert dataset.read(row) == data + bytes([row])
        assert cells.cache.size <= cells.cache.limit
    assert [values for _, _, values in dataset.files()] == [expected(row) for row in range(ROWS)]
    assert [path for path, _, _ in dataset.files()] == [f"{row}.png" for row in range(ROWS)]


@pytest.mark.parametrize("columns", [["depth"], ["same"], ["depth", "same", "label"]])
def test_a_row_does_not_keep_its_row_group(file: Path, counted: list[int], columns: list[str]) -> None:
    """Also if equal values are in the file only once, so that the file is small."""
    dataset = codec.Dataset(file, columns=columns)
    for row in (90, 3, 50):
        dataset.values(row)
    assert max(counted) <= ROWS // 2
    assert cells.cache.size < ROWS // 2 * WIDE
    counted.clear()
    dataset.values(51)
    assert counted == []  # in the same part


def test_rows_in_order_are_read_once(file: Path, counted: list[int]) -> None:
    dataset = codec.Dataset(file, columns=["depth"])
    for row in range(ROWS):
        dataset.values(row)
    assert sum(counted) <= 1.2 * ROWS
    counted.clear()
    assert len(list(dataset.files())) == ROWS
    assert sum(counted) == 3 * ROWS  # pictures, paths and values
    light = codec.Dataset(file, columns=["label"])
    counted.clear()
    for row in random.Random(1).sample(range(ROWS), ROWS):
        light.values(row)
    assert sum(counted) == ROWS


def test_groups_of_rows_that_are_empty(data: bytes, tmp_path: Path) -> None:
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])
    with pq.ParquetWriter(tmp_path / "x.parquet", schema) as writer:
        for count in (0, 2, 0, 1):
            writer.write_table(pa.table([[data] * count, [count] * count], schema), row_group_size=2)
    dataset = codec.Dataset(tmp_path)
    assert [values["label"] for _, _, values in dataset.files()] == [2, 2, 1]
    assert [dataset.values(row)["label"] for row in range(3)] == [2, 2, 1]
    pq.write_table(pa.table([[], []], schema), tmp_path / "y.parquet")
    assert len(codec.Dataset(tmp_path)) == 3
    assert list(codec.Dataset(tmp_path / "y.parquet").files()) == []
    assert codec.Dataset(tmp_path / "y.parquet").column("label").to_pylist() == []


def test_a_cache_is_limited_in_bytes() -> None:
    cache = ByteCache(100_000)
    made: list[int] = []

    def make(size: int) -> tuple[int, int]:
        made.append(size)
        return size, size

    cache.get("small", lambda: make(1000))
    assert cache.get("large", lambda: make(100_000)) == 100_000
    cache.get("small", lambda: make(1000))
    assert made == [1000, 100_000]
    for key in range(4):
        cache.get(key, lambda: make(30_000))
        assert cache.size <= 100_000
    made.clear()
    cache.get(3, lambda: make(30_000))
    assert made == []
    cache.get(0, lambda: make(30_000))
    assert made == [30_000]


def test_threads_share_the_cache(file: Path, counted: list[int]) -> None:
    dataset = codec.Dataset(file)
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        start = rng.randrange(ROWS)
        for step in range(60):
            row = (start + step) % ROWS if seed % 2 else rng.randrange(ROWS)
            if dataset.values(row) != expected(row):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cells.cache.size <= cells.cache.limit


def _in_child(dataset: codec.Dataset, rows: list[int], results: Any) -> None:
    results.put([dataset.values(row)["label"] for row in rows])


def test_a_fork_while_the_cache_is_locked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread holds all locks when the process is forked. The child reads nevertheless."""
    dataset = codec.Dataset(file)
    dataset.values(5)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    monkeypatch.delattr(os, "pread")
    with cells.cache._lock, cells._cursors._lock:
        child = context.Process(target=_in_child, args=(dataset, [7, 60, 8], results))
        child.start()
        try:
            assert results.get(timeout=20) == [7, 60, 8]
        finally:
            child.kill()
            child.join()


def test_copies_of_a_dataset(file: Path, data: bytes) -> None:
    dataset = codec.Dataset(file)
    dataset.values(70)
    dataset.read(70)
    for other in (copy.deepcopy(dataset), copy.copy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert other.values(71) == expected(71)
        assert other.read(71) == data + bytes([71])
        assert other.schema.equals(dataset.schema)
