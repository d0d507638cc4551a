"""The residual layer of deep pictures at qualities above 90.

No sample may have an error of more than half a step.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import codec
from bench.studies.deep import halved
from codec.coding.residual import add_residual, pack_residual, quantize_residual, step_of, unpack_residual
from codec.entropy_coder import Encoder
from codec.format import container
from codec.model.quantization import SYMBOL_LIMIT
from codec.training.data import read_rgb
from tests.pictures.test_kinds import colour_of, picture
from tests.support.pictures import SAMPLES
from tests.support.tiles import encode


def error_of(image: NDArray[Any], decoded: NDArray[Any]) -> int:
    """Return the largest error of a visible sample."""
    assert (decoded.shape, decoded.dtype) == (image.shape, image.dtype)
    errors = np.abs(colour_of(image) - colour_of(decoded))
    if image.ndim == 3 and image.shape[2] in (2, 4):
        assert np.array_equal(image[:, :, -1], decoded[:, :, -1])
        errors = errors[image[:, :, -1] > 0]
    return int(errors.max(initial=0))


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.jpg")), ids=lambda path: path.stem)
def test_more_than_eight_bits_of_photographs_survive(path: Any) -> None:
    """At the highest quality, 16-bit photographs keep ten bits, as the format promises."""
    image = halved(read_rgb(path))
    data = codec.compress(image, quality=100, bit_depth=16)
    decoded = codec.decompress(data)
    assert codec.inspect(data).max_error == 32
    assert error_of(image, decoded) <= 32
    error = np.sqrt(np.mean(np.square(colour_of(image) - colour_of(decoded))))
    eight = np.sqrt(np.mean(np.square(colour_of(image) - np.round(colour_of(image) / 257) * 257)))
    assert error < eight / 3.5
    assert 8 * len(data) < 0.55 * 48 * image.shape[0] * image.shape[1]


def test_steps() -> None:
    for depth in range(9, 17):
        steps = [step_of(level, depth) for level in range(1025)]
        assert not any(steps[:923])
        assert steps[923:] == sorted(steps[923:], reverse=True)
        assert steps[1024] == max(1, 64 >> (16 - depth))
        assert 1 <= min(steps[923:]) <= max(steps) < 1 << (depth - 2)
    assert not any(step_of(level, 8) for level in range(1025))


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [9, 10, 12, 16])
@pytest.mark.parametrize("shape", [(1, 1), (37, 50), (130, 140)])
def test_every_error_is_bounded(
    tiny: codec.Codec, samples: int, depth: int, shape: tuple[int, int]
) -> None:
    image = picture(*shape, samples, depth)
    for quality in (91, 96.6, 100):
        data = tiny.compress(image, quality=quality, bit_depth=depth)
        bound = codec.inspect(data).max_error
        assert bound is not None
        assert bound < 2.0 ** (depth - 2)
        assert error_of(image, tiny.decompress(data)) <= bound


@pytest.mark.usefixtures("never_stored")
def test_where_there_is_none(tiny: codec.Codec) -> None:
    for depth, quality in ((8, 100), (16, 90), (16, 0)):
        info = codec.inspect(tiny.compress(picture(40, 50, 3, depth), quality=quality))
        assert info.max_error is None
    assert codec.inspect(tiny.compress(picture(40, 50, 3, 16), quality=90.1)).max_error is not None


def test_stored_pictures_have_no_error(tiny: codec.Codec) -> None:
    image = np.zeros((100, 100), np.uint16)
    image[20:] = 60000
    data = tiny.compress(image, quality=100)
    assert codec.inspect(data).max_error == 0
    assert np.array_equal(tiny.decompress(data), image)


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("samples", [1, 4])
def test_tiles_regions_and_batches(tiny: codec.Codec, samples: int) -> None:
    image = picture(200, 150, samples, 12)
    data = encode(tiny, image, 1000)
    file = container.read(data)
    assert len(file.header.residual) == 12
    whole = tiny.decompress(data)
    assert error_of(image, whole) <= file.header.step // 2
    assert np.array_equal(tiny.decompress(data, region=(50, 60, 90, 70)), whole[50:140, 60:130])
    assert np.array_equal(tiny.decompress_batch([data, data])[1], whole)
    shown, mask = tiny.decompress(data, on_error="conceal")
    assert np.array_equal(shown, whole)
    assert not mask.any()


@pytest.mark.usefixtures("never_stored")
def test_batches_and_memory_order_write_the_same(tiny: codec.Codec) -> None:
    images = [picture(60, 80, samples, 16, samples) for samples in (1, 2, 3, 4)]
    files = [tiny.compress(image, quality=97) for image in images]
    assert tiny.compress_batch(images, quality=97) == files
    assert tiny.compress(np.asfortranarray(images[2]), quality=97) == files[2]


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("samples", [3, 4])
def test_a_damaged_residual(tiny: codec.Codec, samples: int) -> None:
    """A damaged residual is named in the error.

    If it is concealed, the tile shows the picture from the latents, and the mask marks that tile.
    """
    image = picture(128, 128, samples, 16)
    data = encode(tiny, image, 1000)
    file = container.read(data)
    damaged = bytearray(data)
    damaged[data.index(bytes(file.residual_payload(2))) + 5] ^= 1
    for function in (tiny.decompress, codec.verify):
        with pytest.raises(codec.ChecksumMismatch, match=r"^residual of tile 2 of 4 is damaged$"):
            function(bytes(damaged))
    with pytest.raises(codec.ChecksumMismatch, match="residual of tile 2"):
        tiny.decompress(bytes(damaged), region=(127, 0, 1, 1))
    whole = tiny.decompress(data)
    part = tiny.decompress(bytes(damaged), region=(0, 0, 64, 128))
    assert np.array_equal(part, whole[:64])
    shown, mask = tiny.decompress(bytes(damaged), on_error="conceal")
    assert mask[64:, :64].all()
    assert mask.sum() == 64 * 64
    assert np.array_equal(shown[~mask], whole[~mask])
    part, lost = tiny.decompress(bytes(damaged), region=(30, 20, 90, 70), on_error="conceal")
    assert np.array_equal(part, shown[30:120, 20:90])
    assert np.array_equal(lost, mask[30:120, 20:90])
    tiles = [bytes(file.payload(tile)) for tile in range(4)]
    alpha = [bytes(file.alpha_payload(tile)) for tile in range(4)] if samples == 4 else []
    plain = dataclasses.replace(file.header, residual=(), step=0)
    without = tiny.decompress(container.pack(plain, tiles, alpha=alpha))
    assert np.array_equal(shown[mask], without[mask])
    assert not np.array_equal(shown[mask], whole[mask])


@pytest.mark.usefixtures("never_stored")
def test_a_lost_tile_has_no_residual(tiny: codec.Codec) -> None:
    """Where latents are lost, the picture is the same as without a residual layer."""
    data = encode(tiny, picture(128, 128, 3, 16), 1000)
    file = container.read(data)
    tiles = [bytes(file.payload(tile)) for tile in range(4)]
    residual = [bytes(file.residual_payload(tile)) for tile in range(4)]
    tiles[3] = bytes(len(tiles[3]))
    plain = dataclasses.replace(file.header, residual=(), step=0)
    shown, mask = tiny.decompress(
        container.pack(file.header, tiles, residual=residual), on_error="conceal"
    )
    without, _ = tiny.decompress(container.pack(plain, tiles), on_error="conceal")
    assert mask[64:, 64:].all()
    assert np.array_equal(shown[64:, 64:], without[64:, 64:])
    assert np.array_equal(shown[~mask], tiny.decompress(data)[~mask])


@pytest.mark.usefixtures("never_stored")
def test_hidden_colour_costs_nothing(tiny: codec.Codec) -> None:
    image = picture(60, 90, 4, 16)
    other = image.copy()
    other[image[:, :, 3] == 0, :3] ^= 0x5A5A
    assert tiny.compress(image, quality=99) == tiny.compress(other, quality=99)


@pytest.mark.usefixtures("never_stored")
def test_size_and_precision_rise_with_quality() -> None:
    image = halved(read_rgb(min(SAMPLES.glob("*.jpg"))))[:96, :128]
    files = [codec.compress(image, quality=quality) for quality in np.arange(88, 100.5, 0.5)]
    sizes = [len(data) for data in files]
    errors = [np.square(colour_of(image) - colour_of(codec.decompress(data))).mean() for data in files]
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert max(after / before for before, after in itertools.pairwise(sizes)) < 1.35


@pytest.mark.usefixtures("never_stored")
def test_targets(tiny: codec.Codec) -> None:
    """Rate control continues into the range of the residual layer."""
    image = picture(120, 150, 3, 16)
    pixels = image.shape[0] * image.shape[1]
    for goal in (45.0, 55.0, 65.0):
        decoded = tiny.decompress(tiny.compress(image, target_psnr=goal))
        error = np.square(colour_of(image) - colour_of(decoded)).mean()
        assert goal <= 10 * np.log10(65535**2 / error) <= goal + 0.6  # one level
    for bits in (8.0, 14.0):
        assert abs(8 * len(tiny.compress(image, target_bpp=bits)) / pixels / bits - 1) < 0.02
        size = round(bits * pixels / 8)
        assert 0.96 * size <= len(tiny.compress(image, target_bytes=size)) <= size


@pytest.mark.usefixtures("never_stored")
def test_search_and_progress(tiny: codec.Codec) -> None:
    image = picture(70, 140, 3, 12)
    told: list[float] = []
    data = tiny.compress(image, quality=98, effort=5, progress=told.append)
    assert error_of(image, tiny.decompress(data)) <= (codec.inspect(data).max_error or 0)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.usefixtures("never_stored")
def test_progress_goes_on_row_by_row(tiny: codec.Codec) -> None:
    """Progress also counts the rows of the residual, which takes as long as the latents."""
    told: list[float] = []
    encode(tiny, picture(250, 70, 3, 12), 1000, progress=told.append)
    assert told == sorted(told)
    assert set(told) >= {0.5, 0.625, 0.75, 0.875, 1.0}
    assert told[-1] == 1.0


def test_symbols_come_back(tiny: codec.Codec) -> None:
    """All symbols of the format come back, from only zeros to escapes."""
    tables = tiny._loaded.tables
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1), (8, 8, 3), (9, 23, 1), (64, 40, 3)):
        for size in (0.0, 0.05, 1.0, 30.0, 2000.0, 3e5):
            symbols = np.rint(rng.laplace(0, 1, shape) * size).clip(-SYMBOL_LIMIT, SYMBOL_LIMIT)
            symbols[: shape[0] // 2] = 0
            payload, crc = pack_residual(tables, symbols.astype(np.int32))
            assert np.array_equal(unpack_residual(tables, payload, shape, crc, "it"), symbols)
            if size == 0:
                assert len(payload) <= 8 + symbols.size // 64


def test_blocks_choose_their_scale() -> None:
    """Flat parts of the residual cost almost nothing, even if other parts are not flat."""
    tables = codec.Codec()._loaded.tables
    rng = np.random.default_rng(0)
    loud = np.rint(rng.normal(0, 20, (64, 64, 1))).astype(np.int32)
    quiet = np.zeros((64, 64, 1), np.int32)
    both = np.concatenate([loud, quiet], 1)
    sizes = [len(pack_residual(tables, symbols)[0]) for symbols in (loud, both)]
    assert sizes[1] < 1.02 * sizes[0]
    # Entropy of a normal distribution with this standard deviation, and the scales of 64 blocks.
    assert 8 * sizes[0] < 64 * 64 * 1.02 * np.log2(20 * np.sqrt(2 * np.pi * np.e)) + 64 * 6


def test_rounding_and_adding() -> None:
    original = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256, 1)
    decoded = np.random.default_rng(0).permutation(original.reshape(-1)).reshape(original.shape)
    for step in (1, 2, 3, 64, 1001, 65535):
        residual = quantize_residual(original, decoded, step)
        back = add_residual(decoded, residual, step, 65535)
        assert back.dtype == np.uint16
        assert np.abs(back.astype(int) - original).max() <= step // 2
    extreme = np.full((1, 2, 1), SYMBOL_LIMIT, np.int32) * np.array([[[1], [-1]]], np.int32)
    middle = np.full((1, 2, 1), 500, np.uint16)
    for step in (1, 4000, 4096, 65535):
        assert add_residual(middle, extreme, step, 1023).ravel().tolist() == [1023, 0]


def forged(worker: codec.Codec, differences: list[int], values: NDArray[np.int32]) -> bytes:
    """Return the payload of a residual of one row of blocks with any contents."""
    tables = worker._loaded.tables
    encoder = Encoder(tables)
    encoder.put(np.array(differences, np.int32), [(35, len(differences))])
    order, groups = tables.grouped(_scales(differences, values.size))
    encoder.put(values[order], groups)
    return encoder.finish()


def _scales(differences: list[int], count: int) -> NDArray[np.uint16]:
    return np.repeat(np.clip(np.cumsum(differences), 0, 63).astype(np.uint16), 8)[:count]


@pytest.mark.parametrize(
    ("differences", "value", "message"),
    [
        ([-1, 3], 0, "scale is out of range"), ([63, 1], 0, "scale is out of range"),
        ([1, -2], 0, "scale is out of range"), ([5, SYMBOL_LIMIT + 1], 0, "symbol is out of range"),
        ([5, 6], SYMBOL_LIMIT + 1, "symbol is out of range"),
        ([5, 6], -SYMBOL_LIMIT - 1, "symbol is out of range"), ([5, 6], 7, None), ([9, -6], 7, None),
    ],
)
def test_forged_payloads(
    tiny: codec.Codec, differences: list[int], value: int, message: str | None
) -> None:
    values = np.zeros(16, np.int32)
    values[0], values[9] = 1, value
    payload = forged(tiny, differences, values)
    tables = tiny._loaded.tables
    if message is None:
        with pytest.raises(codec.ChecksumMismatch, match=r"^it is damaged: its symbols do not match"):
            unpack_residual(tables, payload, (1, 16, 1), 0, "it")
        crc = _crc_of(differences, values)
        assert unpack_residual(tables, payload, (1, 16, 1), crc, "it").ravel().tolist() == values.tolist()
        for surplus in (b"\1\2\3\4" * 2, b"\1"):
            with pytest.raises(codec.FormatError, match=r"^it: payload"):
                unpack_residual(tables, payload + surplus, (1, 16, 1), crc, "it")
    else:
        with pytest.raises(codec.FormatError, match=f"^it: a {message}"):
            unpack_residual(tables, payload, (1, 16, 1), 0, "it")


def _crc_of(differences: list[int], values: NDArray[np.int32]) -> int:
    """Return the CRC of the differences and of the values, in the order in which they are coded."""
    values = values[np.argsort(_scales(differences, values.size), kind="stable")]
    return zlib.crc32(values.astype("<i4").tobytes(), zlib.crc32(np.array(differences, "<i4").tobytes()))
