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
from codec.format.header import Source
from codec.format.tiling import Box
from codec.pictures.picture import to_picture
from codec.pictures.reading import read_image


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((4, 4), np.float32), "float32: its values have no fixed range; scale them"),
        (np.zeros((4, 4), np.int64), "int64: add an offset and convert it to uint16"),
        (np.zeros((4, 4), np.int8), "int8: add an offset and convert it to uint8"),
        (np.zeros((4, 4), bool), "bool: convert it with array.astype(np.uint8) * 255"),
        (np.zeros((4, 4), np.uint32), "uint32: scale it to uint16"),
        (np.zeros((4, 4), np.int16), "int16: add an offset"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.zeros((4, 0, 3), np.uint8), "empty"),
        (np.zeros((4, 4, 0), np.uint8), "4×4×0"),
        (np.zeros((8, 9, 5), np.uint8), "8×9×5 has 5 bands: choose those to keep, for example array[:,"),
        (np.zeros((3, 8, 9), np.uint8), "not C×H×W (3×8×9): use np.moveaxis(array, 0, -1)"),
        (np.zeros((1, 4, 4, 3), np.uint8), "1×4×4×3"),
        (np.zeros(4, np.uint8), "4"),
        (np.uint8(3), "uint8"),
        (np.array(3, np.uint8), "no dimensions"),
        (torch.zeros(4, 4, dtype=torch.uint8), "C×H×W"),
        (torch.zeros(5, 4, 3, dtype=torch.uint8), "1 to 4 channels"),
        (torch.zeros(3, 4, 4, dtype=torch.int32), "int32"),
        (torch.zeros(3, 4, 4, dtype=torch.bool), "bool"),
        (torch.zeros(3, 4, 4).to_sparse(), "sparse tensors are not supported: convert it with to_dense()"),
        (torch.zeros(3, 4, 4, device="meta"), "meta tensors are not supported: it has no values"),
        (torch.zeros(3, 4, 4, dtype=torch.complex64), "complex tensors"),
        (torch.full((3, 4, 4), math.nan), "[0,1]"),
        (torch.full((3, 4, 4), 1.01), "[0,1]"),
        (torch.full((3, 4, 4), -math.inf), "[0,1]"),
        (torch.zeros(3, 0, 4), "empty"),
        (Image.new("CMYK", (4, 4)), "CMYK are not supported: convert"),
        (Image.new("YCbCr", (4, 4)), "YCbCr"),
        (Image.new("LAB", (4, 4)), "LAB"),
        (Image.new("HSV", (4, 4)), "HSV"),
        (Image.new("I", (4, 4)), "mode I are not supported: 32-bit samples are too large: scale them"),
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


@pytest.mark.skipif(not hasattr(torch, "quint8"), reason="torch without quantized tensors")
@pytest.mark.filterwarnings("ignore:.*deprecated:UserWarning", "ignore:.*prototype:UserWarning")
def test_quantized_and_nested_tensors(tiny: codec.Codec) -> None:
    tensor = torch.zeros(3, 4, 4)
    with pytest.raises(codec.InvalidImage, match="quantized tensors are not supported: convert"):
        tiny.compress(torch.quantize_per_tensor(tensor, 0.1, 0, torch.quint8))
    with pytest.raises(codec.InvalidImage, match="nested tensors are not supported: give its parts"):
        tiny.compress(torch.nested.nested_tensor([tensor]))


def test_gray_of_three_dimensions(tiny: codec.Codec, tmp_path: Path) -> None:
    """H×W×1 is gray, as 1×H×W is in torch."""
    for dtype in (np.uint8, np.uint16):
        image = np.arange(20 * 30, dtype=dtype).reshape(20, 30) % 251
        data = tiny.compress(image)
        assert tiny.compress(image[:, :, None]) == data
        if dtype == np.uint8:
            assert tiny.compress(torch.from_numpy(image)[None]) == data
        np.save(tmp_path / "x.npy", image[:, :, None])
        picture, _ = read_image(tmp_path / "x.npy")
        assert tiny.compress(picture) == data


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_bands_of_arrays_are_chosen(tmp_path: Path, dtype: Any) -> None:
    array = np.random.default_rng(0).integers(0, 200, (20, 30, 6)).astype(dtype)
    array[:, :, 5] = 201
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(codec.InvalidImage, match=r"6 bands: choose .* bands=\(1, 2, 3\) or --bands 1,2,3"):
        read_image(tmp_path / "x.npy")
    picture, _ = read_image(tmp_path / "x.npy", bands=np.array([5, 1, 3]))
    assert np.array_equal(picture.read(picture.box), array[:, :, [4, 0, 2]])
    assert np.array_equal(picture.read(Box(3, 4, 8, 10)), array[3:8, 4:10, [4, 0, 2]])
    assert picture.has_alpha is False


def test_bands_of_any_picture_are_chosen(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 255, (20, 30, 4), np.uint8)
    path = tmp_path / "x.png"
    Image.fromarray(array).save(path)
    for bands in ((1, 2, 3), (4,), (2, 4), (3, 2, 1, 4)):
        picture, _ = read_image(path, bands=bands)
        assert np.array_equal(picture.read(picture.box), array[:, :, [band - 1 for band in bands]])
    palette = Image.fromarray(array).convert("RGB").quantize(8)
    palette.save(path, transparency=0)
    picture, _ = read_image(path, bands=(1, 2, 3))
    assert (picture.samples.shape[2], picture.source) == (3, Source.PALETTE)


@pytest.mark.parametrize(
    ("bands", "error", "says"),
    [
        ((1, 2, 5), ValueError, "has 4 bands, so there is no band 5"), ((0,), ValueError, "counted from 1"),
        ((), ValueError, "1 to 4 bands, not 0"), ((1, 2, 3, 4, 1), ValueError, "1 to 4 bands, not 5"),
        ((1.0,), TypeError, "integers"), ((True,), TypeError, "integers"), (("1",), TypeError, "integers"),
    ],
)
def test_bands_that_are_no_choice(tmp_path: Path, bands: Any, error: type[Exception], says: str) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 5, 4), np.uint8))
    with pytest.raises(error, match=says):
        read_image(tmp_path / "x.npy", bands=bands)


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


@pytest.mark.parametrize("data", ["text", None, 5, np.zeros(4, np.float32)])
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
