"""Tests of datasets: packing, reading any row, resuming after a kill, verifying, and errors."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import codec
import codec.data
from codec.data.packing import shard_writer
from codec.data.sums import SUMS
from tests.support import children
from tests.support.pictures import Pixels, noise, textured

CLASSES = ("bird", "cat")


def picture(number: int) -> Pixels:
    return textured(40 + number % 3, 48, number)


def make_tree(root: Path, count: int = 24) -> dict[str, Pixels]:
    """Write PNG files in two class folders. Return their pixels by name."""
    pictures = {f"{CLASSES[number % 2]}/{number:03d}.png": picture(number) for number in range(count)}
    for name, pixels in pictures.items():
        if not (root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels).save(root / name)
    return dict(sorted(pictures.items()))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("tree") / "source"
    make_tree(root)
    (root / "notes.txt").write_text("not a picture")
    return root


@pytest.fixture(scope="module")
def packed(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three shards of eight pictures each."""
    out: Path = tmp_path_factory.mktemp("packed") / "set"
    codec.data.pack(tree, out, quality=40, shard_rows=8)
    return out


@pytest.fixture(scope="module")
def bare(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("bare") / "set"
    codec.data.pack(tree, out, quality=40, shard_rows=8, bare=True)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_folder_becomes_a_dataset(tree: Path, packed: Path) -> None:
    dataset = codec.Dataset(packed)
    pictures = make_tree(tree)
    assert len(dataset) == len(pictures)
    assert dataset.classes == list(CLASSES)
    assert sorted(contents(packed)) == [SUMS, *(f"shard-{n:05d}.parquet" for n in range(3))]
    every = list(pictures.values())
    batches = [codec.Codec().compress_batch(every[start : start + 8], quality=40) for start in (0, 8, 16)]
    for index, (name, pixels) in enumerate(pictures.items()):
        assert dataset.pathname(index) == name
        assert dataset.read(index) == batches[index // 8][index % 8]
        row = dataset[index]
        assert row["label"] == CLASSES.index(name.split("/")[0])
        assert row["image"].shape == pixels.shape
        assert codec_error(row["image"], pixels) < 20


def codec_error(found: Pixels, wanted: Pixels) -> float:
    return float(np.abs(found.astype(float) - wanted).mean())


def test_rows_in_order_at_random_and_together(packed: Path) -> None:
    dataset = codec.Dataset(packed)
    in_order = list(dataset)
    together = dataset.__getitems__([5, 23, 0])
    for index, row in zip((5, 23, 0), together, strict=True):
        for other in (in_order[index], dataset[index], dataset[index - 24]):
            assert other["label"] == row["label"]
            assert np.abs(other["image"].astype(int) - row["image"]).max() <= 1
    assert len(dataset[2:7]) == 5
    for index in (24, -25):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 24"):
            dataset[index]
    assert [data for _, data, _ in dataset.files()] == [dataset.read(index) for index in range(24)]
    assert dataset.column("label").to_pylist() == [row["label"] for row in in_order]
    with pytest.raises(KeyError, match="no column 'size'"):
        dataset.column("size")
    with pytest.raises(KeyError, match="no column 'size'"):
        codec.Dataset(packed, columns=["size"])
    assert list(codec.Dataset(packed, columns=[])[0]) == ["image"]
    assert codec.Dataset(packed, transform=lambda pixels: pixels.shape)[0]["image"] == (40, 48, 3)


def reads() -> int:
    """Return the number of read system calls of this process so far.

    The call that reads this number is not counted.
    """
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("syscr"):
            return int(line.split()[1])
    raise AssertionError


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count reads")
@pytest.mark.parametrize("kind", ["packed", "bare"])
def test_any_row_is_one_read(kind: str, request: pytest.FixtureRequest) -> None:
    dataset = codec.Dataset(request.getfixturevalue(kind))
    dataset.read(0)  # opens the files that stay open
    own = reads()
    own = reads() - own
    for index in (7, 3, 0, 5):
        before = reads()
        dataset.row(index)
        assert reads() - before - own == 1
    dataset.values(9)
    before = reads()
    dataset.values(12)  # in the same row group, which is cached
    assert reads() - before - own == 0


def test_what_another_tool_wrote_anew_is_still_read(packed: Path, tmp_path: Path) -> None:
    expected = [codec.Dataset(packed).read(index) for index in range(8)]
    table = pq.read_table(packed / "shard-00000.parquet")
    for name, options in {"snappy": {}, "plain": {"compression": "none", "use_dictionary": False}}.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path, **options)
        assert [codec.Dataset(path).read(index) for index in range(8)] == expected
    flat = pa.table({"data": table["image"].combine_chunks().field("bytes"), "n": list(range(8))})
    pq.write_table(flat, tmp_path / "flat.parquet")
    dataset = codec.Dataset(tmp_path / "flat.parquet")
    assert dataset.image_column == "data"
    assert [dataset.read(index) for index in range(8)] == expected
    assert dataset[3]["n"] == 3


def test_small_row_groups_and_large_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "_GROUP_ROWS", 3)
    monkeypatch.setattr(shard_writer, "_GROUP_BYTES", 3000)
    files = [codec.compress(noise(side, side)) for side in (8, 40, 3, 9, 1, 2, 64, 5, 5, 5)]
    codec.data.pack([{"image": data} for data in files], tmp_path / "set")
    dataset = codec.Dataset(tmp_path / "set")
    assert dataset.shards[0].groups > 3
    assert dataset.shards[0]._place(4) is not None
    assert [dataset.read(index) for index in range(10)] == files


def test_packing_again_changes_nothing(tree: Path, packed: Path) -> None:
    before = contents(packed)
    report = codec.data.pack(tree, packed, quality=40, shard_rows=8)
    assert (report.skipped, report.done, report.pictures, report.ignored) == (3, 0, 24, ["notes.txt"])
    assert contents(packed) == before


def test_parts_make_the_same_set(tree: Path, packed: Path, tmp_path: Path) -> None:
    for number in (2, 3, 1):
        codec.data.pack(tree, tmp_path / "set", quality=40, shard_rows=8, part=(number, 3))
    found = contents(tmp_path / "set")
    assert found == contents(packed)


def pack_and_tell(tree: Path, out: Path, sender: Connection) -> None:
    codec.data.pack(tree, out, quality=40, shard_rows=8, progress=lambda report: sender.send_bytes(b"at"))


def test_killed_and_packed_again_it_ends_the_same(tree: Path, packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    for moment in range(4):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = children.start(pack_and_tell, tree, out, sender)
        sender.close()
        with receiver:
            assert receiver.recv_bytes() == b"at"
            time.sleep(0.03 * moment)
            process.kill()
            children.finish(process)
    # The file that a process leaves if it is killed while it writes a shard.
    (out / ".shard-00002.parquet-abc.tmp").write_bytes(b"half")
    (out / "shard-00002.parquet").unlink(missing_ok=True)
    codec.data.pack(tree, out, quality=40, shard_rows=8)
    assert contents(out) == contents(packed)
    assert list(codec.data.verify(out)) == []


def test_an_error_leaves_no_half_shard(tree: Path, tmp_path: Path) -> None:
    def stop(report: codec.data.Report) -> None:
        if report.done > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codec.data.pack(tree, tmp_path / "set", quality=40, shard_rows=8, progress=stop)
    assert sorted(contents(tmp_path / "set")) == [SUMS, "shard-00000.parquet"]
    with pytest.raises(codec.FormatError, match="2 of 3 shards are missing, the first is number 1"):
        codec.Dataset(tmp_path / "set")
    assert len(codec.Dataset(tmp_path / "set", partial=True)) == 8


def test_two_at_once_do_not_write_one_shard(tree: Path, tmp_path: Path) -> None:
    def again(report: codec.data.Report) -> None:
        with pytest.raises(codec.FormatError, match="being written by another process"):
            codec.data.pack(tree, tmp_path / "set", quality=40)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codec.data.pack(tree, tmp_path / "set", quality=40, progress=again)
    assert contents(tmp_path / "set") == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality": 50}, r"quality 40\.\d+, not 50"),
        ({"effort": 1}, "effort 3, not 1"),
        ({"bare": True}, "whole files, not bare rows of 40×48×3"),
        ({"shard_rows": 12}, "shard_rows 8, not 12"),
    ],
)
def test_a_set_packed_otherwise_is_not_mixed(
    tree: Path, packed: Path, change: dict[str, Any], message: str
) -> None:
    options = {"quality": 40, "shard_rows": 8, **change}
    before = contents(packed)
    with pytest.raises(codec.FormatError, match=message):
        codec.data.pack(tree, packed, **options)
    assert contents(packed) == before


def test_a_set_of_another_model_is_not_mixed(tree: Path, packed: Path, tiny_weights: Path) -> None:
    before = contents(packed)
    with pytest.raises(codec.FormatError, match=f"model {codec.Codec().model_id}, not "):
        codec.data.pack(tree, packed, quality=40, shard_rows=8, model=str(tiny_weights))
    assert contents(packed) == before


def test_a_source_that_changed_is_noticed(tmp_path: Path) -> None:
    make_tree(tmp_path / "source", 6)
    codec.data.pack(tmp_path / "source", tmp_path / "set", quality=40, shard_rows=3)
    PIL.Image.fromarray(noise(9, 9)).save(tmp_path / "source" / "cat" / "001.png")
    with pytest.raises(codec.FormatError, match=r"shard-00001\.parquet was made from a different source"):
        codec.data.pack(tmp_path / "source", tmp_path / "set", quality=40, shard_rows=3)


def test_bad_pictures_are_listed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    make_tree(source, 6)
    (source / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    (source / "bird" / "empty.png").write_bytes(b"")
    PIL.Image.new("CMYK", (8, 8)).save(source / "cat" / "ink.jpg")
    damaged = bytearray(codec.compress(picture(0)))
    damaged[-3] ^= 1
    (source / "cat" / "damaged.cae").write_bytes(damaged)
    good = codec.compress(picture(1), quality=10)
    (source / "cat" / "kept.cae").write_bytes(good)
    large = PIL.Image.new("RGB", (300, 300))
    large.save(source / "bird" / "large.png")
    limits = codec.Limits(max_pixels=40_000)
    report = codec.data.pack(source, tmp_path / "set", quality=40, limits=limits)
    bad = {failure["path"]: failure["error"] for failure in report.failures}
    names = ["bird/empty.png", "bird/large.png", "cat/broken.jpg", "cat/damaged.cae", "cat/ink.jpg"]
    assert sorted(bad) == names
    assert "CMYK are not supported" in bad["cat/ink.jpg"]
    assert "damaged" in bad["cat/damaged.cae"]
    assert "over the limit" in bad["bird/large.png"]
    assert report.pictures == 7
    dataset = codec.Dataset(tmp_path / "set")
    paths = [dataset.pathname(index) for index in range(len(dataset))]
    assert not set(paths) & set(bad)
    # A .cae file of the source is copied unchanged, whatever its quality.
    assert dataset.read(paths.index("cat/kept.cae")) == good
    assert dataset.shards[0].account is not None
    assert dataset.shards[0].account.failures == report.failures


def test_a_set_of_bad_pictures_only(tmp_path: Path) -> None:
    items: list[dict[str, Any]] = [{"image": b"no"}, {"image": 5}, {"image": None}]
    report = codec.data.pack(items, tmp_path / "set")
    assert len(report.failures) == 3
    assert len(codec.Dataset(tmp_path / "set")) == 0
    assert list(codec.Dataset(tmp_path / "set")) == []
    assert list(codec.data.verify(tmp_path / "set")) == []


def test_metadata_is_left_out_and_noted_or_kept(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    image = PIL.Image.fromarray(picture(0))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # rotate by 90° to display
    image.save(source / "turned.jpg", exif=exif, icc_profile=b"profile", quality=95)
    image.save(source / "plain.png")
    report = codec.data.pack(source, tmp_path / "without", quality=60)
    assert report.notes == {"exif left out": 1, "icc left out": 1}
    dataset = codec.Dataset(tmp_path / "without")
    assert [row["image"].shape for row in dataset] == [(40, 48, 3), (48, 40, 3)]
    assert not codec.read_metadata(dataset.read(1))
    report = codec.data.pack(source, tmp_path / "with", quality=60, metadata=True)
    assert report.notes == {}
    assert codec.read_metadata(codec.Dataset(tmp_path / "with").read(1)).icc == b"profile"


def test_bare_rows_are_the_same_files(packed: Path, bare: Path) -> None:
    whole, rows = codec.Dataset(packed), codec.Dataset(bare)
    for index in range(24):
        assert rows.read(index) == whole.read(index)
        assert len(rows.row(index)) < len(whole.row(index)) - 25
    assert rows.settings is not None
    assert rows.settings.rows is not None
    assert (rows.settings.rows.height, rows.settings.rows.width) == (40, 48)
    assert [row["label"] for row in rows] == [row["label"] for row in whole]
    assert list(codec.data.verify(bare, decode=True)) == []


def test_pictures_of_every_kind(tmp_path: Path) -> None:
    rgb = picture(0)
    kinds: dict[str, Any] = {
        "gray": rgb[:, :, 0],
        "alpha": np.dstack([rgb, rgb[:, :, :1]]),
        "deep": rgb.astype(np.uint16) * 257,
        "image": PIL.Image.fromarray(rgb),
        "large": textured(1030, 60),
        "one": rgb[:1, :1],
    }
    items = ({"image": kinds[name], "path": name, "n": number} for number, name in enumerate(kinds))
    codec.data.pack(items, tmp_path / "set", quality=95)
    dataset = codec.Dataset(tmp_path / "set")
    for index, (name, value) in enumerate(kinds.items()):
        assert dataset.pathname(index) == name
        found, wanted = dataset[index]["image"], np.asarray(value)
        assert (found.shape, found.dtype, dataset[index]["n"]) == (wanted.shape, wanted.dtype, index)
    for batch in codec.data.loader(dataset, 3):
        for picture_found, index in zip(batch["image"], batch["n"], strict=True):
            pixels = np.asarray(picture_found).transpose(1, 2, 0)
            alone = dataset[int(index)]["image"].reshape(pixels.shape)
            assert np.abs(pixels.astype(int) - alone).max() <= 1


def test_iterables_go_on_too(tmp_path: Path) -> None:
    items = [{"image": picture(number), "text": f"t{number}", "score": number / 2} for number in range(7)]
    report = codec.data.pack(iter(items[:4]), tmp_path / "set", shard_rows=2)
    assert (report.shards, report.pictures) == (2, 4)
    report = codec.data.pack(iter(items), tmp_path / "set", shard_rows=2)
    assert (report.skipped, report.shards, report.pictures) == (2, 4, 7)
    assert [row["text"] for row in codec.Dataset(tmp_path / "set")] == [f"t{number}" for number in range(7)]
    with pytest.raises(TypeError, match='a picture under "image"'):
        codec.data.pack([{"img": picture(0)}], tmp_path / "none")


def test_parquet_with_columns(tmp_path: Path, tree: Path) -> None:
    names = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.png"))
    image: list[dict[str, Any]] = [{"bytes": (tree / name).read_bytes(), "path": name} for name in names]
    image[3] = {"bytes": None, "path": "gone.png"}
    table = pa.table({
        "id": pa.array(range(24), pa.int32()),
        "picture": pa.array(image, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "boxes": pa.array([[[1.5, 2.5], [float(n)]] for n in range(24)]),
        "about": pa.array([{"a": n, "b": {"c": str(n)}} for n in range(24)]),
    })
    (tmp_path / "source").mkdir()
    for number in range(2):
        part = table.slice(12 * number, 12)
        pq.write_table(part, tmp_path / "source" / f"{number}.parquet", row_group_size=5)
    report = codec.data.pack(tmp_path / "source", tmp_path / "set", quality=40, shard_rows=7)
    assert [failure["path"] for failure in report.failures] == ["gone.png"]
    assert "it has a path and no bytes" in report.failures[0]["error"]
    dataset = codec.Dataset(tmp_path / "set")
    kept = [row for row in range(24) if row != 3]
    assert dataset.column("id").to_pylist() == kept
    for index, row in enumerate(kept):
        assert dataset.values(index) == {
            "id": row, "boxes": [[1.5, 2.5], [float(row)]], "about": {"a": row, "b": {"c": str(row)}}
        }
        assert dataset.pathname(index) == names[row]
        assert dataset.image_column == "picture"
    with pytest.raises(codec.FormatError, match="no column 'nothing'"):
        codec.data.pack(tmp_path / "source", tmp_path / "other", column="nothing")


def test_tars_there_and_back(packed: Path, tmp_path: Path) -> None:
    dataset = codec.Dataset(packed)
    assert codec.data.export(dataset, tmp_path / "tars", samples=10) == []
    assert sorted(contents(tmp_path / "tars")) == ["000000.tar", "000001.tar", "000002.tar"]
    with pytest.raises(FileExistsError):
        codec.data.export(dataset, tmp_path / "tars")
    before = contents(tmp_path / "tars")
    codec.data.export(dataset, tmp_path / "tars", samples=10, force=True)
    assert contents(tmp_path / "tars") == before
    codec.data.pack(tmp_path / "tars", tmp_path / "again")
    again = codec.Dataset(tmp_path / "again")
    for index in range(24):
        assert again.read(index) == dataset.read(index)
        assert again.pathname(index) == dataset.pathname(index)
        assert again.values(index)["label"] == dataset.values(index)["label"]
    assert json.loads(again.values(0)["json"])["label_name"] == "bird"


def test_foreign_tars(tmp_path: Path) -> None:
    import tarfile

    def member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))

    png = io.BytesIO()
    PIL.Image.fromarray(picture(0)).save(png, "png")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for key, label in (("a/0001", b"7"), ("a/0002", b"x"), ("b.0", b"")):
            member(tar, f"{key}.PNG", png.getvalue())
            member(tar, f"{key}.cls", label)
            member(tar, f"{key}.txt", "ä".encode())
            member(tar, f"{key}.npy", b"\0\1")
        member(tar, "lonely.txt", b"")
        member(tar, "README", b"")
    report = codec.data.pack(tmp_path / "a.tar", tmp_path / "set", quality=40)
    assert (report.pictures, report.failures) == (3, [])
    dataset = codec.Dataset(tmp_path / "set")
    assert dataset.pathname(2) == "b.0.png"  # its key ends at the first dot
    assert dataset.column("label").to_pylist() == ["7", "x", None]
    assert dataset.values(0)["txt"] == "ä"
    assert dataset.values(0)["npy"] == b"\0\1"
    assert {"a.tar: lonely", "a.tar: README"} <= set(report.ignored)
    (tmp_path / "not.tar").write_bytes(b"not a tar" * 100)
    with pytest.raises(codec.FormatError, match="not an uncompressed tar"):
        codec.data.pack(tmp_path / "not.tar", tmp_path / "none")


def test_unpacking(packed: Path, tree: Path, tmp_path: Path) -> None:
    dataset = codec.Dataset(packed)
    assert codec.data.unpack(dataset, tmp_path / "png") == []
    for index in range(24):
        path = tmp_path / "png" / str(dataset.pathname(index))
        with PIL.Image.open(path) as image:
            assert np.abs(np.asarray(image).astype(int) - dataset[index]["image"]).max() <= 1
    lines = [json.loads(line) for line in (tmp_path / "png" / "metadata.jsonl").read_text().splitlines()]
    assert lines[0] == {"file_name": "bird/000.png", "label": 0, "label_name": "bird"}
    with pytest.raises(FileExistsError, match=r"metadata\.jsonl"):
        codec.data.unpack(dataset, tmp_path / "png")
    (tmp_path / "png" / "metadata.jsonl").unlink()
    failures = codec.data.unpack(dataset, tmp_path / "png")
    assert len(failures) == 24
    assert failures[0]["error"] == "already exists"
    assert codec.data.unpack(dataset, tmp_path / "cae", suffix=".cae") == []
    assert (tmp_path / "cae" / "bird" / "000.cae").read_bytes() == dataset.read(0)
    with pytest.raises(ValueError, match="cannot write a picture"):
        codec.data.unpack(dataset, tmp_path / "x", suffix=".xyz")


def test_names_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    names = [
        "../up.png", "/absolute.png", "a/../../b.png", "same.png", "same.jpg", "same.jpg", "nul\0.png",
        "C:\\x.png", "", ".", "..", "metadata.jsonl", "fine/name.png", None, "a" * 300 + ".png",
    ]
    items = [{"image": picture(0), "path": name, "n": 1} for name in names]
    codec.data.pack(items, tmp_path / "set", quality=5)
    out = tmp_path / "deep" / "out"
    failures = codec.data.unpack(codec.Dataset(tmp_path / "set"), out, suffix=".cae")
    assert [failure["error"] for failure in failures] == ["File name too long"]
    deep = tmp_path / "deep"
    found = sorted(path.relative_to(deep).as_posix() for path in deep.rglob("*.cae"))
    assert len(found) == len(names) - 1
    assert {"out/same.cae", "out/same.jpg.cae", "out/fine/name.cae"} <= set(found)
    assert all(name.startswith("out/") for name in found)
    assert sorted(os.listdir(tmp_path)) == ["deep", "set"]


@pytest.mark.parametrize("kind", ["packed", "bare"])
def test_every_flipped_byte_is_found(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(request.getfixturevalue(kind), folder)
    original = codec.Dataset(folder)
    expected = [original.read(index) for index in range(24)]
    file = folder / "shard-00001.parquet"
    data = file.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    rng = np.random.default_rng(1)
    for position in rng.choice(len(data), 60, replace=False):
        changed = bytearray(data)
        changed[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        problems = list(codec.data.verify(folder))
        assert any("SHA-256" in problem for problem in problems)
        # If the shard can be opened, all other rows are unchanged.
        try:
            dataset = codec.Dataset(folder)
        except codec.FormatError:
            continue
        wrong = 0
        for index in range(24):
            try:
                wrong += dataset.read(index) != expected[index]
            except codec.CodecError:
                wrong += 1
        assert wrong <= 1 or position >= footer  # the footer has the positions of all rows
    file.write_bytes(data)
    assert list(codec.data.verify(folder)) == []
    sums = (folder / SUMS).read_bytes()
    (folder / SUMS).write_bytes(sums.replace(b"shard-00000", b"shard-00009"))
    assert any("shard-00009.parquet: missing" in problem for problem in codec.data.verify(folder))


def test_damaged_rows_are_named(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(packed, folder)
    place = codec.Dataset(folder).shards[1]._place(5)
    assert place is not None
    with open(folder / "shard-00001.parquet", "r+b") as file:
        file.seek(place[0] + place[1] - 3)
        file.write(b"\xff\xff")
    problems = list(codec.data.verify(folder))
    assert len(problems) == 2
    assert problems[1].startswith("shard-00001.parquet: row 5: tile 0 of 1 is damaged")
    dataset = codec.Dataset(folder)
    with pytest.raises(codec.ChecksumMismatch):
        dataset[13]
    assert dataset[12]["image"].shape
    failures = codec.data.unpack(dataset, tmp_path / "out")
    assert [failure["path"] for failure in failures] == ["cat/003.png"]


def rewritten(path: Path, metadata: dict[bytes, bytes]) -> None:
    """Rewrite a shard with its own metadata, in which the entries of `metadata` are replaced."""
    table = pq.read_table(path)
    own = {b"codec.shard": pq.read_metadata(path).metadata[b"codec.shard"]}
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, **own, **metadata}), path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (b"codec", b"{", "not JSON"),
        (b"codec", b"[]", "not an object"),
        (b"codec", b'{"version": 2}', "version that this package cannot read"),
        (b"codec", b'{"version": 1, "column": "image"}', "schema's metadata"),
        (b"codec.shard", b'"x"', "not an object"),
        (b"codec.shard", b'{"what": 1}', "footer's metadata"),
        (b"huggingface", b"\xff", "not JSON"),
    ],
)
def test_hostile_metadata_is_refused_by_name(
    packed: Path, tmp_path: Path, key: bytes, value: bytes, message: str
) -> None:
    file = tmp_path / "x.parquet"
    shutil.copy(packed / "shard-00000.parquet", file)
    rewritten(file, {key: value})
    with pytest.raises(codec.FormatError, match=message):
        codec.Dataset(file)


def test_sets_that_are_none(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        codec.Dataset(tmp_path)
    with pytest.raises(FileNotFoundError):
        codec.Dataset(tmp_path / "missing.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 but no more PAR1")
    with pytest.raises(codec.FormatError, match=r"x\.parquet is not a readable Parquet file"):
        codec.Dataset(tmp_path)
    pq.write_table(pa.table({"n": [1]}), tmp_path / "x.parquet")
    with pytest.raises(codec.FormatError, match="no column holds pictures"):
        codec.Dataset(tmp_path)
    pq.write_table(pa.table({"a": [b"x"], "b": [b"y"]}), tmp_path / "x.parquet")
    with pytest.raises(codec.FormatError, match="more than one column may hold pictures: a, b"):
        codec.Dataset(tmp_path)
    pq.write_table(pa.table({"a": pa.array([None, b"x"], pa.binary())}), tmp_path / "x.parquet")
    with pytest.raises(codec.FormatError, match="row 0 has no picture"):
        codec.Dataset(tmp_path).read(0)
    shutil.copy(packed / "shard-00000.parquet", tmp_path / "y.parquet")
    with pytest.raises(codec.FormatError, match=r"no column |different datasets"):
        codec.Dataset(tmp_path)
    for source in (tmp_path / "nothing", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises((FileNotFoundError, codec.FormatError)):
            codec.data.pack(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"quality": 101}, ValueError),
        ({"quality": "best"}, TypeError),
        ({"effort": 0}, ValueError),
        ({"part": (3, 2)}, ValueError),
        ({"shard_rows": 0}, ValueError),
        ({"model": "none"}, codec.UnknownModel),
        ({"kind": "zip"}, ValueError),
    ],
)
def test_wrong_options_write_nothing(
    tree: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        codec.data.pack(tree, tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_not_into_itself(packed: Path) -> None:
    before = contents(packed)
    with pytest.raises(ValueError, match="into itself"):
        codec.data.pack(packed, packed)
    assert contents(packed) == before


def test_sums_are_those_of_sha256sum(packed: Path) -> None:
    for line in (packed / SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((packed / name).read_bytes()).hexdigest() == digest


def test_a_dataset_travels_to_other_processes(packed: Path) -> None:
    dataset = codec.Dataset(packed)
    first = dataset.read(0)
    other = pickle.loads(pickle.dumps(dataset))
    assert other.read(0) == first
    assert repr(other).endswith("24 pictures, columns: label)")


def test_without_pyarrow(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\nimport codec\n"
        f"try: codec.Dataset({str(tmp_path / 'x.parquet')!r})\n"
        "except codec.MissingExtra as error: print(error)"
    )
    (tmp_path / "x.parquet").touch()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "pyarrow is not installed: pip install 'codec[data]'\n"


