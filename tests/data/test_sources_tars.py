"""Tars as sources: which member is the picture, labels, odd samples, and the way back out."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
from pathlib import Path
from typing import Any

import pytest

import codec
import codec.data
from codec.data.sources import open_source
from tests.support.pictures import textured
from tests.support.sources import PNG, broken_name, encoded, read_tars, rows, write_tar

JPEG = encoded("JPEG")


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        ("depth.png jpg", "jpg"),
        ("png jpg", "jpg"),
        ("mask.png webp seg16.png", "webp"),
        ("png npy", "png"),
        ("dng jpg", "jpg"),
        ("jpg cae png", "cae"),
        ("left.png", "left.png"),
        ("rgb.jpg depth.png", "rgb.jpg"),
        ("npy rgb.jpg", "rgb.jpg"),
        ("JPG Depth.PNG", "jpg"),
        ("heic png", "heic"),
        ("npy", "npy"),
        ("png json txt cls", "png"),
        ("depth.png mask.png", None),
        ("mask.png", None),
        ("jpg jpeg", None),
        ("png tiff", None),
        ("left.png right.png", None),
        ("npy depth.png", None),
        ("0.jpg 1.jpg", None),
    ],
)
def test_which_member_is_the_picture(tmp_path: Path, members: str, chosen: str | None) -> None:
    names = members.split()
    path = write_tar(tmp_path / "a.tar", *((f"x/0.{name}", b"1" if name == "cls" else PNG) for name in names))
    texts = [name for name in names if name in ("json", "txt")]
    if chosen is None:
        with pytest.raises(codec.FormatError, match=r"a\.tar: x/0: it is not clear .* choose with --image"):
            open_source(path)
    elif not texts:
        source = open_source(path)
        ((name, columns),) = rows(source).items()
        assert name == f"x/0.{chosen}"
        assert len(columns) == len(names) - 1
    for name in names:  # any member can be chosen
        if not texts:
            ((found, columns),) = rows(open_source(path, image=f".{name}")).items()
            assert found == f"x/0.{name.lower()}"
            assert len(columns) == len(names) - 1


def test_a_choice_is_said_and_an_unknown_one_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", "0.jpg", "0.depth.png", "1.jpg", "2.depth.png", ("3.txt", b"x"))
    source = open_source(path)
    assert source.notes == ["samples with several pictures: jpg is compressed, depth.png kept unchanged"]
    assert source.ignored == ["a.tar: 3"]
    found = rows(source)
    assert "it is not clear which of its pictures to compress (depth.png)" in found.pop("2")
    assert list(found) == ["0.jpg", "1.jpg"]
    assert rows(open_source(path, image="depth.png"))["1"] == "it has no member 'depth.png'"
    message = r"no sample has a member 'png' \(there are: depth\.png, jpg, txt\)"
    with pytest.raises(codec.FormatError, match=message):
        open_source(path, image="png")


@pytest.mark.parametrize(
    ("labels", "wanted", "kind"),
    [
        ([b"7", b" 8\n"], [7, 8], "int64"),
        ([b"cat", b"7\n"], ["cat", "7\n"], "string"),
        ([b"7", b"1_0"], ["7", "1_0"], "string"),
        ([b"7", b""], [7, "its .cls is not a whole number"], "int64"),
        ([b"cat", b"\xff"], ["cat", "its .cls is not text"], "string"),
        ([b"5"] * 199 + [b"x"], [5] * 199 + ["its .cls is not a whole number"], "int64"),
    ],
    ids=["numbers", "text", "underscore", "empty", "bytes", "one in 200"],
)
def test_labels(tmp_path: Path, labels: list[bytes], wanted: list[Any], kind: str) -> None:
    members: list[str | tuple[str, bytes]] = []
    for number, label in enumerate(labels):
        members += [f"{number}.png", (f"{number}.cls", label)]
    source = open_source(write_tar(tmp_path / "a.tar", *members))
    assert source.fields is not None
    assert str(source.fields[0].type) == kind
    assert [row if isinstance(row, str) else row["label"] for row in rows(source).values()] == wanted
    assert bool(source.notes) == (kind == "string")


def test_members_that_lie_apart_or_are_there_twice(tmp_path: Path) -> None:
    apart = write_tar(tmp_path / "apart.tar", "0.jpg", "1.jpg", ("0.cls", b"3"), ("1.cls", b"4"))
    assert rows(open_source(apart)) == {"0.jpg": {"label": 3}, "1.jpg": {"label": 4}}
    again = write_tar(tmp_path / "again.tar", "0.jpg", "1.jpg", "0.jpg")
    assert [item.path for item in open_source(again).items(0, 9)] == ["0.jpg", "1.jpg", "0.jpg"]
    twice = write_tar(tmp_path / "twice.tar", "0.jpg", "0.jpg", "1.jpg")
    assert rows(open_source(twice)) == {"0.jpg": "it has two members .jpg", "1.jpg": {}}


def test_names_in_tars(tmp_path: Path) -> None:
    names = ["a/b/0.jpg", "./c/0.jpg", "a.b/1.jpg", broken_name(b"caf\xe9.jpg"), "é.jpg", "x" * 240 + ".jpg"]
    path = write_tar(tmp_path / "a.tar", *names, "._0.jpg", "README", (broken_name(b"x.\xff"), b""), "x.jpg")
    source = open_source(path)
    assert [item.path for item in source.items(0, 9)] == [
        *names[:3], "caf\\xe9.jpg", *names[4:], "x.jpg",
    ]
    assert source.ignored == ["a.tar: ._0.jpg", "a.tar: README"]
    assert source.digest(0, 9)


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_compressed_tars_are_named(tmp_path: Path, module: Any) -> None:
    path = write_tar(tmp_path / "a.tar", "0.jpg")
    path.write_bytes(module.compress(path.read_bytes()))
    with pytest.raises(codec.FormatError, match=r"a\.tar is not an uncompressed tar file: it is compressed"):
        open_source(path)


def test_links_in_tars_are_the_files_they_lead_to(tmp_path: Path) -> None:
    """GNU tar writes the second name of a file that has two names as a link."""
    kinds = {
        "a/0.jpg": (tarfile.REGTYPE, ""), "a/1.jpg": (tarfile.LNKTYPE, "a/0.jpg"),
        "b/2.jpg": (tarfile.SYMTYPE, "../a/0.jpg"), "b/3.jpg": (tarfile.SYMTYPE, "/etc/passwd"),
        "b/4.jpg": (tarfile.GNUTYPE_SPARSE, ""),
    }
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, (kind, target) in kinds.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 0 if target else len(PNG)
            tar.addfile(info, io.BytesIO(PNG))
    source = open_source(tmp_path / "a.tar")
    assert rows(source) == {
        "a/0.jpg": {}, "a/1.jpg": {}, "b/2.jpg": {},
        "b/3.jpg": "its .jpg is a link to /etc/passwd, which is no earlier file of the tar",
    }
    assert {item.load() for item in source.items(0, 3)} == {PNG}
    assert source.ignored == ["a.tar: b/4.jpg"]


def test_a_tar_that_is_cut_after_it_was_listed(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", "0.jpg", "1.jpg")
    source = open_source(path)
    with open(path, "r+b") as file:
        file.truncate(1600)
    assert list(rows(source).values()) == [{}, "a.tar has become shorter since it was listed"]


def test_splits_of_tars(tmp_path: Path) -> None:
    for name in ("train-0000", "train-0001", "val-0000"):
        write_tar(tmp_path / f"{name}.tar", "0.jpg")
    source = open_source(tmp_path)
    assert [item.columns["split"] for item in source.items(0, 9)] == ["train", "train", "val"]


def test_members_come_back_byte_for_byte(tmp_path: Path) -> None:
    own = b'{"path":  "mine", "n": [1, 2]}'
    members = {
        "000123.jpg": JPEG, "000123.depth.png": PNG, "000123.cls": b"7", "000123.txt": "ä\n".encode(),
        "000123.json": own, "a/b/7.jpg": JPEG, "a/b/7.mask.npy": b"\0\1", "a/b/7.empty": b"",
        "a/b/7.json": b"{}", "é.jpg": JPEG, "plain.jpg": JPEG, "plain.cls": b"0", "plain.json": b"[]",
    }
    write_tar(tmp_path / "in" / "0.tar", *members.items())
    report = codec.data.pack(tmp_path / "in", tmp_path / "set", quality=5)
    assert not report.failures
    dataset = codec.Dataset(tmp_path / "set")
    for _ in range(2):
        assert codec.data.export(dataset, tmp_path / "out", force=True) == []
        found = read_tars(tmp_path / "out")
        pictures = {name for name in members if name.endswith(".jpg")}
        coded = {name for name in found if name.endswith(".cae")}
        assert coded == {name.replace(".jpg", ".cae") for name in pictures}
        kept = {name: data for name, data in found.items() if name not in coded}
        # Samples without a .json get one with the name of the picture. So do those whose own one
        # seems to have a name.
        assert json.loads(kept.pop("000123.columns.json")) == {"label": 7, "path": "000123.jpg"}
        assert json.loads(kept.pop("é.json")) == {"path": "é.jpg"}
        assert kept == {name: data for name, data in members.items() if name not in pictures}
    codec.data.pack(tmp_path / "out", tmp_path / "again", quality=5)
    again = codec.Dataset(tmp_path / "again")
    places = range(len(dataset))
    assert [again.read(row) for row in places] == [dataset.read(row) for row in places]
    assert [again.pathname(row) for row in places] == [
        "000123.jpg", "a/b/7.cae", "é.jpg", "plain.cae",
    ]
    codec.data.export(again, tmp_path / "third")
    assert read_tars(tmp_path / "third") == found


def test_text_labels_and_splits_come_back(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_tar(tmp_path / f"in/{split}.tar", "0.png", ("0.cls", b"cat\n"), ("0.json", b"{}"), "0.seg.png")
    codec.data.pack(tmp_path / "in", tmp_path / "set", quality=5)
    dataset = codec.Dataset(tmp_path / "set")
    assert codec.data.export(dataset, tmp_path / "out", samples=1) == []
    for number, split in enumerate(("train", "val")):
        with tarfile.open(tmp_path / f"out/{number:06d}.tar") as tar:
            found = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
        assert (found["0.cls"], found["0.json"], found["0.seg.png"]) == (b"cat\n", b"{}", PNG)
        assert json.loads(found["0.columns.json"]) == {"split": split, "path": "0.png"}


def test_keys_of_exported_samples(tmp_path: Path) -> None:
    data = codec.compress(textured(8, 8))
    paths = [
        "cat/1.png", "cat/1.jpg", "cat/2.left.png", "/absolute.png", "../up.png", ".hidden", "ends.", "",
        "000000001.png", "x" * 120 + ".png", "C:\\a.png",
    ]
    codec.data.pack([{"image": data, "path": path or None} for path in paths], tmp_path / "set")
    codec.data.export(codec.Dataset(tmp_path / "set"), tmp_path / "out")
    found = read_tars(tmp_path / "out")
    keys = [name.removesuffix(".cae") for name in found if name.endswith(".cae")]
    assert keys == [
        "cat/1", "000000001", "cat/2", "000000003", "000000004", "000000005", "ends", "00000007",
        "000000008", "x" * 120, "000000010",
    ]
    assert [json.loads(found[f"{key}.json"])["path"] for key in keys] == [
        path or "00000007" for path in paths
    ]
