"""Tests of `append`: a source that grew, in any order, and everything that may come between."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import codec
import codec.data
from codec.cli.main import main
from tests.support.pictures import textured


@pytest.fixture(scope="module")
def data() -> bytes:
    return codec.compress(textured(16, 16), quality=5)


class Grown:
    """A source folder of `.cae` files, which need no compression, and the dataset made from it."""

    def __init__(self, root: Path, data: bytes) -> None:
        self.source, self.out, self.data = root / "source", root / "set", data

    def put(self, *names: str) -> None:
        for name in names:
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.data)

    def pack(self, **options: Any) -> codec.data.Report:
        return codec.data.pack(self.source, self.out, **{"shard_rows": 2, **options})

    def rows(self) -> list[tuple[str | None, int | None]]:
        assert list(codec.data.verify(self.out)) == []
        dataset = codec.Dataset(self.out)
        return [(dataset.pathname(row), dataset.values(row).get("label")) for row in range(len(dataset))]

    def shards(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.out.glob("*.parquet")}


@pytest.fixture
def grown(tmp_path: Path, data: bytes) -> Grown:
    """Five pictures of the classes b and d, packed."""
    result = Grown(tmp_path, data)
    result.put("b/1.cae", "b/3.cae", "d/5.cae", "d/7.cae", "d/9.cae")
    result.pack()
    return result


FIRST = [("b/1.cae", 0), ("b/3.cae", 0), ("d/5.cae", 1), ("d/7.cae", 1), ("d/9.cae", 1)]


def test_new_pictures_come_into_new_shards(grown: Grown) -> None:
    before = grown.shards()
    grown.put("a/0.cae", "b/2.cae", "e/1.cae")
    with pytest.raises(codec.FormatError, match="has 8 pictures, and this folder was packed from 5: pass"):
        grown.pack()
    assert grown.shards() == before
    report = grown.pack(append=True)
    assert (report.pictures, report.shards, report.skipped, report.done, report.to_do) == (8, 5, 3, 3, 3)
    # Labels keep their numbers: new classes come behind the others.
    assert grown.rows() == [*FIRST, ("a/0.cae", 2), ("b/2.cae", 0), ("e/1.cae", 3)]
    assert codec.Dataset(grown.out).classes == ["b", "d", "a", "e"]
    assert {name: grown.shards()[name] for name in before} == before
    for _ in range(2):  # nothing is new
        before = grown.shards()
        assert grown.pack(append=True).done == 0
        assert grown.shards() == before
    with pytest.raises(codec.FormatError, match="pictures were appended to this folder: pass --append"):
        grown.pack()


def test_what_was_appended_is_a_source_with_all_classes(grown: Grown, tmp_path: Path) -> None:
    grown.put("a/1.cae")
    grown.pack(append=True)
    for number, source in enumerate((grown.out, codec.Dataset(grown.out))):
        codec.data.pack(source, tmp_path / str(number))
        assert codec.Dataset(tmp_path / str(number)).classes == ["b", "d", "a"]
    # Files whose labels mean something else are not mixed.
    other = grown.out.with_name("other")
    codec.data.pack(grown.source, other)
    os.rename(other / "shard-00000.parquet", grown.out / "x.parquet")
    with pytest.raises(codec.FormatError, match=r"x\.parquet: column 'label' has other names of classes"):
        codec.data.pack(grown.out, tmp_path / "mixed")


def test_appending_to_nothing_is_packing(grown: Grown, tmp_path: Path) -> None:
    codec.data.pack(grown.source, tmp_path / "other", shard_rows=2, append=True)
    for path in grown.out.iterdir():
        assert (tmp_path / "other" / path.name).read_bytes() == path.read_bytes()
    assert grown.pack().skipped == 3


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["d/8.cae"], "has 6 pictures, and this folder was packed from 5"),
        (["d/8.cae", "d/91.cae", "d/92.cae"], "has 8 pictures, and this folder was packed from 5"),
        (["z/1.cae"], "has 6 pictures, and this folder was packed from 5"),
    ],
)
def test_without_append_the_true_reason(grown: Grown, names: list[str], message: str) -> None:
    grown.put(*names)
    with pytest.raises(codec.FormatError, match=message):
        grown.pack()


def test_a_smaller_or_other_source_is_not_said_to_be_larger(grown: Grown) -> None:
    (grown.source / "b/1.cae").unlink()
    with pytest.raises(codec.FormatError, match="has 4 pictures, and this folder was packed from 5"):
        grown.pack()
    grown.put("b/11.cae")
    with pytest.raises(codec.FormatError, match="was made from a different source: delete it"):
        grown.pack()
    (grown.out / "shard-00001.parquet").unlink()
    grown.put("d/91.cae", "d/92.cae")
    with pytest.raises(codec.FormatError, match="has 7 pictures, and had 5 to 6 when packing began"):
        grown.pack()


def test_what_changed_and_what_is_gone_is_said(grown: Grown) -> None:
    (grown.source / "b/1.cae").write_bytes(codec.compress(textured(16, 20), quality=90))
    (grown.source / "d/9.cae").unlink()
    grown.put("d/91.cae")
    report = grown.pack(append=True)
    assert report.notes == {
        "no longer in the source, kept as packed": 1,
        "files of shard-00000.parquet have changed in the source, its pictures are kept as packed": 0,
    }
    assert grown.rows() == [*FIRST, ("d/91.cae", 1)]


def test_bad_pictures_are_tried_again_when_they_changed(grown: Grown) -> None:
    (grown.source / "b/broken.png").write_bytes(b"no")
    grown.put("b/good.cae")
    report = grown.pack(append=True)
    assert [failure["path"] for failure in report.failures] == ["b/broken.png"]
    report = grown.pack(append=True)
    assert (report.shards, report.done, len(report.failures)) == (4, 0, 1)
    PIL.Image.fromarray(textured(16, 16)).save(grown.source / "b/broken.png")
    for done in (1, 0):
        report = grown.pack(append=True)
        assert (report.pictures, report.done, report.failures) == (7, done, [])
    assert grown.rows()[5:] == [("b/good.cae", 0), ("b/broken.png", 0)]


class Stopped(Exception):
    pass


def stop(report: codec.data.Report) -> None:
    if report.done > 2:
        raise Stopped


@pytest.mark.parametrize("late", [[], ["a/1.cae"], ["c/1.cae", "d/0.cae", "f/1.cae"]])
def test_appending_goes_on_after_an_interruption(grown: Grown, late: list[str]) -> None:
    new = [f"e/{number}.cae" for number in range(5)]
    grown.put(*new)
    with pytest.raises(Stopped):
        grown.pack(append=True, progress=stop)
    with pytest.raises(codec.FormatError, match="2 of 6 shards are missing"):
        codec.Dataset(grown.out)
    grown.put(*late)
    grown.pack(append=True)
    names = [name for name, _ in grown.rows()]
    assert sorted(map(str, names)) == sorted([name for name, _ in FIRST] + new + late)


def test_pictures_that_go_before_appending_goes_on(grown: Grown) -> None:
    grown.put(*(f"e/{number}.cae" for number in range(9)))
    with pytest.raises(Stopped):
        grown.pack(append=True, progress=stop)
    for number in range(2, 9):
        (grown.source / f"e/{number}.cae").unlink()
    report = grown.pack(append=True)
    assert (report.pictures, report.shards) == (7, 8)  # no number is missing, so some shards are empty
    assert grown.rows() == [*FIRST, ("e/0.cae", 2), ("e/1.cae", 2)]


def test_appending_in_parts(grown: Grown) -> None:
    new = [f"e/{number}.cae" for number in range(7)]
    grown.put(*new)
    shutil.copytree(grown.out, grown.out.with_name("whole"))
    for part in (2, 1):
        grown.pack(append=True, part=(part, 2))
    assert grown.rows() == [*FIRST, *((name, 2) for name in new)]
    codec.data.pack(grown.source, grown.out.with_name("whole"), shard_rows=2, append=True)
    for path in grown.out.iterdir():
        assert grown.out.with_name("whole").joinpath(path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("names", [["a/1.cae"], ["e/91.cae", "e/92.cae"]])
def test_parts_of_different_sources_are_not_mixed(grown: Grown, names: list[str], part: int) -> None:
    grown.put(*(f"e/{number}.cae" for number in range(7)))
    grown.pack(append=True, part=(1, 2))
    grown.put(*names)
    with pytest.raises(codec.FormatError, match="the source has changed since appending began"):
        grown.pack(append=True, part=(part, 2))
    grown.pack(append=True)
    assert len(grown.rows()) == 12 + len(names)


def test_parts_of_different_sources_are_not_mixed_at_first_either(grown: Grown) -> None:
    shutil.rmtree(grown.out)
    grown.pack(part=(2, 3))
    (grown.source / "d/9.cae").unlink()
    grown.put("a/1.cae")  # as many as before, in another order
    for part in (1, 3):
        with pytest.raises(codec.FormatError, match="different"):
            grown.pack(part=(part, 3))


def test_names_that_are_there_twice(tmp_path: Path, data: bytes) -> None:
    for count in (2, 3, 3):
        image = [{"bytes": data, "path": "x"}] * count
        pq.write_table(pa.table({"image": image}), tmp_path / "a.parquet")
        report = codec.data.pack(tmp_path / "a.parquet", tmp_path / "set", append=True)
        assert report.pictures == count


def test_a_part_and_then_append(grown: Grown) -> None:
    shutil.rmtree(grown.out)
    grown.pack(part=(2, 2))
    grown.put("a/1.cae")
    grown.pack(append=True)
    assert sorted(str(name) for name, _ in grown.rows()) == sorted(["a/1.cae", *(str(n) for n, _ in FIRST)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": 20}, "quality 75.*, not 20"),
        ({"shard_rows": 3}, "shard_rows 2, not 3"),
        ({"metadata": True}, "metadata False, not True"),
        ({"bare": True}, "whole files, not bare rows of 16×16×3"),
        ({"bands": (1, 2, 3)}, r"bands None, not \(1, 2, 3\)"),
    ],
)
def test_other_settings_are_refused(grown: Grown, options: dict[str, Any], message: str) -> None:
    grown.put("b/2.png")
    PIL.Image.fromarray(textured(16, 16)).save(grown.source / "a.png")
    before = grown.shards()
    with pytest.raises(codec.FormatError, match=message):
        grown.pack(append=True, **options)
    assert grown.shards() == before


def test_bare_rows_are_appended_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for number in range(4):
        if number == 2:
            codec.data.pack(tmp_path / "source", tmp_path / "set", bare=True, quality=5)
        side = 16 if number < 2 else 30
        PIL.Image.fromarray(textured(side, side)).save(tmp_path / "source" / f"{number}.png")
    codec.data.pack(tmp_path / "source", tmp_path / "set", bare=True, quality=5, append=True)
    assert [row["image"].shape[0] for row in codec.Dataset(tmp_path / "set")] == [16, 16, 30, 30]
    assert list(codec.data.verify(tmp_path / "set", decode=True)) == []


def test_columns_that_the_dataset_lacks(grown: Grown) -> None:
    shutil.rmtree(grown.source)
    grown.put("1.cae", "2.cae")
    shutil.rmtree(grown.out)
    grown.pack()
    grown.put("cat/3.cae")
    with pytest.raises(codec.FormatError, match="has a column 'label' of int64, and the dataset no such"):
        grown.pack(append=True)


def test_parquet_and_tars_grow_too(tmp_path: Path, data: bytes) -> None:
    def table(name: str, names: list[str | None]) -> None:
        image = [{"bytes": data, "path": path} for path in names]
        pq.write_table(pa.table({"image": image, "n": list(range(len(names)))}), tmp_path / "tables" / name)

    def tar(name: str, keys: list[str]) -> None:
        with tarfile.open(tmp_path / "tars" / name, "w") as file:
            for key in keys:
                info = tarfile.TarInfo(f"{key}.cae")
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))

    def names(out: str) -> list[str | None]:
        assert list(codec.data.verify(tmp_path / out)) == []
        dataset = codec.Dataset(tmp_path / out)
        return [dataset.pathname(row) for row in range(len(dataset))]

    for folder, write in (("tables", table), ("tars", tar)):
        (tmp_path / folder).mkdir()
        write("b." + {"tables": "parquet", "tars": "tar"}[folder], ["x", "y"])
        codec.data.pack(tmp_path / folder, tmp_path / f"{folder}-set", shard_rows=2)
        write("a." + {"tables": "parquet", "tars": "tar"}[folder], ["u", "v", "w"])
        codec.data.pack(tmp_path / folder, tmp_path / f"{folder}-set", shard_rows=2, append=True)
    assert names("tables-set") == ["x", "y", "u", "v", "w"]
    assert names("tars-set") == ["x.cae", "y.cae", "u.cae", "v.cae", "w.cae"]
    table("c.parquet", ["z", None])
    with pytest.raises(codec.FormatError, match="item 6 of the source has no name"):
        codec.data.pack(tmp_path / "tables", tmp_path / "tables-set", shard_rows=2, append=True)


def test_iterables_have_no_names(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="append needs a source whose number of pictures is known"):
        codec.data.pack([{"image": data}], tmp_path / "set", append=True)


def test_other_names_of_classes_in_another_order(data: bytes, tmp_path: Path) -> None:
    import datasets

    def rows(names: list[str], count: int) -> Any:
        label = datasets.ClassLabel(names=names)
        image = [{"bytes": data, "path": f"{number}.cae"} for number in range(count)]
        columns = {"image": image, "label": [names[-1]] * count}
        return datasets.Dataset.from_dict(
            columns, features=datasets.Features({"image": datasets.Image(decode=False), "label": label})
        )

    codec.data.pack(rows(["cat", "dog"], 2), tmp_path / "set")
    codec.data.pack(rows(["owl", "cat"], 3), tmp_path / "set", append=True)
    dataset = codec.Dataset(tmp_path / "set")
    assert dataset.classes == ["cat", "dog", "owl"]
    assert dataset.column("label").to_pylist() == [1, 1, 0]


def test_the_command(grown: Grown) -> None:
    source, out = str(grown.source), str(grown.out)
    grown.put("a/1.cae")
    run = CliRunner()
    done = run.invoke(main, ["dataset", "pack", source, out, "--shard-rows", "2"])
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: the source has 6 pictures, and this folder was packed from 5: pass --append (append=True) to "
        "add what is new, or pack into another folder\n"
    )
    (grown.source / "d/9.cae").unlink()
    done = run.invoke(main, ["dataset", "pack", source, out, "--shard-rows", "2", "--append"])
    assert done.exit_code == 0
    assert done.stdout.startswith("6 pictures in 4 shards (3 already packed), 0 bad")
    assert done.stderr == "codec: no longer in the source, kept as packed: 1 picture\n"
    report = json.loads(Path(out + ".report.json").read_text())
    assert (report["pictures"], report["done"]) == (6, 1)
    about = json.loads(run.invoke(main, ["dataset", "info", out, "--json"]).stdout)
    assert (about["pictures"], about["classes"]) == (6, ["b", "d", "a"])
    assert np.asarray(codec.Dataset(out)[5]["image"]).shape == (16, 16, 3)
    assert sorted(os.listdir(out))[0] == "_SHA256SUMS"


def test_splits_that_are_no_longer_stated(grown: Grown) -> None:
    """With another folder beside them, the splits would be classes."""
    shutil.rmtree(grown.source)
    shutil.rmtree(grown.out)
    grown.put("train/cat/1.cae", "val/cat/2.cae")
    grown.pack()
    grown.put("zoo/3.cae")
    with pytest.raises(codec.FormatError, match="the source does not state the splits"):
        grown.pack(append=True)
