"""HEIC files, read with pillow-heif: depth, orientation, alpha, and further pictures."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import PIL.Image
import pillow_heif
import pytest
from numpy.typing import NDArray

import codec
from codec.pictures.reading import read_image
from tests.support.pictures import textured

RGB = textured(48, 64)
RGBA = np.dstack([RGB, RGB[::-1, :, 0]])
EXACT: dict[str, Any] = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}


def heic(mode: str, array: NDArray[Any], **options: Any) -> io.BytesIO:
    """Return a HEIC file that holds the samples exactly."""
    file = io.BytesIO()
    height, width = array.shape[:2]
    opened = pillow_heif.from_bytes(mode, (width, height), np.ascontiguousarray(array).tobytes())
    opened.save(file, **EXACT, **options)
    return file


@pytest.mark.parametrize(("mode", "array"), [("L", RGB[:, :, 0]), ("RGB", RGB), ("RGBA", RGBA)])
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_every_kind(monkeypatch: pytest.MonkeyPatch, mode: str, array: NDArray[Any], bits: int) -> None:
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    deep = array.astype(np.uint16) * 257
    picture, _ = read_image(heic(mode, array) if bits == 8 else heic(f"{mode};16", deep))
    assert picture.depth == bits
    expected = array if bits == 8 else deep >> (16 - bits)
    assert np.array_equal(picture.read(picture.box).squeeze(), expected)
    assert "HEIF" not in PIL.Image.OPEN  # Pillow of the process is left alone


def test_the_picture_is_turned_once() -> None:
    tags = PIL.Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "maker"
    picture, metadata = read_image(heic("RGB", RGB, exif=tags.tobytes()))
    assert np.array_equal(picture.read(picture.box), np.rot90(RGB, -1))
    kept = PIL.Image.Exif()
    assert metadata.exif is not None
    kept.load(metadata.exif)
    assert (kept.get(0x0112, 1), kept[0x010F]) == (1, "maker")


def test_the_primary_picture_is_read() -> None:
    opened = pillow_heif.from_pillow(PIL.Image.fromarray(RGB))
    opened.add_from_pillow(PIL.Image.fromarray(RGB[::-1]))
    file = io.BytesIO()
    opened.save(file, primary_index=1, **EXACT)
    with pytest.warns(codec.NotKept, match="1 more picture of 2"):
        picture, _ = read_image(file)
    assert np.array_equal(picture.read(picture.box), RGB[::-1])
    with pytest.raises(codec.LimitExceeded):
        read_image(file, codec.Limits(max_pixels=48 * 64 - 1))


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1", b"msf1"])
def test_damage_is_named(brand: bytes) -> None:
    with pytest.raises(codec.InvalidImage, match="pillow-heif cannot read the HEIC file"):
        read_image(io.BytesIO(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(200)))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    file = heic("RGB", RGB)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(codec.InvalidImage, match=r"^HEIC files need pillow-heif: .*codec\[heif\]'$"):
        read_image(file)
