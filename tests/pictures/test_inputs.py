"""Invalid arguments and unsupported pictures raise errors that describe the problem."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import codec
from codec import limits
from codec.engine.encoding import encode_pictures
from codec.pictures.picture import to_picture


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4), np.uint32), "uint32"),
        (np.zeros((4, 4), np.int16), "int16"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.zeros((4, 0, 3), np.uint8), "empty"),
        (np.zeros((4, 4, 1), np.uint8), "4×4×1"),
        (np.zeros((4, 4, 5), np.uint8), "4×4×5"),
        (np.zeros((1, 4, 4, 3), np.uint8), "1×4×4×3"),
        (np.zeros(4, np.uint8), "4"),
        (np.uint8(3), "uint8"),
        (np.array(3, np.uint8), "no dimensions"),
        (torch.zeros(4, 4, dtype=torch.uint8), "C×H×W"),
        (torch.zeros(5, 4, 3, dtype=torch.uint8), "1 to 4 channels"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "int32"),
        (torch.full((3, 4, 4), math.nan), "[0,1]"),
        (torch.full((3, 4, 4), 1.01), "[0,1]"),
        (torch.full((3, 4, 4), -math.inf), "[0,1]"),
        (torch.zeros(3, 0, 4), "empty"),
        (Image.new("CMYK", (4, 4)), "CMYK are not supported: convert"),
        (Image.new("YCbCr", (4, 4)), "YCbCr"),
        (Image.new("LAB", (4, 4)), "LAB"),
        (Image.new("HSV", (4, 4)), "HSV"),
        (Image.new("I", (4, 4)), "mode I are not supported: 32-bit"),
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("La", (4, 4)), "La"),
        (Image.new("RGBa", (4, 4)), "RGBa"),
        ("picture.png", "str"),
        (None, "NoneType"),
        ([[1, 2], [3, 4]], "list"),
    ],
)
def test_refused_pictures(tiny: codec.Codec, image: Any, says: str) -> None:
    with pytest.raises(codec.InvalidImage) as caught:
        tiny.compress(image)
    assert says in str(caught.value)


def test_a_truncated_file_opened_by_the_caller(tiny: codec.Codec, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with Image.open(path) as image, pytest.raises(codec.InvalidImage, match="cannot be read"):
        tiny.compress(image)


def test_too_large_is_refused_before_anything_is_done(tiny: codec.Codec) -> None:
    row = np.zeros((1, 1), np.uint8)
    with pytest.raises(codec.LimitExceeded):
        tiny.compress(np.broadcast_to(row, (1, limits.MAX_SIDE + 1)))
    with pytest.raises(codec.LimitExceeded):
        tiny.compress(np.broadcast_to(row, (1 << 15, 1 << 14)))


def test_more_tiles_than_a_file_may_have(tiny: codec.Codec) -> None:
    """The error is raised before the first tile is coded, not when the file is written."""
    image = np.broadcast_to(np.zeros((1, 1), np.uint8), (65 * 64, 1024 * 64))
    picture = to_picture(image, limits.Limits(max_pixels=2**40))
    with pytest.raises(codec.LimitExceeded, match="66560 tiles"):
        encode_pictures(tiny._loaded, [picture], 500, 64)


@pytest.mark.parametrize("quality", [-0.1, 100.1, math.nan, math.inf])
def test_quality_out_of_range(tiny: codec.Codec, quality: float) -> None:
    with pytest.raises(ValueError, match="quality"):
        tiny.compress(np.zeros((2, 2), np.uint8), quality=quality)


@pytest.mark.parametrize("quality", ["75", True, 1j])
def test_quality_of_the_wrong_type(tiny: codec.Codec, quality: Any) -> None:
    with pytest.raises(TypeError, match="quality"):
        tiny.compress(np.zeros((2, 2), np.uint8), quality=quality)


@pytest.mark.parametrize("quality", [50, 50.0, np.float32(50), np.int64(50)])
def test_quality_takes_any_number(tiny: codec.Codec, quality: Any) -> None:
    image = np.zeros((2, 2), np.uint8)
    assert tiny.compress(image, quality=quality) == tiny.compress(image, quality=50)


@pytest.mark.parametrize("data", ["text", None, 5, np.zeros(4, np.uint8)])
def test_data_must_be_bytes(data: Any) -> None:
    for function in (codec.decompress, codec.inspect, codec.verify):
        with pytest.raises(TypeError, match="bytes"):
            function(data)


def test_bytes_like_data_is_taken(tiny: codec.Codec) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    data = tiny.compress(image)
    for other in (bytearray(data), memoryview(data)):
        assert np.array_equal(tiny.decompress(other), tiny.decompress(data))


def test_codec_arguments() -> None:
    with pytest.raises(codec.UnknownModel, match="nonesuch"):
        codec.Codec(model="nonesuch")
    with pytest.raises(ValueError, match="threads"):
        codec.Codec(threads=0)
    with pytest.raises(TypeError, match="threads"):
        codec.Codec(threads=2.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device"):
        codec.Codec(device="abacus")
    with pytest.raises(FileNotFoundError):
        codec.Codec(model="missing.safetensors")


def test_threads_are_restored(tiny_weights: Any) -> None:
    before = torch.get_num_threads()
    codec.Codec(model=tiny_weights, threads=before + 1).compress(np.zeros((8, 8), np.uint8))
    assert torch.get_num_threads() == before
