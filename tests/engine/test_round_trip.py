"""Every picture decodes to the same shape and to pixels close to the original."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray
from PIL import Image

import codec
from bench.suite.metrics import psnr
from codec.engine import encoding
from codec.engine.batch_decoding import decode_pictures
from codec.format import container
from codec.format.header import Header
from codec.format.index import make_tile
from codec.pictures.picture import to_picture
from codec.training.data import read_rgb
from tests.support.pictures import SAMPLES, noise, textured
from tests.support.tiles import encode, within_one_level


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("height", range(1, 34))
def test_every_small_size(tiny: codec.Codec, height: int) -> None:
    images = [textured(height, width, width) for width in range(1, 34)]
    for image, data in zip(images, tiny.compress_batch(images, quality=90), strict=True):
        decoded = tiny.decompress(data)
        assert decoded.shape == image.shape
        assert decoded.dtype == np.uint8
        assert not codec.inspect(data).lossless


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("height", [127, 128, 129])
@pytest.mark.parametrize("width", [127, 128, 129])
def test_tile_edges(tiny: codec.Codec, height: int, width: int) -> None:
    image = textured(height, width)
    engine = tiny._loaded
    whole, tiled = (encode(tiny, image, 700, size) for size in (1024, 128))
    expected_tiles = (1 + (height > 128)) * (1 + (width > 128))
    assert codec.inspect(tiled).tiles == expected_tiles
    a, b = (decode_pictures(engine, [container.read(data)])[0] for data in (whole, tiled))
    assert b.shape == image.shape
    # Only the predictions of scales and means stop at the edge of a tile. This changes the
    # rounding, but hardly the picture.
    assert abs(psnr(image, a) - psnr(image, b)) < 0.3


def test_tiles_leave_no_seam(tiny: codec.Codec) -> None:
    """Windows with a halo give the same latents and pixels as the whole picture."""
    import copy

    import torch

    from codec.format import tiling

    image = textured(208, 272)
    networks = copy.deepcopy(tiny._loaded.networks).double()  # so that rounding does not matter
    halo = networks.config.halo
    level = torch.tensor([512])
    x = torch.from_numpy(image)[None].double() / 255
    with torch.no_grad():
        whole = networks.analysis(x, level)[0]
        for box in tiling.tiles(208, 272, 64):
            window = tiling.window(box, halo, 208, 272)
            part = networks.analysis(x[:, *window.scaled(16).slices], level)[0]
            inner = part[box.relative_to(window).slices]
            assert torch.allclose(inner, whole[box.slices], atol=1e-9, rtol=0)
        pixels = networks.synthesis(whole[None], level)[0]
        for box in tiling.tiles(208, 272, 64):
            window = tiling.window(box, halo, 208, 272)
            part = networks.synthesis(whole[None, *window.slices], level)[0]
            inner = part[box.relative_to(window).scaled(16).slices]
            assert torch.allclose(inner, pixels[box.scaled(16).slices], atol=1e-9, rtol=0)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_constants_are_exact_and_tiny(tiny: codec.Codec, value: int) -> None:
    image = np.full((300, 200, 3), value, np.uint8)
    data = tiny.compress(image, quality=50)
    assert len(data) < 100
    assert codec.inspect(data).lossless
    assert np.array_equal(tiny.decompress(data), image)


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("value", [0, 128, 255])
def test_constants_through_the_transforms(tiny: codec.Codec, value: int) -> None:
    image = np.full((100, 90, 3), value, np.uint8)
    assert tiny.decompress(tiny.compress(image, quality=90)).shape == image.shape


@pytest.mark.parametrize("size", [(97, 101), (1, 1)])
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_noise_never_grows_beyond_raw(tiny: codec.Codec, quality: float, size: tuple[int, int]) -> None:
    image = noise(*size)
    data = tiny.compress(image, quality=quality)
    assert len(data) <= image.nbytes + 40
    assert tiny.decompress(data).shape == image.shape


def test_stored_pictures_that_zstd_packs_to_their_own_length() -> None:
    """Regression test: such a frame was once read as the pixels themselves."""
    rng = np.random.default_rng(0)
    ties = 0
    for _ in range(600):
        image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        # A repeated part that saves about as many bytes as the frame adds.
        flat = image.reshape(-1)
        length = int(rng.integers(8, 40))
        flat[100 : 100 + length] = flat[20 : 20 + length]
        ties += len(zstandard.compress(image.tobytes(), 19)) == image.nbytes
        entries = encoding._store(to_picture(image), 1024, limit=1000, zstd_level=19)
        assert entries is not None
        tiles = tuple(make_tile(data, crc) for data, crc in entries)
        header = Header(8, 8, 3, True, bytes(6), 0, 1024, tiles)
        data = container.pack(header, [data for data, _ in entries])
        assert np.array_equal(codec.decompress(data), image)
    assert ties > 5


def test_gray(tiny: codec.Codec) -> None:
    image = textured(120, 90)[:, :, 1]
    data = tiny.compress(image, quality=95)
    decoded = tiny.decompress(data)
    assert decoded.shape == image.shape
    assert codec.inspect(data).channels == 1
    assert psnr(image, decoded) > 20


@pytest.fixture(scope="module")
def exact(tiny_weights: Path) -> codec.Codec:
    """A codec that decodes with the tiny model in float32."""
    return codec.Codec(model=tiny_weights, precision="float32")


def check_batch(worker: codec.Codec, images: list[NDArray[np.uint8]], quality: float) -> None:
    """Compare a batch with single calls. Symbols near a tie may differ, and so may sizes."""
    batch = worker.compress_batch(images, quality=quality)
    assert worker.compress_batch(images, quality=quality) == batch
    for image, data, many in zip(images, batch, worker.decompress_batch(batch), strict=True):
        alone = worker.compress(image, quality=quality)
        assert abs(len(data) - len(alone)) <= 4 + len(alone) // 100
        assert psnr(worker.decompress(alone), worker.decompress(data)) > 40
        assert within_one_level(worker.decompress(data), many)


@pytest.mark.usefixtures("never_stored")
def test_a_batch_of_mixed_sizes(exact: codec.Codec) -> None:
    check_batch(exact, [textured(60, 80), textured(33, 20), textured(60, 80, 1), textured(200, 130)], 60)


def test_an_empty_batch(tiny: codec.Codec) -> None:
    assert tiny.compress_batch([]) == []
    assert tiny.decompress_batch([]) == []


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("count", [1, 2, 7])
def test_batches_of_equal_sizes(exact: codec.Codec, count: int) -> None:
    check_batch(exact, [textured(70, 50, seed) for seed in range(count)], 30)


def test_pictures_of_batches_are_contiguous(exact: codec.Codec) -> None:
    """Their bytes can be hashed and sent as they are, also where the picture fills no latent."""
    data = exact.compress(textured(70, 50), quality=30)
    (found,) = exact.decompress_batch([data])
    assert found.flags.c_contiguous
    assert bytes(found.data) == bytes(exact.decompress(data).data)


# The following tests use the shipped model.


@pytest.fixture(scope="module")
def photograph() -> NDArray[np.uint8]:
    return read_rgb(SAMPLES / "brushes.jpg")


def test_quality_is_monotone_in_rate_and_psnr(photograph: NDArray[np.uint8]) -> None:
    image = photograph[:256, :320]
    points = []
    for quality in range(0, 101, 10):
        data = codec.compress(image, quality=quality)
        points.append((len(data), psnr(image, codec.decompress(data))))
    assert points == sorted(points)
    rates, decibels = zip(*points, strict=True)
    assert all(a < b for a, b in itertools.pairwise(rates))
    assert all(a < b for a, b in itertools.pairwise(decibels))


def test_a_photograph_has_at_most_forty_bytes_of_overhead() -> None:
    image = np.concatenate([read_rgb(SAMPLES / name) for name in ("brushes.jpg", "mountains.jpg")], 1)
    image = image[:480, :768]
    image = np.concatenate([image, image[:32]])
    assert image.shape == (512, 768, 3)
    info = codec.inspect(codec.compress(image, quality=50))
    assert not info.lossless
    assert info.header_bytes <= 40


def test_every_kind_of_input_gives_the_same_file(photograph: NDArray[np.uint8]) -> None:
    import torch

    image = photograph[:80, :100]
    expected = codec.compress(image, quality=40)
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)
    for other in (Image.fromarray(image), tensor, tensor.float() / 255, tensor.double() / 255):
        assert codec.compress(other, quality=40) == expected


def test_photographs_keep_their_quality(photograph: NDArray[np.uint8]) -> None:
    assert psnr(photograph, codec.decompress(codec.compress(photograph, quality=100))) > 33


def test_one_pixel_does_not_change_the_model(tiny_weights: Path) -> None:
    """Regression test: a single position shared memory with a bias, and every call added to it."""
    worker = codec.Codec(model=tiny_weights)
    image = np.full((1, 1, 3), 77, np.uint8)
    before = [p.clone() for p in worker._loaded.networks.parameters()]
    assert worker.compress(image) == worker.compress(image)
    worker.decompress(worker.compress(image))
    for old, new in zip(before, worker._loaded.networks.parameters(), strict=True):
        assert bool((old == new).all())
