"""Tests of the numcodecs codec, alone and in Zarr format 2."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

import codec
from codec.integrations.numcodecs import Cae
from tests.support.pictures import textured

STACK = np.stack([textured(64, 64, seed) for seed in range(5)])
DECODED = np.stack(codec.Codec().decompress_batch(codec.Codec().compress_batch(list(STACK))))


def test_found_by_its_id() -> None:
    found = numcodecs.get_codec({"id": "cae", "quality": 60})
    assert found == Cae(quality=60)
    config = json.loads(json.dumps(found.get_config()))
    assert config == {
        "id": "cae", "quality": 60, "effort": 3, "model": found.model, "weights_sha256": found.weights_sha256
    }
    assert numcodecs.get_codec(config) == found
    with pytest.raises(TypeError, match="qualty"):
        numcodecs.get_codec({"id": "cae", "qualty": 60})


@pytest.mark.parametrize(
    ("chunk", "shape"),
    [
        (STACK, (5, 64, 64, 3)),
        (STACK[:1], (64, 64, 3)),
        (STACK[0], (64, 64, 3)),
        (STACK[0, :, :, 0], (64, 64)),
        (STACK[0, :, :, :1], (64, 64)),
        (STACK[:2, :, :, :1], (2, 64, 64, 1)),
        (STACK.astype(np.uint16) * 5, (5, 64, 64, 3)),
    ],
)
def test_round_trip(chunk: Any, shape: tuple[int, ...]) -> None:
    data = Cae(quality=85).encode(chunk)
    read = Cae().decode(data)
    assert (read.shape, read.dtype) == (shape, chunk.dtype)
    assert np.mean(((read.reshape(chunk.shape).astype(float) - chunk) / chunk.max()) ** 2) < 0.01
    out = np.zeros_like(chunk)
    assert Cae().decode(np.frombuffer(data, np.uint8), out) is out
    np.testing.assert_array_equal(out, read.reshape(chunk.shape))


def test_out_in_any_order() -> None:
    data = Cae().encode(STACK)
    for out in (np.empty(STACK.shape, np.uint8, order="F"), np.empty((10, 64, 64, 3), np.uint8)[::2]):
        Cae().decode(memoryview(data), out)
        np.testing.assert_array_equal(out, DECODED)


def test_out_that_does_not_fit() -> None:
    data = Cae().encode(STACK)
    with pytest.raises(codec.Truncated, match="after 5 of 6 pictures"):
        Cae().decode(data, np.empty((6, 64, 64, 3), np.uint8))
    with pytest.raises(codec.FormatError, match="expected 64×64×3 of uint16"):
        Cae().decode(data, np.empty(STACK.shape, np.uint16))
    with pytest.raises(TypeError, match="out must be an ndarray of the chunk's shape, not bytearray"):
        Cae().decode(data, bytearray(STACK.nbytes))


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (STACK.tobytes(), "must be an ndarray with its shape, not bytes"),
        (STACK.ravel(), "reshape the array"),
        (np.asfortranarray(STACK), "order='C'"),
        (STACK.astype(np.float64), "not float64: scale them"),
    ],
)
def test_what_is_refused(chunk: Any, message: str) -> None:
    with pytest.raises(codec.InvalidImage, match=message):
        Cae().encode(chunk)


def test_damage() -> None:
    data = Cae().encode(STACK[:2])
    end = codec.inspect(data).bytes
    for damaged, error in [
        (b"", codec.FormatError), (data[:end], None), (data[: end + 3], codec.FormatError),
        (data[:-1], codec.Truncated), (data + b"\0", codec.FormatError),
        (data[:end] + codec.compress(STACK[0, :32]), codec.FormatError),
        (data[:end] + codec.compress(STACK[0, :, :, 0]), codec.FormatError),
        (codec.compress(np.dstack([STACK[0], STACK[0, :, :, 0]])), codec.InvalidImage),
    ]:
        if error is None:
            assert Cae().decode(damaged).shape == (64, 64, 3)
        else:
            with pytest.raises(error):
                Cae().decode(damaged)


@pytest.mark.parametrize("chunks", [(1, 64, 64, 3), (2, 64, 64, 3)])
def test_zarr_format_2(chunks: tuple[int, ...], tmp_path: Path) -> None:
    array = zarr.create_array(
        tmp_path / "a", shape=STACK.shape, chunks=chunks, dtype="uint8", zarr_format=2, compressors=Cae()
    )
    array[...] = STACK
    code = "import sys, zarr, numpy; numpy.save(sys.argv[2], zarr.open(sys.argv[1], mode='r')[...])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "a"), str(tmp_path / "read.npy")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    whole = np.concatenate([STACK, np.zeros_like(STACK[:1])])  # Zarr fills the last chunk
    parts = [whole[start : start + chunks[0]] for start in range(0, len(STACK), chunks[0])]
    expected = np.concatenate([Cae().decode(Cae().encode(part)).reshape(part.shape) for part in parts])
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), expected[: len(STACK)])


def test_zarr_format_2_in_fortran_order() -> None:
    """Zarr would return the data in another order, so writing is refused."""
    array = zarr.create_array(
        {}, shape=STACK.shape, chunks=(1, 64, 64, 3), dtype="uint8", zarr_format=2, compressors=Cae(),
        order="F",
    )
    with pytest.raises(codec.InvalidImage, match="Fortran order"):
        array[...] = STACK


def test_zarr_format_2_of_16_bits_and_gray() -> None:
    deep = STACK[:, :, :, :1].astype(np.uint16) * 200
    array = zarr.create_array(
        {}, shape=deep.shape, chunks=(2, 64, 64, 1), dtype="uint16", zarr_format=2,
        compressors=Cae(quality=95),
    )
    array[...] = deep
    assert np.abs(np.asarray(array[...], int) - deep).max() < 5000
