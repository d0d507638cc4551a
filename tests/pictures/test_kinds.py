"""Every kind of picture: gray and RGB, with and without alpha, 8 to 16 bits, and conversions."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.pictures.picture import Samples
from codec.pictures.reading import read_image
from codec.pictures.transparency import fill
from tests.support.pictures import textured
from tests.support.tiles import encode

RGBA_KINDS = [(samples, depth) for samples in (1, 2, 3, 4) for depth in (8, 10, 12, 16)]


def picture(height: int, width: int, samples: int, depth: int, seed: int = 0) -> NDArray[Any]:
    """Return a picture of shape H×W×C, or H×W if it has one sample.

    Its alpha has transparent, partly transparent and opaque parts.
    """
    colour = textured(height, width, seed)[:, :, : 3 if samples > 2 else 1].astype(np.uint16)
    full = (1 << depth) - 1
    if depth > 8:
        colour = np.round(colour * (full / 255)).astype(np.uint16)
    if samples in (2, 4):
        ramp = np.clip(np.linspace(-1, 2, width) * full, 0, full)
        alpha = np.broadcast_to(ramp, (height, width)).astype(np.uint16)[:, :, None]
        colour = np.concatenate([colour, alpha], -1)
    array = colour.astype(np.uint8 if depth == 8 else np.uint16)
    return array[:, :, 0] if samples == 1 else array


def colour_of(array: NDArray[Any]) -> NDArray[np.float64]:
    channels = {1: 1, 2: 1, 3: 3, 4: 3}[1 if array.ndim == 2 else array.shape[2]]
    return array.reshape(*array.shape[:2], -1)[:, :, :channels].astype(np.float64)


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize(("samples", "depth"), RGBA_KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (37, 50), (140, 150)])
def test_shape_and_dtype_are_kept(
    tiny: codec.Codec, samples: int, depth: int, shape: tuple[int, int]
) -> None:
    image = picture(*shape, samples, depth)
    before = image.copy()
    data = tiny.compress(image, quality=100)
    assert data == tiny.compress(np.asfortranarray(image), quality=100)
    assert np.array_equal(image, before)
    decoded = tiny.decompress(data)
    assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
    info = codec.inspect(data)
    assert (info.channels, info.lossless) == (samples, False)
    assert info.bit_depth == depth or (shape == (1, 1) and depth > 8)
    if samples in (2, 4):
        assert np.array_equal(decoded[:, :, -1], image[:, :, -1])


@pytest.mark.parametrize(("samples", "depth"), RGBA_KINDS)
def test_stored_pictures_come_back_exactly(tiny: codec.Codec, samples: int, depth: int) -> None:
    full = (1 << depth) - 1
    image = np.zeros((150, 130, samples), np.uint8 if depth == 8 else np.uint16)
    image[40:90, 30:70] = full
    image[100:, :, 0] = full // 2
    image = image[:, :, 0] if samples == 1 else image
    data = tiny.compress(image)
    info = codec.inspect(data)
    assert (info.lossless, info.channels, info.bit_depth) == (True, samples, depth)
    decoded = tiny.decompress(data)
    assert decoded.dtype == image.dtype
    shown = image if samples in (1, 3) else np.where(image[:, :, -1:] > 0, image, 0)
    assert np.array_equal(decoded, shown)


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("samples", [2, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_tiles_and_regions_with_alpha(tiny: codec.Codec, samples: int, depth: int) -> None:
    image = picture(200, 150, samples, depth)
    data = encode(tiny, image, 400)
    assert codec.inspect(data).tiles == 12
    whole = tiny.decompress(data)
    assert np.array_equal(whole[:, :, -1], image[:, :, -1])
    part = tiny.decompress(data, region=(50, 60, 90, 70))
    assert np.array_equal(part, whole[50:140, 60:130])


@pytest.mark.usefixtures("never_stored")
def test_lost_alpha_is_opaque_and_masked(tiny: codec.Codec) -> None:
    image = picture(128, 128, 4, 8)
    data = bytearray(encode(tiny, image, 400))
    whole = tiny.decompress(bytes(data))
    data[-1] ^= 1  # the alpha of the last tile
    for function in (tiny.decompress, codec.verify):
        with pytest.raises(codec.ChecksumMismatch, match="alpha of tile 3 of 4 is damaged"):
            function(bytes(data))
    shown, mask = tiny.decompress(bytes(data), on_error="conceal")
    assert mask[64:, 64:].all()
    assert mask.sum() == 64 * 64
    assert np.array_equal(shown[~mask], whole[~mask])
    assert (shown[64:, 64:, 3] == 255).all()
    assert np.array_equal(shown[:, :, :3], whole[:, :, :3])


def test_hidden_colour_costs_nothing(tiny: codec.Codec) -> None:
    """Colour under alpha 0 does not change the file, and it costs less than visible colour."""
    rng = np.random.default_rng(0)
    image = picture(160, 200, 4, 8)
    image[:, :140, 3] = 0
    hidden = image[:, :, 3] == 0
    other = image.copy()
    other[hidden, :3] = rng.integers(0, 256, (int(hidden.sum()), 3))
    data = tiny.compress(image, quality=60)
    assert data == tiny.compress(other, quality=60)
    other[:, :, 3] = 255
    assert len(data) < 0.85 * len(tiny.compress(other, quality=60))


def test_filling_is_smooth_and_leaves_what_shows() -> None:
    rng = np.random.default_rng(0)
    colour = rng.random((37, 50, 3), np.float32)
    shown = np.zeros((37, 50), bool)
    assert (fill(colour, shown) == 0.5).all()
    shown[5:30, 10:20] = True
    colour[shown] = (0.2, 0.4, 0.6)
    assert np.allclose(fill(colour, shown), (0.2, 0.4, 0.6))
    shown[3, 49] = True
    filled = fill(colour, shown)
    assert filled.dtype == np.float32
    assert np.array_equal(filled[shown], colour[shown])
    assert filled.min() >= colour[shown].min() - 1e-6
    assert filled.max() <= colour[shown].max() + 1e-6
    assert fill(colour, np.ones((37, 50), bool)) is colour


@pytest.mark.usefixtures("never_stored")
def test_more_than_eight_bits_survive() -> None:
    """At quality 100, the error of a smooth 16-bit picture is less than that of 8-bit rounding."""
    rows, columns = np.mgrid[:256, :256]
    image = np.round(20000 + 60 * rows + 45 * columns).astype(np.uint16)
    decoded = codec.decompress(codec.compress(np.stack([image] * 3, -1), quality=100)).astype(np.float64)
    error = np.mean(np.square(decoded - image[:, :, None]))
    assert error < 257**2 / 12
    # There are more levels than 8 bits have between the darkest and the brightest pixel.
    assert len(np.unique(decoded)) > 4 * (int(image.max()) - int(image.min())) / 257


@pytest.mark.parametrize(
    ("largest", "depth"), [(0, 10), (255, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (65535, 16)]
)
def test_bit_depth_is_seen_or_given(tiny: codec.Codec, largest: int, depth: int) -> None:
    image = np.zeros((40, 40), np.uint16)
    image[7, 9] = largest
    assert codec.inspect(tiny.compress(image)).bit_depth == depth
    given = tiny.compress(image, bit_depth=16)
    assert codec.inspect(given).bit_depth == 16
    assert tiny.decompress(given).dtype == np.uint16
    if largest > 511:
        with pytest.raises(codec.InvalidImage, match="do not fit a bit_depth of 9"):
            tiny.compress(image, bit_depth=9)


@pytest.mark.parametrize(
    ("dtype", "bit_depth", "error"),
    [(np.uint8, 12, ValueError), (np.uint16, 8, ValueError), (np.uint16, 17, ValueError),
     (np.uint16, 12.0, TypeError), (np.uint8, True, TypeError)],
)
def test_wrong_bit_depths(tiny: codec.Codec, dtype: Any, bit_depth: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="bit_depth"):
        tiny.compress(np.zeros((4, 4), dtype), bit_depth=bit_depth)


def test_byte_order_and_strides_do_not_matter(tiny: codec.Codec) -> None:
    image = picture(40, 50, 3, 12)
    data = tiny.compress(image)
    read_only = image.copy()
    read_only.flags.writeable = False
    wide = np.zeros((40, 100, 3), np.uint16)
    wide[:, ::2] = image
    for same in (image.astype(">u2"), read_only, wide[:, ::2], image[::-1][::-1], np.asfortranarray(image)):
        assert tiny.compress(same) == data


PILLOW = [
    ("L", 1, None), ("LA", 2, None), ("RGB", 3, None), ("RGBA", 4, None), ("1", 1, "1-bit"),
    ("P", 3, "palette"), ("PA", 4, "palette with transparency"),
]


@pytest.mark.parametrize(("mode", "channels", "source"), PILLOW)
def test_pillow_modes(tiny: codec.Codec, mode: str, channels: int, source: str | None) -> None:
    base = Image.fromarray(picture(60, 40, 4, 8))
    image = base if mode == "RGBA" else base.convert({"PA": "L", "P": "RGB"}.get(mode, mode)).convert(mode)
    data = tiny.compress(image)
    info = codec.inspect(data)
    assert (info.channels, info.source) == (channels, source)
    expected = np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]))
    assert tiny.decompress(data).shape == expected.shape
    if mode in ("LA", "RGBA"):
        assert np.array_equal(tiny.decompress(data)[:, :, -1], expected[:, :, -1])


@pytest.mark.parametrize(
    ("mode", "key", "source"),
    [("P", 3, "palette with transparency"), ("P", bytes([0, 128, 255, 9]), "palette with transparency"),
     ("L", 200, "transparent colour"), ("RGB", (1, 2, 3), "transparent colour"),
     ("1", 0, "transparent colour")],
)
def test_transparent_colours_become_alpha(tiny: codec.Codec, mode: str, key: Any, source: str) -> None:
    image = Image.fromarray(np.tile(np.array([0, 1, 2, 200], np.uint8), (8, 3))).convert(mode)
    image.info["transparency"] = key
    expected = np.asarray(image.convert("LA" if mode in "L1" else "RGBA"))
    data = tiny.compress(image)
    assert codec.inspect(data).source == source
    assert np.array_equal(tiny.decompress(data)[:, :, -1], expected[:, :, -1])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_transparent_gray_of_png_files(bits: int) -> None:
    """Pillow scales samples of 2 and 4 bits to 8 bits, but not the gray that is transparent."""
    top = (1 << bits) - 1
    gray = np.arange(64, dtype=np.uint8).reshape(8, 8) & np.uint8(top)
    rows = np.packbits(np.unpackbits(gray[:, :, None], axis=2)[:, :, 8 - bits :].reshape(8, -1), axis=1)
    chunks = [
        (b"IHDR", struct.pack(">2I5B", 8, 8, bits, 0, 0, 0, 0)), (b"tRNS", bytes([0, 1])),
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))), (b"IEND", b""),
    ]
    data = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    found, _ = read_image(io.BytesIO(b"\x89PNG\r\n\x1a\n" + data))
    expected = np.stack([gray * (255 // top), np.where(gray == 1, 0, 255)], -1)
    assert np.array_equal(found.read(found.box), expected)


def test_pillow_16_bits(tiny: codec.Codec) -> None:
    array = picture(50, 60, 1, 16)
    for image in (Image.fromarray(array), Image.fromarray(array.astype("<u2"))):
        assert image.mode.startswith("I;16")
        data = tiny.compress(image)
        assert data == tiny.compress(array)
        assert codec.inspect(data).bit_depth == 16


def test_tensors(tiny: codec.Codec) -> None:
    for samples, depth in ((1, 8), (2, 8), (3, 8), (4, 8), (3, 16), (4, 16)):
        array = picture(30, 40, samples, depth)
        tensor = torch.from_numpy(array.reshape(30, 40, samples).transpose(2, 0, 1).copy())
        assert tiny.compress(tensor) == tiny.compress(array)
    floats = torch.from_numpy(picture(30, 40, 4, 8).transpose(2, 0, 1) / 255.0)
    assert tiny.compress(floats) == tiny.compress(picture(30, 40, 4, 8))


@pytest.mark.parametrize(("samples", "depth"), [(4, 8), (2, 8), (3, 12), (1, 16)])
def test_target_psnr_counts_what_shows(samples: int, depth: int) -> None:
    image = picture(120, 150, samples, depth)
    decoded = codec.decompress(codec.compress(image, target_psnr=22))
    error = np.square(colour_of(image) - colour_of(decoded))
    if samples in (2, 4):
        error = error[image[:, :, -1] > 0]
    assert 10 * np.log10(((1 << depth) - 1) ** 2 / error.mean()) >= 22


def test_mixed_batches(tiny: codec.Codec) -> None:
    """A batch of same-sized pictures of every kind gives files like those of single calls."""
    images: list[Samples] = [picture(64, 80, samples, depth) for samples, depth in RGBA_KINDS]
    files = tiny.compress_batch(images)
    pictures = tiny.decompress_batch(files)
    for image, data, decoded, (_, depth) in zip(images, files, pictures, RGBA_KINDS, strict=True):
        assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
        alone = tiny.compress(image)
        one, other = (
            dataclasses.replace(codec.inspect(each), bytes=0, header_bytes=0) for each in (data, alone)
        )
        assert one == other
        # Symbols near a tie may differ.
        error = np.square(decoded / 1.0 - tiny.decompress(alone)).mean()
        assert error < (0.01 * (1 << depth)) ** 2


def test_the_search_takes_every_kind(tiny: codec.Codec) -> None:
    for samples, depth in ((4, 8), (2, 16), (3, 10)):
        image = picture(50, 60, samples, depth)
        decoded = tiny.decompress(tiny.compress(image, effort=5))
        assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
