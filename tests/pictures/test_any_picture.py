"""Pictures of every kind, shape and content: the decoded pictures and the file sizes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import codec
from bench.suite.metrics import psnr
from codec.engine import encoding
from codec.engine.encoding import encode_pictures
from codec.pictures.picture import to_picture
from codec.training.data import read_rgb
from codec.training.export import estimated_bits
from tests.support.pictures import SAMPLES, noise, textured

KINDS: list[tuple[str, Any, tuple[int, ...]]] = [
    (f"{name}, {np.dtype(dtype).itemsize * 8} bits", dtype, pixel)
    for name, pixel in (("gray", ()), ("gray and alpha", (2,)), ("RGB", (3,)), ("RGB and alpha", (4,)))
    for dtype in (np.uint8, np.uint16)
]
"""Name, dtype and pixel shape of every kind of array that the codec accepts."""

HEADER = 52


def check(worker: codec.Codec, image: NDArray[Any], quality: float) -> bytes:
    """Return the file of a picture, after all checks that apply to every picture."""
    before = image.copy()
    data = worker.compress(image, quality=quality)
    assert worker.compress(image, quality=quality) == data
    assert np.array_equal(image, before)
    assert len(data) <= image.nbytes + HEADER
    codec.verify(data)
    about = codec.inspect(data)
    assert (about.height, about.width) == image.shape[:2]
    decoded = worker.decompress(data)
    assert decoded.shape == image.shape
    assert decoded.dtype == image.dtype
    assert about.channels == (image.shape[2] if image.ndim == 3 else 1)
    if about.channels in (2, 4):
        assert np.array_equal(decoded[:, :, -1], image[:, :, -1])
        image = np.where(image[:, :, -1:] > 0, image, 0)
    if about.lossless:
        assert np.array_equal(decoded, image)
    return data


@strategies.composite
def pictures(draw: strategies.DrawFn) -> NDArray[Any]:
    """Pictures of any kind up to 96×96: a small array with any content, repeated or stretched."""
    _, dtype, pixel = draw(strategies.sampled_from(KINDS))
    size = draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=12))
    small = draw(arrays.arrays(dtype, (*size, *pixel)))
    rows, columns = draw(strategies.tuples(*[strategies.integers(1, 8)] * 2))
    if draw(strategies.booleans()):
        image = np.tile(small, (rows, columns, *[1] * len(pixel)))
    else:
        image = small.repeat(rows, 0).repeat(columns, 1)
    turned: NDArray[Any] = image[:: draw(strategies.sampled_from([1, -1]))]
    return turned


def examine(worker: codec.Codec, count: int) -> None:
    @hypothesis.settings(
        max_examples=count, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(pictures(), strategies.floats(0, 100))
    def run(image: NDArray[Any], quality: float) -> None:
        check(worker, image, quality)

    run()


@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.nightly)])
def test_any_content(tiny: codec.Codec, count: int) -> None:
    examine(tiny, count)


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.nightly)])
def test_any_content_through_the_transforms(
    tiny: codec.Codec, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.pictures.test_any_picture.HEADER", 10_000)  # no bound by the raw size
    examine(tiny, count)


def layouts(image: NDArray[Any]) -> list[NDArray[Any]]:
    """The same picture with other memory layouts."""
    read_only = image.copy()
    read_only.flags.writeable = False
    return [
        np.asfortranarray(image),
        np.flip(np.flip(image, (0, 1)).copy(), (0, 1)),
        np.repeat(image, 2, axis=1)[:, ::2],
        np.ascontiguousarray(image.swapaxes(0, 1)).swapaxes(0, 1),
        np.pad(image, [(3, 5), (1, 2), *[(0, 0)] * (image.ndim - 2)])[3:-5, 1:-2],
        image.astype(image.dtype.newbyteorder()),  # differs for 16-bit samples
        read_only,
    ]


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
def test_layouts(tiny: codec.Codec, kind: tuple[str, Any, tuple[int, ...]]) -> None:
    _, dtype, pixel = kind
    image = (np.arange(50 * 70 * math.prod(pixel)).reshape(50, 70, *pixel) * 5 % 251).astype(dtype)
    expected = tiny.compress(image)
    for other in layouts(image):
        before = other.copy()
        assert tiny.compress(other) == expected
        assert np.array_equal(other, before)
    flat = np.broadcast_to(image[:1, :1], image.shape)  # one pixel in memory
    assert tiny.compress(flat) == tiny.compress(flat.copy())


def text(height: int, width: int) -> NDArray[np.uint8]:
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).multiline_text((2, 2), "The quick\nbrown fox\n0123456", fill=(20, 30, 90))
    return np.asarray(image)


def content() -> dict[str, NDArray[np.uint8]]:
    rows, columns = np.indices((57, 83))
    hot = np.zeros((57, 83, 3), np.uint8)
    hot[20, 30] = 255
    colours = np.array(list(itertools.product((0, 255), repeat=3)), np.uint8)
    return {
        "black": np.zeros((57, 83, 3), np.uint8),
        "white": np.full((57, 83, 3), 255, np.uint8),
        "gray": np.full((57, 83, 3), 128, np.uint8),
        "checkerboard": ((rows + columns) % 2 * 255).astype(np.uint8)[:, :, None].repeat(3, 2),
        "ramp": (columns * 3 + 3).astype(np.uint8)[:, :, None].repeat(3, 2),
        "noise": noise(57, 83),
        "hot pixel": hot,
        "saturated colours": colours[(rows // 5 + columns // 7) % 8],
        "text": text(57, 83),
    }


@pytest.mark.parametrize("quality", [0, 50, 100])
@pytest.mark.parametrize("name", content())
@pytest.mark.parametrize("channels", [1, 3])
def test_content(tiny: codec.Codec, name: str, quality: float, channels: int) -> None:
    image = content()[name]
    data = check(tiny, image if channels == 3 else image[:, :, 1], quality)
    if name in ("black", "white", "gray"):
        assert len(data) < 64


SIDES = [1, 2, 63, 64, 65, 1000, 16_384, 65_535]


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize(
    ("side", "kind"),
    # The longest pictures take seconds, so only the simplest and the largest kind are tested.
    [(side, kind) for side in SIDES for kind in (KINDS if side < 10_000 else (KINDS[0], KINDS[-1]))],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_lines(tiny: codec.Codec, side: int, kind: tuple[str, Any, tuple[int, ...]]) -> None:
    _, dtype, pixel = kind
    line = (np.arange(side * math.prod(pixel)) * 7 % 251).astype(dtype)
    for shape in ((1, side, *pixel), (side, 1, *pixel)):
        image = line.reshape(shape)
        assert tiny.decompress(tiny.compress(image)).shape == shape


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("height", [encoding.TILE_SIZE + step for step in (-1, 0, 1)])
def test_sides_of_the_tile_that_is_written(tiny: codec.Codec, height: int) -> None:
    for image in (textured(height, 20), textured(20, height)[:, :, 0]):
        data = tiny.compress(image)
        assert codec.inspect(data).tiles == 1 + (height > encoding.TILE_SIZE)
        decoded = tiny.decompress(data)
        assert decoded.shape == image.shape
        assert psnr(image, decoded) > 12


# The effect of quality, with the shipped model.


def crops(count: int) -> list[NDArray[np.uint8]]:
    """Crops of the photographs, 160×224."""
    photographs = [read_rgb(path) for path in sorted(SAMPLES.glob("*.jpg"))]
    corners = itertools.product(range(0, 300, 80), range(0, 400, 100), photographs)
    return [
        image[top : top + 160, left : left + 224] for top, left, image in itertools.islice(corners, count)
    ]


@pytest.mark.nightly
@pytest.mark.parametrize("image", crops(8), ids=range(8))
def test_more_quality_is_more_bytes_and_a_better_picture(image: NDArray[np.uint8]) -> None:
    points = []
    for quality in range(0, 101, 10):
        data = codec.compress(image, quality=quality)
        points.append((len(data), psnr(image, codec.decompress(data))))
    for (fewer, worse), (more, better) in itertools.pairwise(points):
        assert more > 0.995 * fewer
        assert better > worse


@pytest.mark.nightly
@pytest.mark.parametrize("image", crops(24), ids=range(24))
def test_files_take_what_the_model_says(image: NDArray[np.uint8]) -> None:
    """The file size is the information content of the symbols, within 0.5 % plus 64 bytes."""
    engine = codec.Codec()._loaded
    for level in (0, 512, 1024):
        data = encode_pictures(engine, [to_picture(image)], level)[0]
        assert not codec.inspect(data).lossless
        bits = estimated_bits(engine, image.copy(), level)
        assert abs(len(data) - bits / 8) <= 0.005 * bits / 8 + 64
