"""Tests of `codec.integrations.ray` with batches in plain loops and in Ray itself."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import codec
from codec.integrations.ray import Compress, Decompress, compress, decompress
from tests.support.pictures import textured

ROOT = Path(codec.__file__).parent.parent


def png(pixels: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


@pytest.fixture
def stacked() -> Any:
    """Stacked pictures as Ray passes them: N×H×W×C, read-only."""
    pictures = np.stack([textured(48, 64, seed) for seed in range(3)])
    pictures.flags.writeable = False
    return pictures


def test_stacked_pictures_come_back_stacked(stacked: Any) -> None:
    batch = {"image": stacked, "label": np.arange(3)}
    packed = Compress(quality=60)(batch)
    assert batch["image"] is stacked
    assert packed["label"] is batch["label"]
    assert packed["image"] == [
        {"bytes": codec.compress(picture, quality=60), "path": None} for picture in stacked
    ]
    back = Decompress()(packed)
    assert list(back) == ["image", "label"]
    assert back["image"].shape == stacked.shape
    assert back["image"].dtype == np.uint8
    for item, picture in zip(packed["image"], back["image"], strict=True):
        assert np.array_equal(codec.decompress(item["bytes"]), picture)


def test_any_kind_of_picture(tmp_path: Path) -> None:
    """Pictures may be arrays, PIL images, bytes of files, names of files, or structs of both."""
    name = tmp_path / "a.png"
    name.write_bytes(png(textured(20, 30)))
    data = name.read_bytes()
    turned = Image.Exif()
    turned[0x0112] = 6
    values = [
        textured(20, 30), data, bytearray(data), str(name), {"bytes": data, "path": "b.png"},
        {"bytes": None, "path": str(name)}, Image.fromarray(textured(20, 30)),
        png(np.rot90(textured(20, 30)), exif=turned),
    ]
    packed = Compress(strip=True)({"image": values})["image"]
    expected = codec.compress(textured(20, 30))
    assert [item["bytes"] == expected for item in packed] == [True] * len(values)
    assert [item["path"] for item in packed] == [
        None, None, None, str(name), "b.png", str(name), None, None
    ]


def test_gray_and_sizes_and_depths() -> None:
    """The arrays of a column always have three dimensions."""
    column = np.empty(4, object)
    gray, deep = textured(9, 8)[:, :, 0], textured(5, 5).astype(np.uint16) << 8
    for row, picture in enumerate([gray, gray[:, :, None], textured(8, 9), deep]):
        column[row] = picture
    packed = Compress("x", quality=100)({"x": column})
    back = Decompress("x")(packed)["x"]
    assert back.dtype == object
    assert [(picture.shape, picture.dtype) for picture in back] == [
        ((9, 8, 1), np.uint8), ((9, 8, 1), np.uint8), ((8, 9, 3), np.uint8), ((5, 5, 3), np.uint16)
    ]
    assert len(Compress("x")({"x": back})["x"]) == 4


def test_metadata_of_files_is_kept() -> None:
    profile = b"a profile" * 20
    values = [png(textured(16, 16)), png(textured(16, 16), icc_profile=profile), png(textured(16, 16, 1))]
    for strip in (False, True):
        packed = [item["bytes"] for item in Compress(strip=strip)({"image": values})["image"]]
        assert ["icc" in codec.inspect(data).metadata for data in packed] == [False, not strip, False]
        assert packed[0] == codec.compress(textured(16, 16))
        assert packed[2] == codec.compress(textured(16, 16, 1))


def test_bands_are_chosen() -> None:
    near = textured(16, 16).repeat(2, axis=2)  # six bands
    values = [near[:, :, ::2], near, near[:, :, 0], png(near[:, :, ::2])]
    bands: Any = np.array([3, 2, 1])
    packed = Compress(bands=bands, on_error="record")({"image": values})
    assert [item is not None for item in packed["image"]] == [True, True, False, True]
    assert "bands can be chosen of picture files and of arrays" in packed["error"][2]
    assert packed["image"][0]["bytes"] == codec.compress(np.ascontiguousarray(near[:, :, [4, 2, 0]]))
    assert packed["image"][3]["bytes"] == packed["image"][0]["bytes"]
    packed = Compress(bands=(4,), on_error="record")({"image": [values[3]]})
    assert "no band 4" in packed["error"][0]
    with pytest.raises(TypeError, match="bands"):
        Compress(bands=(1.5,))  # type: ignore[arg-type]


def test_paths_and_bad_rows() -> None:
    batch = {"image": [textured(8, 8), b"no picture", None], "path": ["a.png", Path("b.png"), "c.png"]}
    with pytest.raises(codec.InvalidImage, match=r"row 1 \(b.png\): not a picture that this package"):
        Compress()(batch)
    with pytest.raises(codec.InvalidImage, match="row 0: there is no picture"):
        Compress(path="other")({"image": [None]})
    with pytest.raises(FileNotFoundError, match=r"row 0 \(gone.png\)"):
        Compress()({"image": ["gone.png"]})
    packed = Compress(on_error="record")(batch)
    assert [item and item["path"] for item in packed["image"]] == ["a.png", None, None]
    assert packed["error"] == [None, "not a picture that this package can read", "there is no picture"]
    with pytest.raises(codec.FormatError, match=r"row 1 \(b.png\): there is no file"):
        Decompress()(packed)
    packed["image"][0]["bytes"] = packed["image"][0]["bytes"][:-9]
    back = Decompress(on_error="record")(packed)
    assert back["image"].shape == (3, 0, 0, 3)
    assert "ends" in back["error"][0]
    assert back["error"][1:] == packed["error"][1:]


def test_one_bad_row_of_many_is_found() -> None:
    packed = Compress()({"image": [textured(40, 40, seed) for seed in range(3)]})
    good = packed["image"][2]["bytes"]
    packed["image"][1]["bytes"] = good[:-40] + bytes(40)
    back = Decompress(on_error="record")(packed)
    assert [error is None for error in back["error"]] == [True, False, True]
    assert [picture.shape for picture in back["image"]] == [(40, 40, 3), (0, 0, 3), (40, 40, 3)]
    assert np.array_equal(back["image"][2], codec.decompress(good))
    with pytest.raises(codec.FormatError, match="row 1: "):
        Decompress()(packed)


def test_empty_batches() -> None:
    assert Compress(on_error="record")({"image": []}) == {"image": [], "error": []}
    assert Decompress()({"image": []})["image"].shape == (0,)


def test_wrong_arguments_show_at_once() -> None:
    with pytest.raises(ValueError, match="quality must be from 0 to 100"):
        Compress(quality=101)
    with pytest.raises(ValueError, match="effort must be from 1 to 9"):
        Compress(effort=10)
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'record', not 'ignore'"):
        Decompress(on_error="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no column 'image' in the batch, only: a, b"):
        Compress()({"a": [], "b": []})
    with pytest.raises(codec.UnknownModel):
        Compress(model="no such model")({"image": [textured(8, 8)]})


def test_weights_are_neither_pickled_nor_loaded_early(stacked: Any) -> None:
    work = Compress(quality=30, threads=1)
    before = pickle.dumps(work)
    packed = work({"image": stacked})
    after = pickle.dumps(work)
    assert len(before) == len(after) < 1000
    assert pickle.loads(after)({"image": stacked}) == packed
    code = (
        "import sys, pickle; from codec.integrations.ray import Compress, Decompress\n"
        "pickle.dumps([Compress(), Decompress()]); print({'torch', 'ray', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "set()"


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for function in (compress, decompress):
        with pytest.raises(codec.MissingExtra, match=r"ray is not installed: pip install 'codec\[ray\]'"):
            function(None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_datasets_map(stacked: Any) -> None:
    """`map` of Hugging Face passes lists. It accepts results of `Compress` as feature `Image`."""
    import datasets

    files = [{"bytes": png(picture), "path": f"{row}.png"} for row, picture in enumerate(stacked)]
    features = datasets.Features({"image": datasets.Image(decode=False)})
    rows = datasets.Dataset.from_dict({"image": files}, features=features)
    packed = rows.map(Compress(quality=60), batched=True, batch_size=2, features=features)
    assert packed["image"][:] == Compress(quality=60)({"image": files})["image"]


def make_folder(folder: Path) -> None:
    """Make two label folders of twelve pictures each in two sizes.

    Also make a file that is not a picture and a file to ignore.
    """
    for row in range(24):
        place = folder / ("cats" if row < 12 else "dogs/big")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured(64, 48 + row % 2 * 16, row)).save(place / f"{row:02d}.png")
    (folder / "cats" / "99.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not to be read")


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Ray on this machine. It must be installed for `make test-all`."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray.data

    # Names of sockets must be short, so the folder of pytest cannot be used. The GPU is not real.
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray.init(
            num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False,
            object_store_memory=150 << 20, _temp_dir=folder,
        )
        try:
            with warnings.catch_warnings(action="ignore"):  # Ray warns about its own defaults
                ray.data.DataContext.get_current()
            yield ray
        finally:
            ray.shutdown()


@pytest.mark.nightly
def test_ray_data(ray: Any, tmp_path: Path) -> None:
    """Compress files to Parquet with a pool of two actors, and decompress them with another."""
    make_folder(tmp_path / "in")
    files = ray.data.read_binary_files(
        str(tmp_path / "in"), include_paths=True, file_extensions=["png", "jpg"], override_num_blocks=8
    )
    packed = compress(files, "bytes", quality=60, batch_size=4, on_error="record")
    packed.write_parquet(str(tmp_path / "out"))
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    parts = list((tmp_path / "out").glob("*.parquet"))
    assert len(parts) > 1
    for part in parts:
        schema = pq.read_schema(part)
        assert schema.field("bytes").type == image
        assert schema.field("error").type == pa.string()
    rows = pq.read_table(tmp_path / "out").to_pylist()
    assert len(rows) == 25
    for row in rows:
        if row["error"]:
            assert row["path"].endswith("99.jpg")
            assert row["bytes"] is None
        else:
            assert row["bytes"]["path"] == row["path"]
            assert row["bytes"]["bytes"] == codec.compress(np.asarray(Image.open(row["path"])), quality=60)

    again = ray.data.read_parquet(str(tmp_path / "out"))
    back = decompress(again, "bytes", batch_size=4, on_error="record").take_all()
    assert len(back) == 25
    expected = {row["path"]: row for row in rows}
    for row in back:
        before = expected[row["path"]]
        assert row["error"] == before["error"]
        if row["error"]:
            assert row["bytes"].shape == (0, 0, 3)
        else:
            assert np.array_equal(row["bytes"], codec.decompress(before["bytes"]["bytes"]))

    with pytest.raises(Exception, match=r"row \d+ \(.*99.jpg\): not a picture that this package can read"):
        compress(files, "bytes").materialize()
    with pytest.raises(Exception, match="device 'cuda' is not available: torch does not find it"):
        compress(files, "bytes", device="cuda", actors=1).materialize()


@pytest.mark.nightly
def test_the_example(tmp_path: Path) -> None:
    """The example leaves nothing in the home folder. `datasets` and this package read its files."""
    import datasets
    import ray  # noqa: F401 - fails here with a clear error

    make_folder(tmp_path / "in")
    (tmp_path / "home").mkdir()
    script, folder, out = ROOT / "examples" / "ray_folder.py", tmp_path / "in", tmp_path / "out"
    with tempfile.TemporaryDirectory(prefix="ray") as logs:
        done, again = (
            subprocess.run(
                [sys.executable, *map(str, (script, folder, out)), "--actors", "2", "--quality", "40"],
                capture_output=True, text=True, check=False, timeout=300,
                env={
                    **os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "home"), "RAY_TMPDIR": logs
                },
            )
            for _ in range(2)
        )
    assert done.returncode == 0, done.stderr
    assert again.returncode == 2
    assert "already exists" in again.stderr
    assert list((tmp_path / "home").iterdir()) == []
    assert "25 rows, 1 of them errors" in done.stdout
    assert "cats/99.jpg: not a picture that this package can read" in done.stdout
    rows = datasets.Dataset.from_parquet(
        [str(path) for path in (tmp_path / "out").glob("*.parquet")], cache_dir=str(tmp_path / "cache")
    )
    rows = rows.filter(lambda row: row["error"] is None)
    assert sorted(set(rows["label"])) == ["cats", "dogs/big"]
    for row in rows:
        picture = np.asarray(Image.open(tmp_path / "in" / row["image"]["path"]))
        assert row["image"]["bytes"] == codec.compress(picture, quality=40)
