"""Damaged, changed, incomplete and malicious datasets, and truncated or circular sources."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import codec
import codec.data
from codec.data.reading import files
from codec.data.sums import SUMS
from codec.engine.batch_decoding import is_plain
from codec.format import container
from tests.data.test_dataset import make_tree, picture, rewritten
from tests.support.pictures import textured


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("hostile")
    make_tree(root / "source")
    codec.data.pack(root / "source", root / "set", quality=40, shard_rows=8)
    return root / "set"


@pytest.mark.parametrize("pread", [True, False])
def test_threads_read_what_they_ask_for(packed: Path, pread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads read the right rows although files are closed and opened all the time."""
    few = functools.lru_cache(maxsize=1)(files._opened.__wrapped__)
    monkeypatch.setattr(files, "_opened", few)
    if not pread:
        monkeypatch.delattr(os, "pread")
    dataset = codec.Dataset(packed)
    expected = [dataset.read(index) for index in range(24)]
    wrong: list[object] = []
    until = time.monotonic() + 0.6

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < until:
            index = rng.randrange(24)
            try:
                if dataset.read(index) != expected[index]:
                    wrong.append(index)
            except OSError as error:
                wrong.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_residuals_are_not_left_out_in_batches() -> None:
    header = container.read(memoryview(codec.compress(textured(40, 40), quality=40))).header
    assert is_plain(header)
    tiles = header.tiles
    more = {"residual": tiles, "alpha": tiles, "depth": 10, "stored": True}
    for name, value in more.items():
        changed = dataclasses.replace(header, **{name: value})  # type: ignore[arg-type]
        assert not is_plain(changed), name


FEW_FILES = """
import resource, sys
import codec, codec.data
if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    dataset = codec.Dataset(sys.argv[1])
    print(sum(len(batch["n"]) for batch in codec.data.loader(dataset, 150, num_workers=1)))
"""


def test_large_batches_need_few_open_files(tmp_path: Path) -> None:
    data = codec.compress(textured(16, 16), quality=5)
    codec.data.pack([{"image": data, "n": n} for n in range(450)], tmp_path / "set")
    (tmp_path / "few.py").write_text(FEW_FILES)
    command = [sys.executable, str(tmp_path / "few.py"), str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("450\n", 0), done.stderr


def make_tar(path: Path, count: int = 6) -> list[int]:
    """Write a tar file of pictures and labels. Return the offset of each member."""
    png = io.BytesIO()
    PIL.Image.fromarray(picture(0)).save(png, "png")
    starts = []
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            for extension, data in (("png", png.getvalue()), ("cls", str(number).encode())):
                starts.append(tar.offset)
                info = tarfile.TarInfo(f"{number:04d}.{extension}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return starts


def test_tars_that_are_cut_or_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    starts = make_tar(path)
    whole = path.read_bytes()
    assert codec.data.pack(path, tmp_path / "set", quality=5).pictures == 6
    flipped = bytearray(whole)
    flipped[starts[8] + 150] ^= 1
    cut = [whole[: starts[8]], whole[: starts[8] + 100], whole[: starts[8] + 600], whole[: starts[9]]]
    for data in (bytes(flipped), *cut, whole + whole):
        path.write_bytes(data)
        with pytest.raises(codec.FormatError, match=r"damaged, truncated, or more than one|unexpected end"):
            codec.data.pack(path, tmp_path / "other")


def test_odd_samples_of_tars_are_listed(tmp_path: Path) -> None:
    png = io.BytesIO()
    PIL.Image.fromarray(picture(0)).save(png, "png")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        for key, members in {
            "0": {"cls": b"1" * 30}, "1": {"json": b"[" * 100_000},
            "2": {"json": b'{"path": "\\ud800"}'},
            "3": {"label": b"x", "image": b"y", "image.bytes": b"z", "cls": b"3"},
        }.items():
            add(f"{key}.png", png.getvalue())
            for extension, data in members.items():
                add(f"{key}.{extension}", data)
        link = tarfile.TarInfo("4.png")
        link.type, link.linkname = tarfile.LNKTYPE, "3.png"
        tar.addfile(link)
    report = codec.data.pack(tmp_path / "a.tar", tmp_path / "set", quality=5)
    assert report.ignored == []
    assert [failure["path"] for failure in report.failures] == ["0.png"]
    assert report.pictures == 4
    found = codec.Dataset(tmp_path / "set").values(2)
    assert found["label"] == 3
    assert {found[name] for name in found if isinstance(found[name], bytes)} == {b"x", b"y", b"z"}


def test_going_on_with_something_else_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_tree(source, 6)
    codec.data.pack(source, tmp_path / "set", quality=5, shard_rows=3)
    with pytest.raises(codec.FormatError, match="metadata False, not True"):
        codec.data.pack(source, tmp_path / "set", quality=5, shard_rows=3, metadata=True)
    limits = codec.Limits(max_pixels=99)
    with pytest.raises(codec.FormatError, match="max_pixels"):
        codec.data.pack(source, tmp_path / "set", quality=5, shard_rows=3, limits=limits)
    (source / "cat").rename(source / "dog")  # the first shard has no row of this class
    (tmp_path / "set" / "shard-00001.parquet").unlink()
    with pytest.raises(codec.FormatError, match="different columns or classes than the source"):
        codec.data.pack(source, tmp_path / "set", quality=5, shard_rows=3)


def test_iterables_that_changed_are_noticed(tmp_path: Path) -> None:
    data = codec.compress(textured(16, 16), quality=5)

    def items(count: int) -> Any:
        return ({"image": data, "n": number} for number in range(count))

    codec.data.pack(items(5), tmp_path / "set", shard_rows=2)
    with pytest.raises(codec.FormatError, match="shard_rows 2, not 4"):
        codec.data.pack(items(5), tmp_path / "set", shard_rows=4)
    with pytest.raises(codec.FormatError, match=r"more items than when shard-00002\.parquet was made"):
        codec.data.pack(items(9), tmp_path / "set", shard_rows=2)
    (tmp_path / "set" / "shard-00002.parquet").unlink()
    codec.data.pack(items(9), tmp_path / "set", shard_rows=2)
    assert codec.Dataset(tmp_path / "set").column("n").to_pylist() == list(range(9))
    assert list(codec.data.verify(tmp_path / "set")) == []
    (tmp_path / "set" / "shard-00001.parquet").unlink()
    with pytest.raises(codec.FormatError, match="1 of 5 shards are missing, the first is number 1"):
        codec.Dataset(tmp_path / "set")


def test_a_shard_that_was_deleted_and_packed_again_is_whole(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_tree(source, 6)
    codec.data.pack(source, tmp_path / "set", quality=5, shard_rows=3)
    PIL.Image.fromarray(picture(7)).save(source / "cat" / "005.png")
    (tmp_path / "set" / "shard-00001.parquet").unlink()
    codec.data.pack(source, tmp_path / "set", quality=5, shard_rows=3)
    assert list(codec.data.verify(tmp_path / "set")) == []


def test_copied_and_renamed_shards(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(packed, folder)
    (folder / "shard-00000.parquet").rename(folder / "z.parquet")
    assert codec.Dataset(folder).pathname(0) == "bird/000.png"
    shutil.copy(folder / "z.parquet", folder / "copy.parquet")
    with pytest.raises(codec.FormatError, match=r"copy\.parquet and z\.parquet are the same shard"):
        codec.Dataset(folder)
    (folder / "copy.parquet").unlink()
    pq.write_table(pq.read_table(folder / "z.parquet"), folder / "z.parquet")
    with pytest.raises(codec.FormatError, match=r"z\.parquet does not contain its shard number, but"):
        codec.Dataset(folder)


def test_flipped_labels_and_names_are_noticed(packed: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    whole = (packed / "shard-00000.parquet").read_bytes()
    file.write_bytes(whole)
    dataset = codec.Dataset(file)
    expected = [(dataset.values(row), dataset.pathname(row)) for row in range(8)]
    place = dataset.shards[0]._place(7)
    assert place is not None
    noticed = 0
    for position in range(sum(place), sum(place) + 250, 3):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        file.write_bytes(changed)
        try:
            dataset = codec.Dataset(file)
            assert [(dataset.values(row), dataset.pathname(row)) for row in range(8)] == expected
        except codec.FormatError:
            noticed += 1
    assert noticed > 30


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "change",
    [
        {"shards": 10**10}, {"shards": -1}, {"shards": "abc"}, {"shards": 1.5}, {"column": 5},
        {"column": "nope"}, {"column": "label"}, {"column": None}, {"quality": []},
        {"quality": float("nan")}, {"rows": 5}, {"shard_rows": "x"}, {"metadata": 1},
    ],
    ids=str,
)
def test_settings_that_lie(packed: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    shutil.copytree(packed, tmp_path / "set")
    for file in (tmp_path / "set").glob("*.parquet"):
        fields = json.loads(pq.read_schema(file).metadata[b"codec"])
        rewritten(file, {b"codec": json.dumps({**fields, **change}).encode()})
    with pytest.raises(codec.FormatError):
        codec.Dataset(tmp_path / "set")
    assert list(codec.data.verify(tmp_path / "set"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"codec", DEEP), (b"codec.shard", DEEP), (b"huggingface", DEEP),
        (b"codec.shard", b'{"number": []}'), (b"codec.shard", b'{"lengths": 5}'),
        (b"codec.shard", b'{"marks": 5}'), (b"codec.shard", b'{"items": -1}'),
    ],
)
def test_footers_that_lie(packed: Path, tmp_path: Path, key: bytes, value: bytes) -> None:
    file = tmp_path / "x.parquet"
    shutil.copy(packed / "shard-00000.parquet", file)
    rewritten(file, {key: value})
    with pytest.raises(codec.FormatError):
        codec.Dataset(file)


def test_features_that_are_none_do_no_harm(packed: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    for value in (b'{"info": {"features": [1]}}', b'{"info": 5}', b"{}"):
        shutil.copy(packed / "shard-00000.parquet", file)
        rewritten(file, {b"huggingface": value})
        assert codec.Dataset(file).classes is None


def test_rows_that_moved_are_found(packed: Path, tmp_path: Path) -> None:
    """The shards are uncompressed and have our footer metadata, as when `pack` writes them.

    However, each row is a page of its own, or the rows are in another order.
    """
    path, original = tmp_path / "x.parquet", packed / "shard-00000.parquet"
    table = pq.read_table(original)
    own = {b"codec.shard": pq.read_metadata(original).metadata[b"codec.shard"]}
    table = table.replace_schema_metadata({**table.schema.metadata, **own})
    options = {"compression": "none", "use_dictionary": False, "write_batch_size": 1}
    encoding = {"image.bytes": "DELTA_LENGTH_BYTE_ARRAY"}
    for changed in (table, table.take(list(range(7, -1, -1)))):
        pq.write_table(changed, path, column_encoding=encoding, max_rows_per_page=1, **options)
        dataset = codec.Dataset(path)
        assert len(dataset.shards[0]._find_starts()) == 8
        assert dataset.shards[0]._place(0) is None
        wanted = changed["image"].to_pylist()
        assert [dataset.read(row) for row in range(8)] == [image["bytes"] for image in wanted]


def test_a_missing_picture_does_not_hide_the_others(tmp_path: Path) -> None:
    data = codec.compress(textured(16, 16), quality=5)
    pq.write_table(pa.table({"image": pa.array([data, None, data], pa.binary())}), tmp_path / "x.parquet")
    dataset = codec.Dataset(tmp_path / "x.parquet")
    assert dataset.read(0) == dataset.read(2) == data
    for read in (lambda: dataset[1], lambda: list(dataset.files())):
        with pytest.raises(codec.FormatError, match=r"x\.parquet: row 1 has no picture"):
            read()


@pytest.mark.parametrize(
    "table",
    [
        {"image": [1, 2]},
        {"image": ["a", "b"]},
        {"image": pa.array([{"bytes": "text"}])},
        {"image": pa.array([{"bytes": [1]}])},
    ],
    ids=lambda table: str(table["image"])[:20],
)
def test_columns_of_something_else(tmp_path: Path, table: dict[str, Any]) -> None:
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    with pytest.raises(codec.FormatError, match=r"not pictures|no column holds pictures"):
        codec.Dataset(tmp_path / "x.parquet")


def test_bad_values_of_columns_are_listed(tmp_path: Path) -> None:
    data = codec.compress(textured(16, 16), quality=5)
    items: list[dict[str, Any]] = [
        {"image": data, "n": 1}, {"image": data, "n": "text"}, {"n": 3}, {"image": data, "n": 10**30},
        {"image": data, "n": 4, "path": "\ud800"}, {"image": data, "n": None}, {"image": data},
    ]
    report = codec.data.pack(items, tmp_path / "set")
    assert (report.pictures, len(report.failures)) == (3, 4)
    assert codec.Dataset(tmp_path / "set").column("n").to_pylist() == [1, None, None]
    codec.data.pack([{"image": data, "n": None}], tmp_path / "other")
    assert codec.Dataset(tmp_path / "other").column("n").to_pylist() == [None]


def test_limits_and_models_of_files_that_are_taken_as_they_are(tmp_path: Path, tiny: codec.Codec) -> None:
    items = [
        {"image": codec.compress(textured(40, 40), quality=5)},
        {"image": codec.compress(textured(50, 50), quality=5)},
        {"image": tiny.compress(textured(30, 30), quality=40)},
    ]
    report = codec.data.pack(items, tmp_path / "set", limits=codec.Limits(max_pixels=2000))
    assert report.pictures == 1
    errors = [failure["error"] for failure in report.failures]
    assert "over the limit" in errors[0]
    assert "which is not installed" in errors[1]


def test_bare_sets_are_sources_too(tmp_path: Path) -> None:
    make_tree(tmp_path / "source", 4)
    codec.data.pack(tmp_path / "source", tmp_path / "bare", quality=40, bare=True)
    codec.data.pack(tmp_path / "bare", tmp_path / "whole")
    bare, whole = codec.Dataset(tmp_path / "bare"), codec.Dataset(tmp_path / "whole")
    assert [whole.read(index) for index in range(4)] == [bare.read(index) for index in range(4)]
    assert whole.classes == bare.classes


def test_unpacking_loses_nothing(tmp_path: Path) -> None:
    data = codec.compress(textured(16, 16), quality=5)
    paths = ["00000001.png", "../evil.png", "00000001_2.png", "x/../y.png"]
    items = [
        {"image": data, "path": path, "file_name": "mine", "raw": bytes([number])}
        for number, path in enumerate(paths)
    ]
    codec.data.pack(items, tmp_path / "set")
    dataset = codec.Dataset(tmp_path / "set")
    for _ in range(2):
        assert codec.data.unpack(dataset, tmp_path / "out", suffix=".cae", force=True) == []
        lines = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
        assert len({line["file_name"] for line in lines}) == 4
        assert all((tmp_path / "out" / line["file_name"]).read_bytes() == data for line in lines)
        assert [line["raw"] for line in lines] == ["AA==", "AQ==", "Ag==", "Aw=="]
        assert all(line["file_name_"] == "mine" for line in lines)
    with pytest.raises(FileExistsError, match="already exists"):
        codec.data.unpack(dataset, tmp_path / "out", suffix=".png")


def test_many_files_of_a_source_are_not_kept_open(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for number in range(30):
        shutil.copy(packed / "shard-00000.parquet", tmp_path / "source" / f"{number:02d}.parquet")
    before = len(os.listdir("/proc/self/fd"))
    counts = []

    def progress(report: codec.data.Report) -> None:
        counts.append(len(os.listdir("/proc/self/fd")))

    report = codec.data.pack(tmp_path / "source", tmp_path / "set", progress=progress)
    assert report.pictures == 240
    assert max(counts) < before + 20


def test_rows_are_named_where_they_are_damaged(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "set")
    place = codec.Dataset(tmp_path / "set").shards[1]._place(5)
    assert place is not None
    with open(tmp_path / "set" / "shard-00001.parquet", "r+b") as file:
        file.seek(place[0] + place[1] - 3)
        file.write(b"\xff\xff")
    dataset = codec.Dataset(tmp_path / "set")
    message = r"^shard-00001\.parquet: row 5: tile 0 of 1 is damaged"
    for read in (lambda: dataset[13], lambda: dataset[10:16], lambda: list(dataset)):
        with pytest.raises(codec.ChecksumMismatch, match=message):
            read()
    # The other rows of a group can be read even if its first row is damaged.
    place = dataset.shards[0]._place(0)
    assert place is not None
    with open(tmp_path / "set" / "shard-00000.parquet", "r+b") as file:
        file.seek(place[0] + place[1] - 3)
        file.write(b"\xff\xff")
    dataset = codec.Dataset(tmp_path / "set")
    intact = codec.Dataset(packed)
    assert [dataset.read(row) for row in range(1, 8)] == [intact.read(row) for row in range(1, 8)]
    with pytest.raises(codec.ChecksumMismatch, match="row 0"):
        dataset[0]
    assert (tmp_path / "set" / SUMS).exists()
    assert np.array_equal(dataset[1]["image"], intact[1]["image"])
