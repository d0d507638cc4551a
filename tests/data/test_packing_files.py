"""Tests of packing on file systems as they are: no locks, full disks, files that come and go."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import warnings
from collections.abc import Callable
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
from codec.data.packing import pack as packing
from codec.data.packing import rows
from codec.data.sums import NO_LOCKS, SUMS, add_sum, read_sums
from codec.pictures.metadata import warn_not_kept
from codec.pictures.picture import to_picture
from tests.support.pictures import textured

fcntl = pytest.importorskip("fcntl")
resource = pytest.importorskip("resource")


@pytest.fixture(scope="module")
def data() -> bytes:
    return codec.compress(textured(16, 16), quality=5)


@pytest.fixture
def source(tmp_path: Path, data: bytes) -> Path:
    """A folder of six pictures that need no compression."""
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.cae").write_bytes(data)
    return folder


def refusing(code: int) -> Callable[..., None]:
    def flock(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    return flock


@pytest.mark.parametrize("name", ["ENOSYS", "EOPNOTSUPP", "ENOLCK", "EINVAL", "EBADF", "EPERM"])
def test_without_locks_packing_goes_on(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(getattr(errno, name)))
    report = codec.data.pack(source, tmp_path / "set", shard_rows=2)
    assert report.notes == {NO_LOCKS: 0}
    assert sorted(os.listdir(tmp_path / "set")) == [SUMS, *(f"shard-0000{n}.parquet" for n in range(3))]
    assert list(codec.data.verify(tmp_path / "set")) == []
    assert codec.data.pack(source, tmp_path / "set", shard_rows=2).skipped == 3


def test_the_consequence_is_said(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    done = CliRunner().invoke(main, ["dataset", "pack", str(source), str(tmp_path / "set")])
    assert done.exit_code == 0
    assert done.stderr == f"codec: {NO_LOCKS}\n"


@pytest.mark.parametrize("name", ["EWOULDBLOCK", "EAGAIN"])
def test_a_held_lock_is_another_process(
    name: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(getattr(errno, name)))
    with pytest.raises(codec.FormatError, match=r"shard-00000\.parquet is being written by another process"):
        codec.data.pack(source, tmp_path / "set")


def test_digests_are_added_by_several_at_once(tmp_path: Path) -> None:
    names = [f"{number}.parquet" for number in range(24)]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    threads = [threading.Thread(target=add_sum, args=(tmp_path, name, True)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_sums(tmp_path)) == sorted(names)
    assert sorted(os.listdir(tmp_path)) == sorted([SUMS, *names])


@pytest.mark.parametrize("growing", [False, True])
def test_a_full_disk_is_named_and_leaves_nothing(growing: bool, data: bytes, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    items = [{"image": data, "x": rng.bytes(100_000)} for _ in range(10)]
    if not growing:
        image = pa.array([data] * 10, pa.binary())
        pq.write_table(pa.table({"image": image, "x": [item["x"] for item in items]}), tmp_path / "a.parquet")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, limits[1]))  # EFBIG, as ENOSPC in the middle
    try:
        given: Any = items if growing else tmp_path / "a.parquet"
        with pytest.raises(OSError, match="File too large") as caught:
            codec.data.pack(given, tmp_path / "set", column=None if growing else "image")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "set" / "shard-00000.parquet")
    assert os.listdir(tmp_path / "set") == []


@pytest.mark.parametrize("change", ["vanish", "grow", "shrink", "appear", "replace by a folder"])
def test_files_that_change_while_packing_goes_on(
    change: str, source: Path, tmp_path: Path, data: bytes
) -> None:
    done: list[str] = []

    def meddle(report: codec.data.Report) -> None:
        path = source / "5.cae"
        if done:
            return
        done.append(change)
        if change == "appear":
            (source / "6.cae").write_bytes(data)
        elif change == "grow":
            path.write_bytes(codec.compress(textured(20, 20), quality=80))
        elif change == "shrink":
            path.write_bytes(data[:20])
        else:
            path.unlink()
            if change != "vanish":
                path.mkdir()

    report = codec.data.pack(source, tmp_path / "set", shard_rows=2, progress=meddle)
    bad = change not in ("appear", "grow")
    assert [failure["path"] for failure in report.failures] == ["5.cae"] * bad
    assert report.pictures == 6 - bad
    assert list(codec.data.verify(tmp_path / "set")) == []


@pytest.mark.parametrize("growing", [False, True])
def test_a_progress_callback_that_raises(growing: bool, source: Path, data: bytes, tmp_path: Path) -> None:
    def fail(report: codec.data.Report) -> None:
        raise ZeroDivisionError("its own fault")

    given = [{"image": data}] * 3 if growing else source
    with pytest.raises(ZeroDivisionError, match="its own fault"):
        codec.data.pack(given, tmp_path / "set", progress=fail)
    assert os.listdir(tmp_path / "set") == []


def test_an_iterable_that_raises(data: bytes, tmp_path: Path) -> None:
    def items() -> Any:
        yield {"image": data}
        yield {"image": data}
        raise ConnectionError("the server is gone")

    with pytest.raises(ConnectionError, match="the server is gone"):
        codec.data.pack(items(), tmp_path / "set", shard_rows=1)
    assert len(codec.Dataset(tmp_path / "set")) == 2


def test_a_set_in_its_source(source: Path) -> None:
    (source / "notes.txt").touch()
    for _ in range(2):
        report = codec.data.pack(source, source / "packed", shard_rows=2)
        assert (report.pictures, report.ignored) == (6, ["notes.txt"])
    assert len(codec.Dataset(source / "packed")) == 6


def test_a_source_in_its_set(source: Path) -> None:
    for _ in range(2):
        codec.data.pack(source, source.parent, shard_rows=2)
    assert len(codec.Dataset(source.parent)) == 6


def test_tables_that_would_be_shards(data: bytes, tmp_path: Path) -> None:
    table = tmp_path / "in" / "table.parquet"
    table.parent.mkdir()
    pq.write_table(pa.table({"image": pa.array([data], pa.binary())}), table)
    with pytest.raises(ValueError, match=r"table\.parquet is in the output folder, and would be read as"):
        codec.data.pack(table, tmp_path / "in")
    with pytest.raises(ValueError, match="the shards would be among the files of the source"):
        codec.data.pack(tmp_path / "in", tmp_path / "in" / "packed")
    with pytest.raises(codec.FormatError, match=r"table\.parquet is not a shard of this package"):
        codec.data.pack([{"image": data}], tmp_path / "in")
    with pytest.raises(ValueError, match="into a folder on this machine, not to s3://bucket/set"):
        codec.data.pack(table, "s3://bucket/set")
    with pytest.raises(FileExistsError):
        codec.data.pack([{"image": data}], table)
    assert os.listdir(tmp_path) == ["in"]
    assert os.listdir(tmp_path / "in") == ["table.parquet"]


def test_numbers_of_numpy(source: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "quality": np.float32(60), "effort": np.int64(3), "shard_rows": np.int64(4),
        "part": (np.int64(1), np.int8(1)), "threads": np.int64(1), "bands": np.array([1, 2, 3]),
    }
    pixels: Any = np.int64(1000)
    limits = codec.Limits(max_pixels=pixels)
    report = codec.data.pack(source, tmp_path / "set", limits=limits, **options)
    assert (report.pictures, report.shards) == (6, 2)
    settings = codec.Dataset(tmp_path / "set").settings
    assert settings is not None
    assert (settings.shard_rows, settings.max_pixels, settings.bands) == (4, 1000, (1, 2, 3))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"quality": True}, TypeError, "quality"),
        ({"shard_rows": True}, TypeError, "shard_rows must be a whole number, not True"),
        ({"shard_rows": 2.0}, TypeError, r"shard_rows must be a whole number, not 2\.0"),
        ({"shard_rows": np.int64(0)}, ValueError, "shard_rows must be at least 1, not 0"),
        ({"part": (True, 2)}, TypeError, "part must be a whole number, not True"),
        ({"part": (0, 2)}, ValueError, "part must be at least 1"),
        ({"part": (np.int64(3), 2)}, ValueError, "part must be"),
        ({"part": 1}, ValueError, "part must be"),
        ({"part": "12"}, ValueError, "part must be"),
        ({"bands": (0,)}, ValueError, "bands are counted from 1, so 0 is no band"),
        ({"bands": (1.5,)}, TypeError, "bands must be a sequence of whole numbers"),
        ({"bands": ()}, ValueError, "bands"),
        ({"bands": 2}, TypeError, "bands"),
        ({"bands": "123"}, TypeError, "bands"),
    ],
)
def test_numbers_that_are_none(
    options: dict[str, Any], error: type[Exception], message: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        codec.data.pack(source, tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_bands_of_arrays_and_files(tmp_path: Path) -> None:
    near = np.dstack([textured(24, 32), textured(24, 32, 5)[:, :, :2]])  # five bands
    PIL.Image.fromarray(near[:, :, :3]).save(tmp_path / "a.png")
    items = [{"image": near}, {"image": (tmp_path / "a.png").read_bytes()}, {"image": near[:, :, 0]}]
    report = codec.data.pack(items, tmp_path / "set", quality=95, bands=[3, 2, 1])
    assert len(report.failures) == 1
    assert "bands can be chosen of picture files and of arrays" in report.failures[0]["error"]
    for row in codec.Dataset(tmp_path / "set"):
        assert np.abs(row["image"].astype(int) - near[:, :, [2, 1, 0]]).mean() < 12
    with pytest.raises(codec.FormatError, match=r"bands \(3, 2, 1\), not None"):
        codec.data.pack(items, tmp_path / "set", quality=95)
    report = codec.data.pack([{"image": near}], tmp_path / "other", bands=(7,))
    assert report.failures[0]["error"] == "the picture has 5 bands, so there is no band 7"


def test_the_command_with_bands(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(textured(16, 16)).save(tmp_path / "in" / "a.png")
    command = ["dataset", "pack", str(tmp_path / "in"), str(tmp_path / "set")]
    done = CliRunner().invoke(main, [*command, "--bands", "1"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert codec.Dataset(tmp_path / "set")[0]["image"].shape == (16, 16)
    done = CliRunner().invoke(main, [*command, "--bands", "2"])
    assert done.exit_code == 1
    assert "was packed with bands (1,), not (2,)" in done.stderr
    assert ", bands 1, " in CliRunner().invoke(main, ["dataset", "info", str(tmp_path / "set")]).stdout
    for text in ("", "a", "1,", "1;2"):
        done = CliRunner().invoke(main, [*command, "--bands", text])
        assert done.exit_code == 2
        assert "is not a list of band numbers such as 1,2,3" in done.stderr
    done = CliRunner().invoke(main, [*command, "--image", "jpg"])
    assert done.exit_code == 1
    assert "image applies only to a WebDataset source" in done.stderr


def test_what_is_not_kept_is_counted_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One note per item, so that pictures with different items are counted together."""
    lost = iter([["IPTC", "dpi"], ["IPTC"], []])
    code_points = iter([bytes([9, 16, 0, 1]), bytes([1, 13, 0, 1]), None])

    def read(*arguments: Any, **options: Any) -> tuple[Any, codec.Metadata]:
        warn_not_kept(next(lost))
        return to_picture(textured(16, 16)), codec.Metadata(cicp=next(code_points))

    monkeypatch.setattr(rows, "read_image", read)
    report = codec.data.pack([{"image": b"x"}] * 3, tmp_path / "set")
    # Pictures without code points are sRGB anyway.
    assert report.notes == {"NotKept: IPTC": 2, "NotKept: dpi": 1, "cicp left out": 1}


def test_what_the_file_system_lacks_is_one_line(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(*arguments: Any, **options: Any) -> None:
        warnings.warn("no such operation here", codec.FileSystemWarning, stacklevel=1)

    monkeypatch.setattr(packing, "add_sum", add)
    command = ["dataset", "pack", str(source), str(tmp_path / "set"), "--shard-rows", "2"]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stderr) == (0, "codec: no such operation here\n")


def test_settings_that_older_versions_lack_are_written_only_if_given(source: Path, tmp_path: Path) -> None:
    for bands, more in ((None, set()), ((1,), {"bands"})):
        codec.data.pack(source, tmp_path / f"set{bands}", bands=bands)
        schema = pq.read_schema(tmp_path / f"set{bands}" / "shard-00000.parquet")
        assert set(json.loads(schema.metadata[b"codec"])) == more | {
            "version", "column", "quality", "effort", "model", "weights_sha256", "package", "shards",
            "shard_rows", "metadata", "max_pixels", "rows",
        }
