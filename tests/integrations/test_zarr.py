"""Tests of the codec in Zarr format 3: lookup by name, configuration from metadata, and shards."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import TransposeCodec
from zarr.core.array_spec import ArrayConfig, ArraySpec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.dtype import UInt8

import codec
from codec.engine import loaded_model
from codec.integrations import zarr as integration
from codec.integrations.zarr import Cae
from tests.support.pictures import Pixels, textured

ROOT = Path(__file__).parents[2]

STACK = np.stack([textured(64, 64, seed) for seed in range(6)])


def expected(pictures: Pixels, batch: int = 1) -> Pixels:
    """Return the decoded pictures of a stack, of which `batch` are coded together."""
    worker = codec.Codec()
    parts = [list(pictures[start : start + batch]) for start in range(0, len(pictures), batch)]
    return np.concatenate([worker.decompress_batch(worker.compress_batch(part)) for part in parts])


def create(store: Any, data: Any = STACK, **options: Any) -> Any:
    """Create an array of `data` with one picture in each chunk."""
    given = {
        "shape": data.shape, "dtype": data.dtype, "chunks": (1, *data.shape[1:]), "serializer": Cae(),
        "compressors": None,
    }
    array = zarr.create_array(store, **{**given, **options})
    array[...] = data
    return array


def read(store: Any) -> Any:
    return np.asarray(zarr.open_array(store, mode="r")[...])


def metadata(folder: Path) -> Any:
    return json.loads((folder / "zarr.json").read_text())


def test_round_trip(tmp_path: Path) -> None:
    create(tmp_path)
    np.testing.assert_array_equal(read(tmp_path), expected(STACK))
    assert metadata(tmp_path)["codecs"] == [Cae().to_dict()]
    # Each chunk is a file.
    np.testing.assert_array_equal(
        codec.decompress((tmp_path / "c" / "2" / "0" / "0" / "0").read_bytes()), expected(STACK)[2]
    )


def test_a_new_process_needs_no_import(tmp_path: Path) -> None:
    """The entry point of the installed package is sufficient. Opening an array loads no weights."""
    create(tmp_path / "shards", shards=(3, 64, 64, 3))
    code = (
        "import sys, zarr, numpy\n"
        "array = zarr.open(sys.argv[1], mode='r')\n"
        "print(array.shape, 'torch' in sys.modules)\n"
        "numpy.save(sys.argv[2], array[...])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "shards"), str(tmp_path / "read.npy")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )
    assert done.stdout == "(6, 64, 64, 3) False\n", done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "read.npy"), expected(STACK))


def test_made_by_name() -> None:
    serializer = {"name": "cae", "configuration": {"quality": 30, "effort": 1}}
    array = create({}, STACK[:1], serializer=serializer)
    assert array.metadata.codecs == (Cae(quality=30, effort=1),)
    assert create({}, STACK[:1], serializer={"name": "cae"}).metadata.codecs == (Cae(),)


@pytest.mark.parametrize(
    ("data", "chunks"),
    [
        (STACK[0, :, :, 1], (64, 64)),
        (STACK[0, :, :, 1], (32, 24)),
        (STACK[0], (32, 40, 3)),
        (STACK[0], (64, 64, 1)),
        (STACK, (4, 64, 64, 3)),
        (STACK[:, :, :, :1], (4, 50, 64, 1)),
        (STACK.astype(np.uint16) * 257, (1, 64, 64, 3)),
        (STACK.astype(np.uint16) * 4, (4, 64, 64, 3)),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_shapes(data: Any, chunks: tuple[int, ...], batch_size: int) -> None:
    """Includes chunks that extend beyond the edge of the array."""
    with zarr.config.set({"codec_pipeline.batch_size": batch_size}):
        array = create({}, data, chunks=chunks, serializer=Cae(quality=85))
        found = array[...]
    assert (found.shape, found.dtype) == (data.shape, data.dtype)
    error = (found.astype(float) - data) / data.max()
    assert np.mean(error**2) < 0.01


def test_alpha_as_four_gray_pictures() -> None:
    data = np.concatenate([STACK[0], np.full((64, 64, 1), 255, np.uint8)], -1)
    found = create({}, data, chunks=(64, 64, 1))[...]
    np.testing.assert_array_equal(found[:, :, 3], data[:, :, 3])


def test_a_filter_may_make_the_shape(tmp_path: Path) -> None:
    """A filter transposes N×C×H×W, the order of PyTorch."""
    create(tmp_path, STACK.transpose(0, 3, 1, 2), filters=[TransposeCodec(order=(0, 2, 3, 1))])
    np.testing.assert_array_equal(read(tmp_path).transpose(0, 2, 3, 1), expected(STACK))
    gray = create({}, STACK[:, None, :, :, 1], filters=[TransposeCodec(order=(0, 2, 3, 1))])[...]
    np.testing.assert_array_equal(gray[:, 0], expected(STACK[:, :, :, 1]))


@pytest.mark.parametrize("chunks", [(1, 64, 64, 3), (2, 64, 64, 3)])
def test_shards(chunks: tuple[int, ...], tmp_path: Path) -> None:
    array = create(tmp_path, chunks=chunks, shards=(4, 64, 64, 3))
    np.testing.assert_array_equal(read(tmp_path), expected(STACK))
    np.testing.assert_array_equal(array[3], expected(STACK)[3])
    np.testing.assert_array_equal(array[1:6:2, 10:20, 5], expected(STACK)[1:6:2, 10:20, 5])
    array[5] = STACK[0]
    np.testing.assert_array_equal(array[5], expected(STACK)[0])
    assert sum(path.is_file() for path in (tmp_path / "c").rglob("*")) == 2


def test_chunks_of_the_fill_value(tmp_path: Path) -> None:
    array = create(tmp_path, fill_value=9)
    array[2] = 9
    assert not (tmp_path / "c" / "2" / "0" / "0" / "0").exists()
    assert np.all(array[2] == 9)
    shards = create({}, np.full_like(STACK, 9), fill_value=9, shards=(3, 64, 64, 3))
    shards[4] = STACK[4]
    np.testing.assert_array_equal(shards[4], expected(STACK)[4])
    assert np.all(shards[:4] == 9)


def test_writing_a_part_of_a_chunk_codes_it_anew() -> None:
    array = create({}, STACK[:1])
    changed = array[...]
    changed[0, :10] = 200
    array[0, :10] = 200
    np.testing.assert_array_equal(array[...], expected(changed))


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """List of calls: the direction, the number of chunks, and whether an event loop is blocked."""
    found: list[tuple[str, int, bool]] = []
    for name in ("encode_chunks", "decode_chunks"):
        real = getattr(integration, name)

        def spy(settings: Any, chunks: Any, name: str = name, real: Any = real) -> Any:
            try:
                asyncio.get_running_loop()
                blocks = True
            except RuntimeError:
                blocks = False
            found.append((name[:6], len(chunks), blocks))
            return real(settings, chunks)

        monkeypatch.setattr(integration, name, spy)
    return found


@pytest.mark.parametrize("shards", [None, (6, 64, 64, 3)])
def test_batches(batches: list[Any], shards: Any) -> None:
    with zarr.config.set({"codec_pipeline.batch_size": 4}):
        array = create({}, shards=shards)
        assert sorted(batches) == [("encode", 2, False), ("encode", 4, False)]
        batches.clear()
        np.testing.assert_array_equal(array[...], expected(STACK, batch=4))
    assert sorted(batches) == [("decode", 2, False), ("decode", 4, False)]


SPEC = ArraySpec(
    shape=(64, 64, 3), dtype=UInt8(), fill_value=np.uint8(0), prototype=default_buffer_prototype(),
    config=ArrayConfig.from_dict({}),
)


def test_none_stays_none(batches: list[Any]) -> None:
    buffer = SPEC.prototype.nd_buffer
    chunks = [None if seed % 2 else buffer.from_numpy_array(STACK[seed]) for seed in range(5)]
    encoded = asyncio.run(Cae().encode([(chunk, SPEC) for chunk in chunks]))
    decoded = asyncio.run(Cae().decode([(data, SPEC) for data in encoded]))
    assert [data is None for data in encoded] == [False, True, False, True, False]
    assert [chunk is None for chunk in decoded] == [False, True, False, True, False]
    for picture, chunk in zip(expected(STACK[:5:2], batch=3), decoded[::2], strict=True):
        assert chunk is not None
        np.testing.assert_array_equal(chunk.as_numpy_array(), picture)
    assert batches == [("encode", 3, False), ("decode", 3, False)]
    batches.clear()
    assert asyncio.run(Cae().encode([(None, SPEC)])) == asyncio.run(Cae().decode([(None, SPEC)])) == [None]
    assert not batches


def test_one_chunk_at_a_time(batches: list[Any]) -> None:
    """Pipelines without an event loop and pipelines of single chunks use these methods."""
    chunk = SPEC.prototype.nd_buffer.from_numpy_array(STACK[0])
    data = Cae()._encode_sync(chunk, SPEC)
    assert data.to_bytes() == codec.compress(STACK[0])
    assert asyncio.run(Cae()._encode_single(chunk, SPEC)).to_bytes() == data.to_bytes()
    for found in (Cae()._decode_sync(data, SPEC), asyncio.run(Cae()._decode_single(data, SPEC))):
        np.testing.assert_array_equal(found.as_numpy_array(), expected(STACK[:1])[0])
    assert len(batches) == 4
    with pytest.raises(NotImplementedError):
        Cae().compute_encoded_size(10, SPEC)


def test_many_threads_load_the_weights_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from codec import api

    loaded = []
    real = loaded_model.load

    def load(*args: Any) -> Any:
        loaded.append(threading.current_thread())
        return real(*args)

    api._shared.cache_clear()
    monkeypatch.setattr(loaded_model, "load", load)
    create({})
    assert len(loaded) == 1


@pytest.mark.parametrize(
    ("shape", "chunks", "message"),
    [
        ((6, 64, 64), (1, 64, 64), "a stack of gray pictures needs a channel axis"),
        ((6, 64, 64), (2, 64, 64), "a stack of gray pictures needs a channel axis"),
        ((6, 64, 64, 4), (1, 64, 64, 4), "keep alpha in an array of its own"),
        ((6, 64, 64, 2), (2, 64, 64, 2), "keep alpha in an array of its own"),
        ((6, 5, 64, 64), (1, 5, 64, 64), "channels come last"),
        ((6,), (6,), "reshape the array"),
        ((2, 6, 64, 64, 3), (1, 1, 64, 64, 3), "reshape the array"),
        ((1 << 15, 1 << 15), (1 << 15, 1 << 15), "choose smaller"),
    ],
)
def test_shapes_are_refused_when_the_array_is_made(
    shape: tuple[int, ...], chunks: tuple[int, ...], message: str
) -> None:
    with pytest.raises(codec.CodecError, match=message):
        zarr.create_array({}, shape=shape, chunks=chunks, dtype="uint8", serializer=Cae(), compressors=None)


@pytest.mark.parametrize("shards", [None, (6, 64, 64, 3)])
@pytest.mark.parametrize("dtype", ["float32", "int16", "uint32", "bool", np.dtype(np.uint16).newbyteorder()])
def test_dtypes_are_refused_when_the_array_is_made(dtype: Any, shards: Any) -> None:
    with pytest.raises(codec.InvalidImage, match="samples"):
        create({}, STACK.astype(dtype), shards=shards)


def test_shapes_are_refused_when_the_array_is_written() -> None:
    """When the array is created, Zarr or a possible filter leaves the shape undetermined."""
    with pytest.raises(codec.InvalidImage, match="channels come last"):
        create({}, STACK.transpose(0, 3, 1, 2))
    with pytest.raises(codec.InvalidImage, match="keep alpha"):
        create({}, np.concatenate([STACK, STACK[:, :, :, :1]], -1), shards=(2, 64, 64, 4))


def test_it_is_a_serializer() -> None:
    with pytest.raises(TypeError, match="Expected a BytesBytesCodec"):
        create({}, serializer="auto", compressors=Cae())


@pytest.mark.parametrize(
    ("configuration", "error", "message"),
    [({"qualty": 3}, TypeError, "qualty"), ({"quality": 300}, ValueError, "from 0 to 100")],
)
def test_wrong_configurations(
    configuration: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        create({}, serializer={"name": "cae", "configuration": configuration})
    create(tmp_path, STACK[:1])
    changed = metadata(tmp_path)
    changed["codecs"][0]["configuration"] |= configuration
    (tmp_path / "zarr.json").write_text(json.dumps(changed))
    with pytest.raises(error, match=message):
        zarr.open_array(tmp_path)


def test_a_store_whose_model_is_missing(tmp_path: Path) -> None:
    """The array can be opened, but it cannot be read or written."""
    create(tmp_path, STACK[:2])
    changed = metadata(tmp_path)
    configuration = changed["codecs"][0]["configuration"]
    configuration |= {"model": "0123456789ab", "weights_sha256": "0123456789ab" + 52 * "0"}
    (tmp_path / "zarr.json").write_text(json.dumps(changed))
    array = zarr.open_array(tmp_path)
    assert array.shape == (2, 64, 64, 3)
    with pytest.raises(codec.UnknownModel, match=r"needs model 0123456789ab .*not installed"):
        array[0]
    with pytest.raises(codec.UnknownModel, match=r"needs model 0123456789ab .*not installed"):
        array[0] = STACK[0]


def test_damaged_chunks(tmp_path: Path) -> None:
    array = create(tmp_path, STACK[:2])
    chunk, other = (tmp_path / "c" / str(number) / "0" / "0" / "0" for number in (0, 1))
    whole = chunk.read_bytes()
    damaged = [
        (whole[:-1], codec.Truncated), (b"", codec.FormatError), (whole + b"\0", codec.FormatError),
        (whole[:-1] + bytes([whole[-1] ^ 1]), codec.ChecksumMismatch),
        (codec.compress(STACK[0, :32]), codec.FormatError),
    ]
    for data, error in damaged:
        chunk.write_bytes(data)
        with pytest.raises(error):
            array[0]
    chunk.write_bytes(other.read_bytes())
    np.testing.assert_array_equal(array[0], array[1])


def test_the_example() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "zarr_stack.py")], capture_output=True,
        text=True, check=False, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "48 pictures of 256×256"
    assert [line[:16].strip() for line in lines[2:5]] == ["none", "Zarr's default", "cae, quality 75"]
    assert lines[5].startswith("one picture in ")
