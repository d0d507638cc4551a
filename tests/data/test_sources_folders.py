"""Folders as sources: links, splits, names, files that vanish, and folders that cannot be read."""

from __future__ import annotations

import os
import re
import shutil
import time
import types
import unicodedata
from pathlib import Path
from typing import Any

import pytest

import codec
import codec.data
from codec.data.sources import open_source
from tests.support.sources import PNG, broken_name, rows, write_tar, write_tree


def classes(source: Any) -> Any:
    return source.features.get("label", {}).get("names")


def columns(source: Any) -> list[tuple[str | None, Any]]:
    """Return class and split of each picture, in order."""
    names = classes(source) or []
    found = [item.columns for item in source.items(0, 99)]
    return [(names[each["label"]] if "label" in each else None, each.get("split")) for each in found]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_link_never_takes_the_place_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backwards: bool
) -> None:
    root = write_tree(tmp_path / "in", "zcat/1.png", "dog/1.png")
    write_tree(tmp_path, "elsewhere/deep/2.png")
    (root / "a_alias").symlink_to("zcat")
    (root / "dog" / "inside").symlink_to("../zcat")
    (root / "m").symlink_to(tmp_path / "elsewhere")
    (root / "n").symlink_to(tmp_path / "elsewhere")
    (root / "zcat" / "up").symlink_to("..")
    original = os.scandir

    class Reordered:
        def __init__(self, path: str) -> None:
            self._entries = original(path)

        def __enter__(self) -> Any:
            return iter(sorted(self._entries, key=lambda entry: entry.name, reverse=backwards))

        def __exit__(self, *error: object) -> None:
            self._entries.close()

    monkeypatch.setattr(os, "scandir", Reordered)
    source = open_source(root, kind="folder")
    assert classes(source) == ["dog", "m", "zcat"]
    assert list(rows(source)) == ["dog/1.png", "m/deep/2.png", "zcat/1.png"]
    assert source.ignored == [
        "a_alias/: a link to zcat/", "dog/inside/: a link to zcat/", "n/: a link to m/",
        "zcat/up/: a link to the source itself",
    ]


def test_links_to_folders_around_the_source(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "above/in", "cat/1.png", ".data/dog/2.png")
    write_tree(tmp_path / "above", "beside/3.png")
    (root / "up").symlink_to(tmp_path / "above")
    (root / "dog").symlink_to(".data/dog")
    (tmp_path / "in").symlink_to(root)
    source = open_source(tmp_path / "in")
    assert list(rows(source)) == ["cat/1.png", "dog/2.png", "up/beside/3.png"]
    assert source.ignored == [".data/", "up/in/: the same folder as the source itself"]


def test_folders_without_numbers_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On some file systems all folders have the same number. None may take the place of another."""
    root = write_tree(tmp_path / "in", "cat/1.png", "dog/1.png")
    original = os.stat

    def stat(path: Any, **options: Any) -> Any:
        return types.SimpleNamespace(st_dev=0, st_ino=0, st_mode=original(path, **options).st_mode)

    with monkeypatch.context() as patched:
        patched.setattr(os, "stat", stat)
        source = open_source(root, kind="folder")
    assert classes(source) == ["cat", "dog"]


def test_links_to_files_are_files_and_broken_links_are_bad_pictures(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", "cat/1.png")
    for name, target in {
        "again.png": "cat/1.png", "gone.png": "nowhere", "dog": "../dogs", "circle.png": "circle.png",
        "notes.txt": "nowhere",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe.png")
    source = open_source(root)
    assert rows(source) == {
        "again.png": {}, "cat/1.png": {"label": 0},
        "circle.png": "a link to circle.png: Too many levels of symbolic links",
        "dog": "a link to ../dogs: No such file or directory",
        "gone.png": "a link to nowhere: No such file or directory",
    }
    assert source.ignored == [
        "notes.txt: a link to nowhere: No such file or directory", "pipe.png: not a regular file",
    ]


def test_a_folder_that_cannot_be_read_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path / "in", "cat/1.png", "dog/1.png", "cat/secret/2.png")
    original = os.scandir

    def scandir(path: Any) -> Any:
        if os.fspath(path).rstrip("/").endswith(("secret", "dog", refused)):
            raise PermissionError(13, "Permission denied", path)
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    refused = "nothing"
    source = open_source(root, kind="folder")
    assert rows(source) == {
        "cat/1.png": {"label": 0},
        "cat/secret/": "the folder cannot be read: Permission denied",
        "dog/": "the folder cannot be read: Permission denied",
    }
    assert classes(source) == ["cat"]
    refused = "in"
    with pytest.raises(PermissionError):
        open_source(root, kind="folder")


@pytest.mark.parametrize(
    ("names", "wanted", "note"),
    [
        (["train/a/1", "val/a/1", "val/b/2"], [("a", "train"), ("a", "val"), ("b", "val")], "train, val"),
        (["train/cat/1"], [("cat", "train")], "train"),
        (["Test_Set/a/1", "Training-Set/a/1"], [("a", "Test_Set"), ("a", "Training-Set")], "Test_Set"),
        (["train2017/1", "val2017/1"], [(None, "train2017"), (None, "val2017")], "train2017"),
        (["seg_test/a/1", "seg_train/b/1"], [("a", "seg_test"), ("b", "seg_train")], "seg_test"),
        # Pictures without class, as test sets often have.
        (["test/1", "train/cat/1"], [(None, "test"), ("cat", "train")], "test, train"),
        (["dev/1", "eval/1"], [(None, "dev"), (None, "eval")], "dev, eval"),
        (["cover", "train/cat/1"], [(None, None), ("cat", "train")], "train"),
        (["data/test/a/1", "data/train/b/1"], [("a", "test"), ("b", "train")], "test, train"),
        (["cat/test/1", "dog/train/1"], [("cat", "test"), ("dog", "train")], "test, train"),
        (["cats/test/1", "cats/train/1"], [("cats", "test"), ("cats", "train")], "test, train"),
        (["x/cat/test/1", "x/dog/train/1"], [("cat", "test"), ("dog", "train")], "test, train"),
        (["train/test/1", "train/train/2"], [("test", "train"), ("train", "train")], "train"),
        # What is not clear stays as it is, and that is said.
        (["plane/1", "train/1"], [("plane", None), ("train", None)], "like splits, but classes.*: train"),
        (["cat/a/1", "test/a/1", "val/a/1"], [("cat", None), ("test", None), ("val", None)], ": test, val"),
        (["old_train/1", "steam_train/1"], [("old_train", None), ("steam_train", None)], "named like"),
        (["cat/1", "dog/train/1"], [("cat", None), ("dog", None)], None),
        (["cats/1", "contest/1"], [("cats", None), ("contest", None)], None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and isinstance(value[0], str) else "",
)
def test_splits(tmp_path: Path, names: list[str], wanted: list[Any], note: str | None) -> None:
    source = open_source(write_tree(tmp_path, *(f"{name}.png" for name in names), "labels/readme.txt"))
    assert columns(source) == wanted
    assert len(source.notes) == (note is not None)
    assert note is None or re.search(note, source.notes[0])


def test_splits_come_back_as_folders(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", "train/cat/1.png", "val/dog/2.png")
    report = codec.data.pack(root, tmp_path / "set", quality=5)
    assert "folders that are splits, in the column split: train, val" in report.notes
    dataset = codec.Dataset(tmp_path / "set")
    assert [row["split"] for row in dataset] == ["train", "val"]
    assert dataset.classes == ["cat", "dog"]
    assert codec.data.unpack(dataset, tmp_path / "out") == []
    for name in ("train/cat/1.png", "val/dog/2.png"):
        assert (tmp_path / "out" / name).is_file()


def test_names_of_every_kind(tmp_path: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    names = [
        "cat/1.PNG", "cat/2.Jpeg", "cat/line\nbreak.png", f"cat/{'x' * 250}.png", f"{composed}/1.png",
        f"{decomposed}/1.png", "cat/two.dots.png", "cat/ space .png",
    ]
    root = write_tree(tmp_path / "in", *names, "cat/none", "cat/.hidden.png", "cat/._1.png", ".git/1.png")
    write_tree(root, broken_name(b"caf\xe9/\xff.png"), broken_name(b"caf\xe9/\xff.txt"))
    source = open_source(root)
    assert set(rows(source)) == {*names, "caf\\xe9/\\xff.png"}
    assert classes(source) == ["caf\\xe9", "cat", decomposed, composed]
    assert source.ignored == [".git/", "caf\\xe9/\\xff.txt", "cat/._1.png", "cat/.hidden.png", "cat/none"]
    assert source.digest(0, 99) == open_source(root).digest(0, 99)


def test_pictures_that_cannot_be_read_are_not_ignored(tmp_path: Path) -> None:
    kinds = ("heic", "dng", "NEF", "cr3", "jxl", "exr", "psd", "npy", "fits", "ppm", "cae")
    names = [f"1.{kind}" for kind in kinds]
    root = write_tree(tmp_path / "in", *names, "a.txt", "b.mp4")
    source = open_source(root)
    assert sorted(rows(source)) == sorted(names)  # type: ignore[type-var]
    assert source.ignored == ["a.txt", "b.mp4"]


def test_files_that_vanish_grow_and_appear(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", *(f"{number}.png" for number in range(9)))
    seen: list[bool] = []

    def change(report: codec.data.Report) -> None:
        if not seen:
            seen.append(True)
            os.remove(root / "3.png")
            os.remove(root / "8.png")
            (root / "8.png").symlink_to("nowhere")
            write_tree(root, "4a.png", "new/5.png")
            (root / "6.png").write_bytes(PNG + b"more")

    report = codec.data.pack(root, tmp_path / "out", quality=5, shard_rows=3, progress=change)
    missing = {"error": "No such file or directory"}
    assert report.failures == [{"path": "3.png", **missing}, {"path": "8.png", **missing}]
    assert report.pictures == 7
    dataset = codec.Dataset(tmp_path / "out")
    left = [f"{number}.png" for number in (0, 1, 2, 4, 5, 6, 7)]
    assert [dataset.pathname(row) for row in range(7)] == left


def test_a_folder_that_is_gone_ends_the_run(tmp_path: Path) -> None:
    source = open_source(write_tree(tmp_path / "in", "1.png", "2.png"))
    digest = source.digest(0, 2)
    os.remove(tmp_path / "in/2.png")
    assert source.digest(0, 2) not in ("", digest)
    assert rows(source)["2.png"] == "No such file or directory"
    shutil.rmtree(tmp_path / "in")
    with pytest.raises(FileNotFoundError):
        source.digest(0, 2)
    with pytest.raises(FileNotFoundError):
        rows(source)


def test_what_describes_the_pictures_is_said(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "in", "cat/1.png", "metadata.jsonl")
    assert open_source(root).notes == ["columns in metadata.jsonl are not read"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.txt", "b/c.txt", "d.csv"], "the source has no pictures: its files are 2 .txt, 1 .csv"),
        (["a.tar.gz"], r"1 \.gz: it is compressed, decompress it first"),
        (["data-00000-of-00001.arrow", "state.json"], "pass datasets.load_from_disk"),
        ([".hidden"], "the source has no pictures"),
    ],
)
def test_folders_without_pictures(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(codec.FormatError, match=message):
        open_source(write_tree(tmp_path, *names))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.tar.gz", "neither a folder nor a .parquet or .tar file: it is compressed, decompress it first"),
        ("a.zip", "it is compressed"),
        ("a.png", "neither a folder nor a .parquet or .tar file$"),
    ],
)
def test_files_that_are_no_source(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(codec.FormatError, match=message):
        open_source(write_tree(tmp_path, name) / name)


def test_the_kind_of_a_folder(tmp_path: Path) -> None:
    write_tree(tmp_path / "mixed", "cat/1.png", "0.png", "x.tar")
    assert list(rows(open_source(tmp_path / "mixed"))) == ["0.png", "cat/1.png"]
    write_tar(tmp_path / "tars/part/0.TAR", "1.png")
    (tmp_path / "tars/README.md").touch()
    assert list(rows(open_source(tmp_path / "tars"))) == ["1.png"]
    with pytest.raises(codec.FormatError, match="has both Parquet files and tars"):
        open_source(write_tree(tmp_path / "both", "x.tar", "x.parquet"))
    for options in ({"column": "x"}, {"image": "jpg"}):
        with pytest.raises(ValueError, match="source, and this source is folder"):
            open_source(tmp_path / "mixed", **options)


def test_time_is_linear_in_the_number_of_files(tmp_path: Path) -> None:
    def measured(count: int) -> float:
        start = time.process_time()
        source = open_source(tmp_path / str(count))
        assert len(list(source.items(0, count))) == count
        return time.process_time() - start

    times = []
    for count in (1500, 12_000):
        folder = tmp_path / str(count) / "cat"
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number}.png").touch()
        times.append(min(measured(count) for _ in range(3)))
    assert times[1] < 8 * 4 * times[0]  # quadratic: 64 times


def test_two_links_to_one_folder_are_said(tmp_path: Path) -> None:
    write_tree(tmp_path, "store/cat/1.png")
    for split in ("train", "val"):
        (tmp_path / "in" / split).mkdir(parents=True)
        (tmp_path / "in" / split / "cat").symlink_to(tmp_path / "store/cat")
    source = open_source(tmp_path / "in")
    assert list(rows(source)) == ["train/cat/1.png"]
    assert "links to folders that are packed under another name, not followed: val/cat/" in source.notes


def test_files_of_another_kind_are_said(tmp_path: Path) -> None:
    """A repository of a dataset has a logo beside its Parquet files, say."""
    root = write_tree(tmp_path / "in", "logo.png", "data/0.parquet", "data/_x/1.parquet", "b/0.tar", "c.txt")
    for out in (tmp_path / "set", root / "set"):  # the shards in OUT are not meant
        for _ in range(2):
            report = codec.data.pack(root, out, quality=5)
            assert report.notes == {
                "not read, another kind of source (choose with kind): b/0.tar, data/0.parquet": 0
            }
