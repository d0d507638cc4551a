"""Two decoders without common code read the same symbols from the same files."""

from __future__ import annotations

import functools
import zlib
from pathlib import Path

import numpy as np
import pytest

import codec
from codec.format import container, tiling
from codec.format.header import parse_header
from codec.model import registry
from tests.support.make_goldens import GOLDEN
from tests.support.oracle import Oracle, Refused
from tests.support.pictures import noise, textured
from tests.support.tiles import encode, unpack

WEIGHTS = Path(codec.__file__).parent / "weights"
FILES = sorted(path for path in GOLDEN.glob("v1-*/*.cae") if not codec.inspect(path.read_bytes()).lossless)


@functools.cache
def oracle(model_id: bytes) -> Oracle:
    return Oracle(WEIGHTS / registry.by_id(model_id).file)


def check(data: bytes, reader: Oracle) -> int:
    """Check the CRC of the oracle's symbols and return the number of symbols.

    The encoder wrote the CRC, and the decoder of the package checks it.
    """
    header, payloads = unpack(data)
    assert not header.stored
    boxes = tiling.tiles(header.height, header.width, header.tile_size)
    count = 0
    for box, payload, tile in zip(boxes, payloads, header.tiles, strict=True):
        crc = 0
        for values in reader.symbols(bytes(payload), header.level, (box.height, box.width)):
            crc = zlib.crc32(values.astype("<i4").tobytes(), crc)
            count += values.size
        assert crc == tile.content_crc
    return count


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_goldens(path: Path) -> None:
    data = path.read_bytes()
    assert check(data, oracle(parse_header(data)[0].model_id)) > 0


@pytest.mark.usefixtures("never_stored")
def test_odd_sizes_tiles_and_escapes(tiny: codec.Codec, tiny_weights: Path) -> None:
    """Cases that the golden files of photographs do not have."""
    reader = Oracle(tiny_weights)
    images = [textured(h, w, h) for h in (1, 15, 17, 40) for w in (1, 33, 130)]
    for image in [*images, noise(70, 90), np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255]:
        for level in (0, 700, 1024):
            pixels = image.reshape(*image.shape[:2], -1)
            check(encode(tiny, pixels, level, 64), reader)
    # Escapes: latents far outside the range of the tables.
    import torch

    from codec.coding.latents import encode_latents

    engine = tiny._loaded
    for size in (30.0, 3e3, 3e5):
        y = size * torch.randn(1, 5, 6, 24, dtype=torch.float64)
        payloads, _ = encode_latents(engine.networks, engine.tables, y, torch.tensor([512]), 0.0)
        crc = 0
        for values in reader.symbols(payloads[0].data, 512, (5, 6)):
            crc = zlib.crc32(values.astype("<i4").tobytes(), crc)
        assert crc == payloads[0].symbols_crc


# The file with several tiles is left out, because its million samples would take half a minute.
RESIDUALS = sorted(path for path in GOLDEN.glob("v1.3-*/*.cae") if not path.stem.startswith("tiles"))


@pytest.mark.parametrize("path", RESIDUALS, ids=lambda path: path.stem)
def test_residuals_of_goldens(path: Path) -> None:
    file = container.read(path.read_bytes())
    header = file.header
    check_residual(file, (header.height, header.width, header.channels), oracle(header.model_id))


def check_residual(file: container.File, shape: tuple[int, int, int], reader: Oracle) -> None:
    """Like `check`, for the residual of the only tile."""
    assert len(file.header.residual) == 1
    crc = 0
    for values in reader.residual(bytes(file.residual_payload(0)), shape):
        crc = zlib.crc32(values.astype("<i4").tobytes(), crc)
    assert crc == file.header.residual[0].content_crc


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("quality", [90.5, 96, 100])
def test_residuals(tiny: codec.Codec, tiny_weights: Path, quality: float) -> None:
    reader = Oracle(tiny_weights)
    for shape in ((1, 1, 1), (17, 30, 3), (40, 9, 1)):
        image = textured(*shape[:2])[:, :, : shape[2]].astype(np.uint16) * 257 ^ 5
        image[::7] = 0
        file = container.read(tiny.compress(image.squeeze(-1) if shape[2] == 1 else image, quality=quality))
        check_residual(file, shape, reader)


def test_it_can_disagree(tiny: codec.Codec, tiny_weights: Path) -> None:
    """Control: the comparison detects a bias that differs by one grid step."""
    data = encode(tiny, textured(100, 120), 700, 1024)
    reader = Oracle(tiny_weights)
    check(data, reader)
    reader.tensors["heads.0.bias"] = reader.tensors["heads.0.bias"] + (1 << 12)
    with pytest.raises((AssertionError, Refused)):
        check(data, reader)
