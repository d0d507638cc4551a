"""Golden files of every released version still decode to the same symbols. None may be missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codec
from codec.model import registry
from tests.support.determinism_worker import symbols_digest
from tests.support.make_goldens import (
    GOLDEN,
    kinds,
    metadata_digest,
    picture_digest,
    pictures,
    residual_digest,
    residuals,
    tagged,
)

# Every release adds its folders here by hand, so that a deleted golden file fails the tests.
RELEASED = [
    "v1-3d449f05ce11", "v1-69db4c80959a", "v1-6cbc9781ae79", "v1-b28b72fd0271", "v1.2-6cbc9781ae79",
    "v1.3-6cbc9781ae79", "v1.5-6cbc9781ae79",
]
CASES = [
    (folder, name)
    for folder in RELEASED
    for name in json.loads((GOLDEN / folder / "expected.json").read_text())
]


def test_no_golden_is_missing() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == ["invalid", *RELEASED]
    for folder in RELEASED:
        names = {path.stem for path in (GOLDEN / folder).glob("*.cae")}
        assert names == {name for where, name in CASES if where == folder}
        assert len(names) >= {"v1": 20, "v1.2": 12, "v1.3": 5, "v1.5": 3}[folder.partition("-")[0]]


def test_the_default_model_has_goldens() -> None:
    default = next(entry for entry in registry.entries() if entry.default)
    assert f"v1-{default.id.hex()}" in RELEASED
    assert f"v1.2-{default.id.hex()}" in RELEASED
    assert f"v1.3-{default.id.hex()}" in RELEASED
    assert f"v1.5-{default.id.hex()}" in RELEASED


@pytest.fixture(scope="module")
def worker() -> codec.Codec:
    return codec.Codec()


@pytest.mark.parametrize(("folder", "name"), CASES)
def test_golden(folder: str, name: str, worker: codec.Codec) -> None:
    expected: dict[str, Any] = json.loads((GOLDEN / folder / "expected.json").read_text())[name]
    data = Path(GOLDEN / folder / f"{name}.cae").read_bytes()
    assert len(data) == expected["bytes"]
    codec.verify(data)
    info = codec.inspect(data)
    assert info.lossless == expected["lossless"]
    if info.model is not None and info.model != worker.model_id:
        shipped = {entry.id.hex() for entry in registry.entries()}
        if info.model not in shipped:
            with pytest.raises(codec.UnknownModel, match=info.model):
                worker.decompress(data)
            return
    picture = worker.decompress(data)
    assert list(picture.shape) == expected["shape"]
    if info.lossless:
        assert picture_digest(picture) == expected["picture"]
    else:
        assert symbols_digest(worker, data) == expected["symbols"]
        assert abs(float(picture.mean()) - expected["mean"]) < 0.1 * 2.0 ** (info.bit_depth - 8)
    assert ("residual" in expected) == folder.startswith("v1.3-")
    if "residual" in expected:
        assert residual_digest(worker, data) == expected["residual"]
    if not folder.startswith("v1-"):
        assert str(picture.dtype) == expected["dtype"]
        assert info.source == expected["source"]
        if "alpha" in expected:
            assert picture_digest(picture[:, :, -1]) == expected["alpha"]
        if "metadata" in expected:
            assert metadata_digest(data) == expected["metadata"]


# Since format 1.3, a residual layer would make this file larger than its samples, so they are
# stored.
@pytest.mark.parametrize("name", sorted(kinds().keys() - {"gray-9-bits-stored"}))
def test_the_encoder_still_writes_every_kind(name: str, worker: codec.Codec) -> None:
    image, options = kinds()[name]
    data = worker.compress(image, **options)
    expected = (GOLDEN / f"v1.2-{worker.model_id}" / f"{name}.cae").read_bytes()
    # A new version of zstd may compress lossless payloads differently.
    info = codec.inspect(data)
    assert data == expected or info.lossless or info.metadata or info.channels in (2, 4)
    assert np.array_equal(worker.decompress(data), worker.decompress(expected))


@pytest.mark.parametrize("name", sorted(tagged()))
def test_the_encoder_still_writes_cicp(name: str, worker: codec.Codec) -> None:
    image, options = tagged()[name]
    data = worker.compress(image, **options)
    expected = (GOLDEN / f"v1.5-{worker.model_id}" / f"{name}.cae").read_bytes()
    assert codec.read_metadata(data) == codec.read_metadata(expected) == options["metadata"]
    assert data == expected or codec.inspect(data).lossless or name == "all-metadata"


@pytest.mark.parametrize("name", sorted(residuals()))
def test_the_encoder_still_bounds_errors(name: str, worker: codec.Codec) -> None:
    """New and golden files keep their error bounds.

    New files may differ from the golden files where synthesis differs.
    """
    image, options = residuals()[name]
    golden = (GOLDEN / f"v1.3-{worker.model_id}" / f"{name}.cae").read_bytes()
    for data in (worker.compress(image, **options), golden):
        bound = codec.inspect(data).max_error
        assert bound is not None
        error = np.abs(worker.decompress(data).astype(int) - image)
        if image.ndim == 3 and image.shape[2] in (2, 4):
            assert not error[:, :, -1].any()
            error = error[image[:, :, -1] > 0]
        assert error.max() <= bound + 1


@pytest.mark.parametrize("name", sorted(pictures()))
def test_the_encoder_still_writes_them(name: str, worker: codec.Codec) -> None:
    image, quality = pictures()[name]
    expected = (GOLDEN / f"v1-{worker.model_id}" / f"{name}.cae").read_bytes()
    data = worker.compress(image, quality=quality)
    # A new version of zstd may compress stored pixels differently.
    assert data == expected or codec.inspect(data).lossless
