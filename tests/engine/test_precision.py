"""The precision of decoding: bfloat16 is for pictures of 8 bits and changes no symbol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import codec
import codec.data
from bench.suite.metrics import psnr
from codec import api
from codec.cli.main import main
from codec.engine import encoding, loaded_model
from codec.integrations.chunks import Settings, decode_chunks
from codec.integrations.ray import Decompress
from codec.training.data import read_rgb
from tests.support.pictures import SAMPLES, textured
from tests.support.tiles import encode, symbols_digest

LOSS = 0.02
"""Decibels that bfloat16 may cost on the photograph of this test, with any model."""


@pytest.fixture(scope="module")
def exact(tiny_weights: Path) -> codec.Codec:
    return codec.Codec(model=tiny_weights, precision="float32")


@pytest.fixture(scope="module")
def fast(tiny_weights: Path) -> codec.Codec:
    return codec.Codec(model=tiny_weights, precision="bfloat16")


@pytest.mark.parametrize("name", [about["name"] for about in codec.models()])
def test_bfloat16_costs_little(name: str) -> None:
    photo = read_rgb(SAMPLES / "mountains.jpg")[:192, :256]
    exact, fast = (codec.Codec(model=name, precision=kind) for kind in ("float32", "bfloat16"))
    for quality in (10, 50, 100):
        data = exact.compress(photo, quality=quality)
        assert fast.compress(photo, quality=quality) == data
        assert symbols_digest(exact, data) == symbols_digest(fast, data)
        one, other = exact.decompress(data), fast.decompress(data)
        assert not np.array_equal(one, other)
        assert psnr(photo, other) > psnr(photo, one) - LOSS


@pytest.mark.parametrize("hardware", [False, True])
def test_the_default_is_what_the_device_multiplies(
    tiny_weights: Path, exact: codec.Codec, fast: codec.Codec, monkeypatch: pytest.MonkeyPatch, hardware: bool
) -> None:
    monkeypatch.setattr(loaded_model, "has_bfloat16", lambda device: hardware)
    data = encode(exact, textured(90, 120), 900)
    found = codec.Codec(model=tiny_weights).decompress(data)
    assert np.array_equal(found, exact.decompress(data)) == (not hardware)
    assert np.array_equal(found, fast.decompress(data)) == hardware


@pytest.mark.usefixtures("never_stored")
def test_more_than_8_bits_are_decoded_in_float32(exact: codec.Codec, fast: codec.Codec) -> None:
    picture = np.round(textured(100, 140).astype(np.float64) * 257).astype(np.uint16)
    for quality in (50, 95, 100):
        data = fast.compress(picture, quality=quality, bit_depth=16)
        assert exact.compress(picture, quality=quality, bit_depth=16) == data
        samples = fast.decompress(data)
        assert np.array_equal(samples, exact.decompress(data))
        bound = codec.inspect(data).max_error
        assert (bound is None) == (quality == 50)
        if bound is not None:
            assert np.abs(samples.astype(int) - picture).max() <= bound


@pytest.mark.usefixtures("never_stored")
def test_a_residual_is_added_to_samples_in_float32(
    exact: codec.Codec, fast: codec.Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The format allows a residual layer with 8 bits, although this encoder writes none."""
    monkeypatch.setattr(encoding, "step_of", lambda level, depth: 3)
    picture = textured(100, 140)
    files = [encode(fast, picture, 900, tile_size) for tile_size in (64, 256)]
    assert [codec.inspect(data).tiles for data in files] == [6, 1]
    for data in files:
        assert codec.inspect(data).max_error == 1
        for worker in (exact, fast):
            assert np.abs(worker.decompress(data).astype(int) - picture).max() <= 1
            assert np.abs(worker.decompress_batch([data])[0].astype(int) - picture).max() <= 1


@pytest.mark.usefixtures("never_stored")
def test_a_target_holds_in_the_precision_of_the_codec() -> None:
    photo = read_rgb(SAMPLES / "mountains.jpg")[:64, :96]
    for kind in ("float32", "bfloat16"):
        worker = codec.Codec(precision=kind)
        goal = psnr(photo, worker.decompress(worker.compress(photo, quality=60)))
        reached = psnr(photo, worker.decompress(worker.compress(photo, target_psnr=goal)))
        assert goal <= reached <= goal + 0.1


def test_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    shared = api._shared

    def watch(*arguments: Any) -> codec.Codec:
        asked.append(arguments[2])
        return shared(*arguments)

    monkeypatch.setattr(api, "_shared", watch)
    data = codec.compress(textured(60, 70), quality=50)
    worker = codec.Codec(precision="float32")
    expected = worker.decompress(data)
    assert np.array_equal(codec.decompress(data, precision="float32"), expected)
    codec.decode(data, tmp_path / "a.npy", precision="float32")
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)
    codec.decompress(data, precision="bfloat16", on_error="conceal")
    assert asked == [None, "float32", "float32", "bfloat16"]


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor with bfloat16, which is then the default."""
    monkeypatch.setattr(loaded_model, "has_bfloat16", lambda device: True)
    api._shared.cache_clear()
    yield
    api._shared.cache_clear()


@pytest.mark.usefixtures("hardware")
def test_every_way_to_pixels_has_a_precision(tmp_path: Path) -> None:
    picture = textured(60, 70)
    data = codec.compress(picture, quality=50)
    exact, fast = (codec.Codec(precision=kind).decompress(data) for kind in ("float32", "bfloat16"))
    assert not np.array_equal(exact, fast)
    assert np.array_equal(codec.decompress(data), fast)
    # Arrays are computed with: their samples are those of float32, on every machine.
    (chunk,) = decode_chunks(Settings(), [(data, picture.shape, picture.dtype)])
    assert np.array_equal(chunk, exact)
    codec.data.pack([{"image": data}], tmp_path / "set")
    for kind, expected in (("float32", exact), (None, fast)):
        dataset = codec.Dataset(tmp_path / "set", precision=kind)  # type: ignore[arg-type]
        assert np.array_equal(dataset[0]["image"], expected)
        codec.data.unpack(dataset, tmp_path / str(kind))
        line = ["dataset", "unpack", str(tmp_path / "set"), str(tmp_path / f"{kind} too")]
        assert CliRunner().invoke(main, [*line, *(["--precision", kind] if kind else [])]).exit_code == 0
        for folder in (str(kind), f"{kind} too"):
            (file,) = (tmp_path / folder).glob("*.png")
            assert np.array_equal(read_rgb(file), expected)
        assert np.array_equal(Decompress(precision=kind)({"image": [data]})["image"][0], expected)  # type: ignore[arg-type]


def test_command_line(tmp_path: Path, exact: codec.Codec, fast: codec.Codec, tiny_weights: Path) -> None:
    path = tmp_path / "a.cae"
    path.write_bytes(encode(exact, textured(90, 120), 900))
    for kind, worker in (("float32", exact), ("bfloat16", fast)):
        line = ["decompress", str(path), str(tmp_path / "a.npy"), "-f", "-m", str(tiny_weights)]
        assert CliRunner().invoke(main, [*line, "--precision", kind]).exit_code == 0
        assert np.array_equal(np.load(tmp_path / "a.npy"), worker.decompress(path.read_bytes()))
    result = CliRunner().invoke(main, [*line, "--precision", "float16"])
    assert result.exit_code == 2
    assert "'float32', 'bfloat16'" in result.stderr


@pytest.mark.parametrize(
    ("value", "error"),
    [("float16", ValueError), ("", ValueError), (32, TypeError), (True, TypeError), (np.float32, TypeError)],
)
def test_other_values(value: Any, error: type[Exception], tmp_path: Path) -> None:
    """They are refused even where a file needs no model."""
    stored = codec.compress(np.zeros((9, 9), np.uint8))
    codec.data.pack([{"image": np.zeros((9, 9), np.uint8)}], tmp_path / "set")
    dataset = codec.Dataset(tmp_path / "set")
    for call in (
        lambda: codec.Codec(precision=value),
        lambda: codec.decompress(stored, precision=value),
        lambda: codec.decode(stored, tmp_path / "a.png", precision=value),
        lambda: codec.Dataset(tmp_path / "set", precision=value),
        lambda: codec.data.loader(dataset, precision=value),
    ):
        with pytest.raises(error, match="precision must be"):
            call()
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
