"""JPEG 2000: the stated depth, signs, and components without a meaning."""

from __future__ import annotations

import io
import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.pictures.reading import read_image
from tests.support.pictures import textured

RGB = textured(48, 64)
GRAY = RGB[:, :, 0].copy()
DEEP = RGB.astype(np.uint16) * 257
CODESTREAM = b"\xff\x4f\xff\x51"


def jp2(array: NDArray[Any], **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(array), level=0, reversible=True, **options))


def samples(data: bytes, **options: Any) -> NDArray[Any]:
    picture, _ = read_image(io.BytesIO(data), **options)
    return np.asarray(picture.read(picture.box))


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_the_stated_depth(bits: int, colour: bool) -> None:
    """Gray comes from Pillow, which shifts it to 16 bits; colour comes from imagecodecs."""
    array = (DEEP if colour else DEEP[:, :, :1]) >> (16 - bits)
    picture, _ = read_image(io.BytesIO(jp2(array.squeeze(), bitspersample=bits)))
    assert picture.depth == bits
    assert np.array_equal(picture.read(picture.box), array)


@pytest.mark.parametrize("bits", [1, 2, 4, 7])
def test_white_of_few_bits_is_white(bits: int) -> None:
    array = GRAY >> (8 - bits)
    top = (1 << bits) - 1
    expected = np.round(array * (255 / top))
    assert np.array_equal(samples(jp2(array, bitspersample=bits))[:, :, 0], expected)


@pytest.mark.parametrize("count", [2, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_components_without_a_meaning(count: int, dtype: Any) -> None:
    array = (np.dstack([DEEP, DEEP[::-1]])[:, :, :count] >> (8 if dtype == np.uint8 else 0)).astype(dtype)
    with pytest.raises(codec.InvalidImage, match=f"{count} bands, none of which .* alpha: choose"):
        samples(jp2(array))
    assert np.array_equal(samples(jp2(array), bands=(2, 1)), array[:, :, [1, 0]])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_of_our_own_files(mode: str) -> None:
    image = Image.fromarray(np.dstack([RGB, GRAY])).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG2000")
    assert np.array_equal(samples(file.getvalue()), np.asarray(image))


@pytest.mark.parametrize("array", [GRAY, RGB])
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_signed_components(array: NDArray[Any], dtype: Any) -> None:
    with pytest.raises(codec.InvalidImage, match="are signed: add an offset"):
        samples(jp2((array.astype(np.int16) - 128).astype(dtype)))


COLOUR = jp2(RGB)
START = COLOUR.index(CODESTREAM)
SPACE = COLOUR.index(b"colr") + 7


@pytest.mark.parametrize(
    ("data", "says"),
    [
        *[(changed(COLOUR, SPACE, struct.pack(">I", number)), name)
          for number, name in ((12, "CMYK"), (14, "CIELab"), (20, "e-sRGB"), (99, "colour space 99"))],
        (changed(COLOUR, START + 43, b"\2"), "lower resolution"),
        (changed(COLOUR, START + 42, b"\x0b"), "different depths"),
        (changed(COLOUR, START + 42, b"\x13\1\1" * 3), "20 bits do not fit"),
        (COLOUR[: START + 20], "cut short"), (COLOUR[:60], "cut short"),
    ],
)
def test_what_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(codec.InvalidImage, match=says):
        samples(data)


def test_a_bare_codestream_and_a_palette() -> None:
    assert np.array_equal(samples(COLOUR[START:]), RGB)
    palette = np.array([[10, 20, 30], [200, 100, 50], [1, 2, 3], [255, 254, 253]], np.uint8)
    indices = GRAY >> 6
    gray = jp2(indices)
    header = (
        box(b"ihdr", struct.pack(">IIHBBBB", 48, 64, 1, 7, 7, 0, 0))
        + box(b"colr", b"\1\0\0" + struct.pack(">I", 16))
        + box(b"pclr", struct.pack(">HB", 4, 3) + b"\7\7\7" + palette.tobytes())
        + box(b"cmap", b"\0\0\1\0\0\0\1\1\0\0\1\2")
    )
    data = (
        b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + box(b"jp2h", header)
        + box(b"jp2c", gray[gray.index(CODESTREAM) :])
    )
    assert np.array_equal(samples(data), palette[indices])


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("bands", [1, 3, 4])
def test_the_stated_depth_of_avif(bits: int, bands: int) -> None:
    array = np.dstack([DEEP, DEEP[::-1]])[:, :, :bands] >> (16 - bits)
    data = imagecodecs.avif_encode(np.ascontiguousarray(array.squeeze()), level=100, bitspersample=bits)
    picture, _ = read_image(io.BytesIO(data))
    assert picture.depth == bits
    assert np.array_equal(picture.read(picture.box), array)


def test_the_depth_of_avif_is_found_after_other_boxes() -> None:
    data = imagecodecs.avif_encode(DEEP[:, :, 0] >> 6, level=100, bitspersample=10)
    start, size = data.index(b"mdat") + 4, struct.unpack_from(">I", data)[0]
    assert data.count(struct.pack(">I", start)) == 1
    free = box(b"free", bytes(1 << 17))
    moved = data.replace(struct.pack(">I", start), struct.pack(">I", start + len(free)))
    picture, _ = read_image(io.BytesIO(moved[:size] + free + moved[size:]))
    assert picture.depth == 10
    assert np.array_equal(picture.read(picture.box), DEEP[:, :, :1] >> 6)
