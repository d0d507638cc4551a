"""Golden files of all versions and models decode to the same symbols. None may be missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codec
from codec.format.rows import RowFormat
from tests.support.make_goldens import (
    GOLDEN,
    RELEASED,
    folder_of,
    made,
    residuals,
    results,
    tagged,
)

FOLDERS = sorted(folder_of(model["id"]) for model in codec.models())
CASES = [
    (folder, name)
    for folder in FOLDERS
    for name in json.loads((GOLDEN / folder / "expected.json").read_text())
]
VERSION_1 = ("latents", "metadata", "stored")
WITHOUT_MODEL = [
    path for folder in sorted({*RELEASED} - {"v1", *FOLDERS})
    for path in sorted((GOLDEN / folder).glob("*.cae"))
]
"""Files of releases whose model does not ship any more."""


def test_no_golden_is_missing() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {"invalid", *RELEASED, *FOLDERS}
    for folder in FOLDERS:
        names = {path.stem for path in (GOLDEN / folder).glob("*.cae")}
        assert names == {name for where, name in CASES if where == folder} == made().keys()
    assert sorted(path.stem for path in (GOLDEN / "v1").iterdir()) == list(VERSION_1)


@pytest.mark.parametrize("name", VERSION_1)
def test_version_1_is_refused_in_one_sentence(name: str) -> None:
    data = (GOLDEN / "v1" / f"{name}.cae").read_bytes()
    message = "^format version 1 is not supported: codec 0.10 is the last release that reads it$"
    for function in (
        codec.inspect, codec.verify, codec.read_metadata, codec.decompress,
        lambda data: codec.decompress(data, on_error="conceal"),
        lambda data: codec.decompress(data, region=(0, 0, 1, 1)),
    ):
        with pytest.raises(codec.UnsupportedVersion, match=message):
            function(data)
    fields = RowFormat(bytes(6), 500, 32, 32).as_dict()
    with pytest.raises(codec.UnsupportedVersion, match=message):
        RowFormat.from_dict({**fields, "version": 1})


@pytest.mark.parametrize("path", WITHOUT_MODEL, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_files_of_a_model_that_does_not_ship_any_more(path: Path) -> None:
    data = path.read_bytes()
    codec.verify(data)
    info = codec.inspect(data)
    assert info.model is not None
    assert path.parent.name == folder_of(info.model)
    codec.read_metadata(data)
    with pytest.raises(codec.UnknownModel, match=f"needs model {info.model}, which is not installed"):
        codec.decompress(data)


@pytest.fixture(scope="module")
def worker() -> codec.Codec:
    return codec.Codec()


@pytest.mark.parametrize(("folder", "name"), CASES)
def test_golden(folder: str, name: str, worker: codec.Codec) -> None:
    expected: dict[str, Any] = json.loads((GOLDEN / folder / "expected.json").read_text())[name]
    data = Path(GOLDEN / folder / f"{name}.cae").read_bytes()
    codec.verify(data)
    info = codec.inspect(data)
    found = results(worker, data)
    # Pixels of latents may differ by one level between machines.
    near = abs(found.pop("mean", 0.0) - expected.pop("mean", 0.0))
    assert near < 0.1 * 2.0 ** (info.bit_depth - 8)
    assert found == expected


def test_goldens_have_every_feature() -> None:
    for folder in FOLDERS:
        expected = json.loads((GOLDEN / folder / "expected.json").read_text())
        assert all("residual" in expected[name] for name in residuals())
        assert all("metadata" in expected[name] for name in (*tagged(), "metadata"))
        for name, entry in expected.items():
            assert not entry["lossless"] or name in (
                "one-pixel", "constant", "noise", "one-bit", "rgba-stored", "gray-9-bits-stored",
                "cicp-stored",
            )
            assert name.endswith("-stored") <= entry["lossless"]
            assert ("alpha" in name or "rgba" in name) == ("alpha" in entry)


@pytest.mark.parametrize("name", sorted(made()))
def test_the_encoder_still_writes_them(name: str, worker: codec.Codec) -> None:
    """Files of the same properties and almost the same size, with the same error bounds.

    The bytes may differ between machines: the encoder computes in floating point, and zstd changes.
    """
    image, options = made()[name]
    data = worker.compress(image, **options)
    expected = (GOLDEN / folder_of(worker.model_id) / f"{name}.cae").read_bytes()
    about, golden = codec.inspect(data), codec.inspect(expected)
    fixed = ("width", "height", "channels", "bit_depth", "source", "metadata", "lossless", "quality",
             "max_error", "model", "tiles", "tile_size")
    assert [getattr(about, field) for field in fixed] == [getattr(golden, field) for field in fixed]
    assert abs(len(data) - len(expected)) <= 8 + len(expected) / 50
    assert codec.read_metadata(data) == codec.read_metadata(expected)
    if name in residuals():
        assert about.max_error
        found = worker.decompress(data).astype(int), worker.decompress(expected).astype(int)
        scale = 2.0 ** (about.bit_depth - 8)
        assert np.abs(found[0] - found[1]).mean() < 0.5 * scale
        for picture in found:
            error = np.abs(picture - image)
            if about.channels in (2, 4):
                assert not error[:, :, -1].any()
                error = error[image[:, :, -1] > 0]
            assert error.max() <= about.max_error + 1
