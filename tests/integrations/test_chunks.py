"""Common parts of the Zarr and numcodecs codecs: settings, shapes, dtypes and bytes."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import codec
from codec.integrations import numcodecs as for_numcodecs
from codec.integrations import zarr as for_zarr
from codec.integrations.chunks import Settings, decode_chunks, encode_chunks, layout, measure
from codec.model import registry
from tests.support.pictures import textured

DEFAULT = registry.named(None)
MISSING = "0123456789ab" + 52 * "0"

SWAPPED = np.dtype(np.uint16).newbyteorder()

CLASSES = [Settings, for_zarr.Cae, for_numcodecs.Cae]

STACK = np.stack([textured(24, 40, seed) for seed in range(3)])
CHUNKS = {
    "gray": STACK[0, :, :, 1],
    "gray with an axis": STACK[0, :, :, 1:2],
    "colour": STACK[0],
    "stack": STACK,
    "stack of one": STACK[:1],
    "gray stack": STACK[:, :, :, 1:2],
    "12 bits": STACK.astype(np.uint16) * 16,
    "flat, of 16 bits": np.full((2, 9, 9, 3), 7, np.uint16),
    "stored exactly": np.zeros((2, 16, 16, 1), np.uint8),
    "Fortran order": np.asfortranarray(STACK[0]),
    "every other": STACK[:, ::2, ::2],
}


def test_defaults() -> None:
    settings = Settings()
    assert dataclasses.asdict(settings) == {
        "quality": 75.0, "effort": 3, "model": DEFAULT.id.hex(), "weights_sha256": DEFAULT.sha256
    }


def test_models_have_a_name_and_an_id(second_model: registry.ModelEntry) -> None:
    for model in (second_model.name, second_model.id.hex()):
        settings = Settings(model=model)
        assert (settings.model, settings.weights_sha256) == (second_model.id.hex(), second_model.sha256)
        assert settings == Settings(weights_sha256=second_model.sha256, model=second_model.name)
        assert settings.worker().model == second_model.name
        with pytest.raises(ValueError, match=f"the id of model {second_model.id.hex()}"):
            Settings(model=model, weights_sha256=DEFAULT.sha256)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"quality": 101}, ValueError, "quality must be from 0 to 100"),
        ({"quality": "75"}, TypeError, "quality must be a number"),
        ({"quality": float("nan")}, ValueError, "quality"),
        ({"effort": 0}, ValueError, "effort must be from 1 to 9"),
        ({"effort": 3.0}, TypeError, "effort must be an integer"),
        ({"model": 4}, TypeError, "model must be a name or an id, not int"),
        ({"model": "large"}, codec.UnknownModel, "no model named 'large'"),
        ({"model": MISSING[:12]}, codec.UnknownModel, "no model named '0123456789ab'"),
        ({"weights_sha256": 4}, TypeError, "weights_sha256 must be a string, not int"),
        ({"weights_sha256": "4"}, ValueError, "weights_sha256 must be 64 hexadecimal digits"),
        ({"weights_sha256": DEFAULT.sha256 + "\n"}, ValueError, "must be 64 hexadecimal digits"),
        ({"model": MISSING[:12], "weights_sha256": DEFAULT.sha256}, ValueError, "the id of model 0123"),
        ({"qualty": 75}, TypeError, "unexpected keyword argument 'qualty'"),
    ],
)
@pytest.mark.parametrize("kind", CLASSES)
def test_wrong_settings(kind: type[Settings], wrong: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kind(**wrong)


@pytest.mark.parametrize("kind", CLASSES)
def test_settings_are_values(kind: type[Settings]) -> None:
    one, other = kind(quality=np.float32(60), effort=np.int64(4)), kind(quality=60, effort=4)  # type: ignore[arg-type]
    assert one == other
    assert hash(one) == hash(other)
    assert one != kind(quality=61, effort=4)
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert dataclasses.replace(one, quality=61) == kind(quality=61, effort=4)
    assert kind(**json.loads(json.dumps(dataclasses.asdict(one)))) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.quality = 3  # type: ignore[misc]


@pytest.mark.parametrize("sha256", [MISSING, DEFAULT.sha256[:12] + 52 * "0"])
def test_a_missing_model_is_named(sha256: str) -> None:
    """Includes a model that has the id of an installed model but another SHA-256."""
    settings = Settings(model=sha256[:12], weights_sha256=sha256)
    [data] = encode_chunks(Settings(), [STACK])
    for use in (
        lambda: encode_chunks(settings, [STACK]),
        lambda: decode_chunks(settings, [(data, STACK.shape, STACK.dtype)]),
    ):
        installed = f"installed: .*{DEFAULT.id.hex()} {DEFAULT.name}"
        with pytest.raises(codec.UnknownModel, match=f"needs model {sha256[:12]} .*{installed}"):
            use()


def test_chunks_of_another_model_are_read(second_model: registry.ModelEntry) -> None:
    [data] = encode_chunks(Settings(model=second_model.name), [STACK])
    assert codec.inspect(data[: codec.inspect(data).bytes]).model == second_model.id.hex()
    [read] = decode_chunks(Settings(), [(data, STACK.shape, STACK.dtype)])
    [expected] = decode_chunks(Settings(model=second_model.name), [(data, STACK.shape, STACK.dtype)])
    np.testing.assert_array_equal(read, expected)
    assert psnr(read, STACK) > 12


def psnr(read: Any, written: Any) -> float:
    full = 255 if written.dtype == np.uint8 else 4095
    return float(10 * np.log10(full**2 / max(1e-9, np.mean((read.astype(float) - written) ** 2))))


@pytest.mark.parametrize("kind", CHUNKS)
def test_round_trip(kind: str) -> None:
    chunk = CHUNKS[kind]
    [data] = encode_chunks(Settings(quality=80), [chunk])
    [read] = decode_chunks(Settings(), [(data, chunk.shape, chunk.dtype)])
    assert (read.shape, read.dtype) == (chunk.shape, chunk.dtype)
    assert psnr(read, chunk) > 20
    assert read.flags.writeable


def test_chunks_are_files_one_after_the_other() -> None:
    several = [STACK, CHUNKS["gray"], CHUNKS["12 bits"]]
    encoded = encode_chunks(Settings(quality=80), several)
    pictures = [*STACK, CHUNKS["gray"], *CHUNKS["12 bits"]]
    files = codec.Codec().compress_batch(pictures, quality=80)
    assert encoded == [b"".join(files[:3]), files[3], b"".join(files[4:])]
    decoded = decode_chunks(
        Settings(), [(data, chunk.shape, chunk.dtype) for data, chunk in zip(encoded, several, strict=True)]
    )
    for found, file in zip([*decoded[0], decoded[1], *decoded[2]], files, strict=True):
        assert np.abs(found.astype(int) - codec.decompress(file)).max() <= 1


def test_no_chunks() -> None:
    assert encode_chunks(Settings(), []) == []
    assert decode_chunks(Settings(), []) == []


WRONG: list[tuple[Any, str]] = [
    (np.zeros((8, 8, 2), np.uint8), "not 8×8×2: keep alpha in an array of its own"),
    (np.zeros((1, 8, 8, 4), np.uint8), "not 1×8×8×4: keep alpha in an array of its own"),
    (np.zeros((4, 8, 8), np.uint8), "not 4×8×8: .*a stack of gray pictures needs a channel axis"),
    (np.zeros((1, 3, 8, 8), np.uint8), "not 1×3×8×8: channels come last"),
    (np.zeros(64, np.uint8), "not 64: reshape the array"),
    (np.zeros((), np.uint8), "not a scalar: reshape the array"),
    (np.zeros((1, 1, 8, 8, 3), np.uint8), "not 1×1×8×8×3: reshape the array"),
    (np.zeros((0, 8, 8, 3), np.uint8), "0×8×8×3 is empty"),
    (np.zeros((8, 0), np.uint8), "8×0 is empty"),
    (np.zeros((8, 8), np.float32), "not float32: scale them"),
    (np.zeros((8, 8), np.int16), "not int16: add an offset"),
    (np.zeros((8, 8), np.uint32), "not uint32: scale them to 16 bits"),
    (np.zeros((8, 8), bool), "not bool: make them 0 and 255"),
    (np.zeros((8, 8), "U3"), "not <U3: only pictures"),
    (np.zeros((8, 8), SWAPPED), "not in native byte order, .*: convert them to uint16"),
    (np.ma.masked_array(np.zeros((8, 8), np.uint8)), "a masked array"),
]


@pytest.mark.parametrize(("chunk", "message"), WRONG, ids=str)
def test_wrong_chunks(chunk: Any, message: str) -> None:
    with pytest.raises(codec.InvalidImage, match=message):
        encode_chunks(Settings(), [chunk])
    if not isinstance(chunk, np.ma.MaskedArray):
        with pytest.raises(codec.InvalidImage, match=message):
            decode_chunks(Settings(), [(b"", chunk.shape, chunk.dtype)])


def test_large_chunks() -> None:
    assert layout((1 << 14, 1 << 14)) == (1, 1 << 14, 1 << 14, 1)
    large = np.broadcast_to(np.uint8(0), (2, 1 << 14, 1 << 14, 3))
    with pytest.raises(codec.LimitExceeded, match="2×16384×16384×3 has over 268435456 pixels: choose"):
        encode_chunks(Settings(), [large])
    with pytest.raises(codec.LimitExceeded, match="choose smaller"):
        decode_chunks(Settings(), [(b"", large.shape, large.dtype)])


def test_many_small_files_do_not_become_a_large_chunk() -> None:
    """As in numcodecs, there is no chunk shape to check the files against."""
    small = codec.compress(np.zeros((1 << 10, 1 << 10), np.uint8))
    assert len(small) < 1000
    data = 257 * small
    with pytest.raises(codec.LimitExceeded, match="257×1024×1024×1 has over"):
        decode_chunks(Settings(), [(data, *measure(data))])


ENCODED = encode_chunks(Settings(), [STACK])[0]


@pytest.mark.parametrize(
    ("data", "shape", "dtype", "error", "message"),
    [
        (ENCODED[:-1], STACK.shape, "uint8", codec.Truncated, "ends at byte"),
        (ENCODED + b"\0", STACK.shape, "uint8", codec.FormatError, "1 bytes follow the 3 pictures"),
        (ENCODED, (2, 24, 40, 3), "uint8", codec.FormatError, "follow the 2 pictures"),
        (ENCODED, (4, 24, 40, 3), "uint8", codec.Truncated, "ends after 3 of 4 pictures"),
        (ENCODED, (3, 40, 24, 3), "uint8", codec.FormatError, "with 8 bits, expected 40×24×3 of uint8"),
        (ENCODED, (3, 24, 40, 1), "uint8", codec.FormatError, "picture 0 .*is 24×40×3 with 8 bits"),
        (ENCODED, STACK.shape, "uint16", codec.FormatError, "with 8 bits, expected 24×40×3 of uint16"),
        (b"", (24, 40, 3), "uint8", codec.Truncated, "ends after 0 of 1 pictures"),
        (STACK.tobytes(), STACK.shape, "uint8", codec.FormatError, "signature is missing"),
    ],
    ids=range(9),
)
def test_bytes_that_are_not_the_chunk(
    data: bytes, shape: tuple[int, ...], dtype: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        decode_chunks(Settings(), [(data, shape, np.dtype(dtype))])
    assert type(caught.value) is error


def test_a_picture_of_16_bits_where_8_belong() -> None:
    [data] = encode_chunks(Settings(), [CHUNKS["12 bits"]])
    with pytest.raises(codec.FormatError, match="with 12 bits, expected 24×40×3 of uint8"):
        decode_chunks(Settings(), [(data, STACK.shape, STACK.dtype)])


def test_damage_raises_nothing_else() -> None:
    rng = np.random.default_rng(0)
    [data] = encode_chunks(Settings(), [STACK[:, :8, :8]])
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with pytest.raises(codec.CodecError):
            decode_chunks(Settings(), [(bytes(damaged), (3, 8, 8, 3), np.dtype(np.uint8))])
        with pytest.raises(codec.CodecError):
            for_numcodecs.Cae().decode(bytes(damaged))


@pytest.mark.parametrize("library", ["zarr", "numcodecs"])
def test_what_to_install(library: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        f"try: import codec.integrations.{library}\n"
        "except ImportError as error: print(type(error).__name__, error, error.name, sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"MissingExtra|{library} is not installed: pip install 'codec[zarr]'|{library}\n"


@pytest.mark.parametrize("library", ["zarr", "numcodecs"])
def test_a_codec_is_cheap_to_make(library: str) -> None:
    code = (
        f"import sys; from codec.integrations.{library} import Cae; Cae(model={DEFAULT.name!r})\n"
        "print({'torch', 'constriction', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
