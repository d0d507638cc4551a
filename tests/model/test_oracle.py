"""Two decoders without common code read the same symbols from the same files."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import codec
from codec.coding.latents import decode_symbols, encode_latents, scale_indexes
from codec.coding.residual import unpack_residual
from codec.entropy_coder import Decoder
from codec.errors import FormatError
from codec.format import container, tiling
from codec.format.header import parse_header
from codec.model import registry
from tests.support.make_goldens import GOLDEN, folder_of
from tests.support.oracle import Oracle, RangeDecoder, Refused
from tests.support.pictures import noise, textured
from tests.support.recoded import EXTREMES, code, code_residual, code_tile, tile_residuals, tile_symbols
from tests.support.tiles import encode

WEIGHTS = Path(codec.__file__).parent / "weights"
FOLDERS = [GOLDEN / folder_of(model["id"]) for model in codec.models()]
FILES = [
    folder / f"{name}.cae"
    for folder in FOLDERS
    for name, entry in json.loads((folder / "expected.json").read_text()).items()
    # The oracle would take half a minute for files with several tiles.
    if not entry["lossless"] and not name.startswith("tiles")
]


@functools.cache
def oracle(model_id: bytes) -> Oracle:
    return Oracle(WEIGHTS / registry.by_id(model_id).file)


@pytest.fixture(scope="module")
def reader(tiny_weights: Path) -> Oracle:
    """The oracle with the tiny model."""
    return Oracle(tiny_weights)


def check(worker: codec.Codec, data: bytes, reader: Oracle) -> int:
    """Compare the symbols of both decoders with each other and with the CRC of the encoder.

    Returns the number of coded symbols.
    """
    file = container.read(data)
    header = file.header
    assert not header.stored
    boxes = tiling.tiles(header.height, header.width, header.tile_size)
    count = 0
    for number, (box, tile) in enumerate(zip(boxes, tile_symbols(worker, data), strict=True)):
        found = reader.symbols(bytes(file.payload(number)), header.level, (box.height, box.width))
        assert found.crc == header.tiles[number].content_crc
        assert np.array_equal(found.first, tile.hyper)
        assert np.array_equal(found.second, tile.latents)
        count += sum(values.size for values in found.coded)
    for number, residual in enumerate(tile_residuals(worker, data)):
        found = reader.residual(bytes(file.residual_payload(number)), residual.shape)
        assert found.crc == header.residual[number].content_crc
        assert np.array_equal(found.second, residual)
    return count


@pytest.fixture(scope="module")
def shipped() -> codec.Codec:
    return codec.Codec()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_goldens(path: Path, shipped: codec.Codec) -> None:
    data = path.read_bytes()
    assert check(shipped, data, oracle(parse_header(data)[0].model_id)) > 0


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("level", [0, 63, 64, 300, 700, 1023, 1024])
def test_odd_sizes_and_tiles(tiny: codec.Codec, reader: Oracle, shipped: codec.Codec, level: int) -> None:
    """Cases that the golden files of photographs do not have."""
    images = [textured(h, w, h) for h in (1, 15, 17, 40) for w in (1, 33, 130)]
    checks = np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255
    for image in [*images, noise(70, 90), checks]:
        check(tiny, encode(tiny, image.reshape(*image.shape[:2], -1), level, 64), reader)
    of_shipped = oracle(bytes.fromhex(shipped.model_id))
    for image in (textured(65, 70, level), textured(17, 16), checks[:1, :, None]):
        check(shipped, encode(shipped, image, level, 64), of_shipped)


@pytest.mark.parametrize("size", [30.0, 3e3, 3e5])
def test_escapes(tiny: codec.Codec, reader: Oracle, size: float) -> None:
    """Latents far outside the range of the tables."""
    loaded = tiny._loaded
    y = size * torch.randn(1, 5, 6, 24, generator=torch.Generator().manual_seed(0))
    (payload,), (tile,), _ = encode_latents(loaded.networks, loaded.tables, y, torch.tensor([512]), 0.0)
    found = reader.symbols(payload.data, 512, (5, 6))
    assert found.crc == payload.symbols_crc
    assert np.array_equal(found.first, tile.hyper)
    assert np.array_equal(found.second, tile.latents)
    assert np.abs(found.second).max() > size / 10


@pytest.mark.parametrize("largest", [1, 4, 40, 1 << 20])
def test_scale_indexes(largest: int, tiny: codec.Codec, reader: Oracle, shipped: codec.Codec) -> None:
    """The scale model, for any hyper-latents and every kind of level."""
    rng = np.random.default_rng(largest)
    for worker, other in ((tiny, reader), (shipped, oracle(bytes.fromhex(shipped.model_id)))):
        seen = set()
        for level in (0, 1, 127, 128, 129, 500, 895, 896, 1000, 1023, 1024):
            z = rng.integers(-largest, largest + 1, (3, 4, other.hyper_latents))
            expected = other.scale_indexes(z, level, (11, 14))
            model = worker._loaded.networks.scale_model
            z_hat = torch.from_numpy(z)[None].float()
            found = scale_indexes(model, z_hat, torch.tensor([level]), (11, 14))[0]
            assert np.array_equal(found, expected)
            seen |= set(np.unique(expected).tolist())
        assert len(seen) > 8


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize("quality", [90.5, 96, 100])
def test_residuals(tiny: codec.Codec, reader: Oracle, quality: float) -> None:
    for shape in ((1, 1, 1), (17, 30, 3), (40, 9, 1)):
        image = textured(*shape[:2])[:, :, : shape[2]].astype(np.uint16) * 257 ^ 5
        image[::7] = 0
        data = tiny.compress(image.squeeze(-1) if shape[2] == 1 else image, quality=quality)
        assert container.read(data).header.residual
        check(tiny, data, reader)


def outcomes(first: Callable[[], object], second: Callable[[], object]) -> tuple[bool, bool]:
    """Call both functions. Return whether each refused its payload."""
    refused = []
    for function in (first, second):
        try:
            function()
            refused.append(False)
        except (FormatError, Refused):
            refused.append(True)
    return refused[0], refused[1]


def test_both_refuse_the_same_payloads(tiny: codec.Codec, reader: Oracle) -> None:
    """Payloads with values, escapes and surplus words that no encoder writes."""
    rng, loaded = random.Random(3), tiny._loaded
    refusals = 0
    for _ in range(400):
        level, size = rng.randrange(1025), (rng.randrange(1, 7), rng.randrange(1, 7))
        hyper = np.zeros((-(-size[0] // 4), -(-size[1] // 4), 4), np.int32)
        symbols = np.zeros((*size, 24), np.int32)
        for values in (hyper, symbols):
            for _ in range(rng.randrange(4)):
                values.ravel()[rng.randrange(values.size)] = rng.choice(EXTREMES)
        payload, crc = code_tile(loaded, level, hyper, symbols, surplus=rng.choice((0, 0, 0, 1, 2, 4)))
        if rng.random() < 0.3:
            payload += rng.choice((bytes(4), bytes(8), rng.randbytes(4), rng.randbytes(8), b"\0"))
        both = outcomes(
            functools.partial(
                decode_symbols, loaded.networks.scale_model, loaded.tables, [payload], [crc], [level], size
            ),
            functools.partial(reader.symbols, payload, level, size),
        )
        assert both[0] == both[1], payload.hex()
        refusals += both[0]
    assert 100 < refusals < 300


def test_both_refuse_the_same_residuals(tiny: codec.Codec, reader: Oracle) -> None:
    rng, tables = random.Random(4), tiny._loaded.tables
    refusals = 0
    for _ in range(100):
        scales = np.array([rng.choice((-1, 0, 5, 63, 64)) if rng.random() < 0.3 else 20 for _ in range(4)])
        residual = np.zeros((9, 12, 1), np.int32)
        residual.ravel()[rng.randrange(residual.size)] = rng.choice(EXTREMES)
        payload, crc = code_residual(tables, scales.reshape(2, 2, 1), residual)
        first, second = outcomes(
            functools.partial(unpack_residual, tables, payload, (9, 12, 1), crc, "it"),
            functools.partial(reader.residual, payload, (9, 12, 1)),
        )
        assert first == second
        refusals += first
    assert 20 < refusals < 90


@pytest.mark.parametrize("surplus", [b"", bytes(4), bytes(8), b"\1\2\3\4", b"\xff" * 4, bytes(range(8))])
def test_both_find_surplus_words(tiny: codec.Codec, reader: Oracle, surplus: bytes) -> None:
    """The text says exactly when a decoder refuses words that follow the last symbol."""
    tables, rng = tiny._loaded.tables, np.random.default_rng(len(surplus))
    for count in range(60):
        groups = [(40, count)] if count else []
        payload, _ = code(tables, [( rng.integers(-30, 31, count).astype(np.int32), groups)])
        mine, other = Decoder(tables, payload + surplus), RangeDecoder(payload + surplus)
        mine.get(groups)
        for _ in range(count):
            other.symbol(reader.cumulative[40])
        both = outcomes(mine.finish, other.finish)
        assert both[0] == both[1], (count, surplus)


def test_it_can_disagree(tiny: codec.Codec, tiny_weights: Path) -> None:
    """Control: the comparison detects an offset that differs by one scale index."""
    data = encode(tiny, textured(100, 120), 700, 1024)
    reader = Oracle(tiny_weights)
    check(tiny, data, reader)
    reader.tensors["scale_model.offset.table"] += 1 << 4
    with pytest.raises((AssertionError, Refused)):
        check(tiny, data, reader)
