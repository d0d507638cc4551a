"""Extreme symbols and hyper-latents that no picture produces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import codec
from codec.coding import latents
from codec.coding.latents import decode_symbols, encode_latents, hyper_groups, reconstruct
from codec.engine.batch_decoding import decode_pictures
from codec.entropy_coder import Encoder
from codec.format import container
from codec.format.header import MAX_LEVEL, Header
from codec.format.index import make_tile
from codec.model.exact import LIMIT
from codec.model.quantization import SYMBOL_LIMIT
from tests.conftest import SKIP, TINY
from tests.model import integers

SIZE = (5, 7)


def tiles_of(fill: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return hyper-latents of `count` tiles, N×2×2×C, within the range of the format."""
    shape = (count, 2, 2, TINY.hyper_latents)
    limit = SYMBOL_LIMIT
    values: Any
    if fill == "lowest":
        values = np.full(shape, -limit)
    elif fill == "highest":
        values = np.full(shape, limit)
    elif fill == "alternating":
        values = np.where(np.indices(shape).sum(0) % 2, limit, -limit)
    elif fill == "one of three":
        values = rng.choice([-limit, 0, limit], shape)
    elif fill == "around the clamp":
        values = rng.choice([-1, 1], shape) * (int(LIMIT) + rng.integers(-1, 2, shape))
    else:
        values = rng.integers(-limit, limit + 1, shape)
    whole: np.ndarray = values.astype(np.int64)
    return whole


@pytest.mark.parametrize(
    "fill", ["lowest", "highest", "alternating", "one of three", "around the clamp", "random"]
)
def test_any_hyper_latents(tiny: codec.Codec, fill: str) -> None:
    """Extreme hyper-latents give the scale indexes of plain integers, and finite latents."""
    rng = np.random.default_rng(0)
    networks = tiny._loaded.networks
    count = 4 if fill in ("lowest", "highest", "alternating") else 150
    levels = rng.integers(0, MAX_LEVEL + 1, count)
    tiles = tiles_of(fill, count, rng)
    z, level = torch.from_numpy(tiles).float(), torch.from_numpy(levels)
    found = latents.scale_indexes(networks.scale_model, z, level, SIZE)
    for n in range(count):
        whole = integers.scale_indexes(networks.scale_model, tiles[n], int(levels[n]))
        assert np.array_equal(found[n], whole[: SIZE[0], : SIZE[1]])
    symbols = rng.choice([-SYMBOL_LIMIT, -1, 0, 1, SYMBOL_LIMIT], (count, *SIZE, TINY.latents))
    y_hat = reconstruct(networks.mean_model, z, torch.from_numpy(symbols).float(), level)
    assert bool(torch.isfinite(y_hat).all())


def edges(tables: Any) -> np.ndarray:
    """Return the values around the ends of every table and of the symbol range of the format."""
    ends = {end for table in tables for end in (table.lowest, table.lowest + table.escape - 1)}
    near = {end + step for end in ends for step in (-1, 0, 1)}
    far = [SYMBOL_LIMIT - 1, SYMBOL_LIMIT, SYMBOL_LIMIT + 1, 2**31 - 1, 2**31, 2**40]
    return np.array(sorted(near | set(far) | {-value for value in far}), np.float32)


@pytest.mark.parametrize("level", [0, 512, 1024])
def test_symbols_at_and_beyond_the_ends_of_tables(
    tiny: codec.Codec, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symbols up to ±2^20 come back exactly.

    Beyond that range, the encoder uses the nearest symbol of the format.
    """
    model, tables = tiny._loaded.networks, tiny._loaded.tables
    values = edges(tables.tables)
    rng = np.random.default_rng(level)
    y = torch.from_numpy(rng.choice(values, (2, *SIZE, TINY.latents)))
    assert float(y.abs().max()) > SYMBOL_LIMIT
    z = torch.from_numpy(rng.choice(values, (2, 2, 2, TINY.hyper_latents)))
    z[:, 0, 0, :2] = torch.tensor([2.0**40, -(2.0**40)])
    monkeypatch.setattr(model.hyper_analysis, "forward", lambda _: z)
    levels = torch.tensor([level, level])
    payloads, tiles, y_hat = encode_latents(model, tables, y, levels, 0.0)
    decoded = decode_symbols(
        model.scale_model, tables, [payload.data for payload in payloads],
        [payload.symbols_crc for payload in payloads], levels.tolist(), SIZE,
    )
    for tile, found in zip(tiles, decoded, strict=True):
        assert np.array_equal(found.hyper, tile.hyper)
        assert np.array_equal(found.latents, tile.latents)
        assert found.latents.dtype == np.int32
        for array in (tile.hyper, tile.latents):
            assert max(abs(int(array.min())), int(array.max())) == SYMBOL_LIMIT
    found_y = reconstruct(
        model.mean_model, torch.from_numpy(np.stack([t.hyper for t in decoded])).float(),
        torch.from_numpy(np.stack([t.latents for t in decoded])).float(), levels,
    )
    assert torch.equal(found_y, y_hat)


@pytest.mark.parametrize("symbol", [SYMBOL_LIMIT + 1, -SYMBOL_LIMIT - 1])
def test_symbols_out_of_range_are_refused(
    tiny: codec.Codec, symbol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The symbols come from an encoder that does not clamp them, and all checksums are correct."""
    model, tables = tiny._loaded.networks, tiny._loaded.tables
    level = torch.tensor([1024])
    monkeypatch.setattr(latents, "quantize", torch.round)
    monkeypatch.setattr(model.hyper_analysis, "forward", lambda _: torch.zeros(1, 2, 2, TINY.hyper_latents))
    y = torch.zeros(1, *SIZE, TINY.latents)
    y[0, 0, 0, 0] = symbol + np.sign(symbol) * 1000  # farther than any mean
    (payload,), (tile,), _ = encode_latents(model, tables, y, level, 0.0)
    assert np.abs(tile.latents).max() > SYMBOL_LIMIT
    encoder = Encoder(tables)
    encoder.put_flag(False)
    encoder.put(np.full(4 * TINY.hyper_latents, symbol, np.int32), hyper_groups(1024, 4, TINY.hyper_latents))
    for data, crc in ((payload.data, payload.symbols_crc), (encoder.finish(), 0)):
        with pytest.raises(codec.FormatError, match="out of range"):
            decode_symbols(model.scale_model, tables, [data], [crc], [1024], SIZE)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(0, np.int8), (127, np.int8), (128, np.int16), (32767, np.int16), (32768, np.int32)],
)
def test_symbols_take_few_bytes_where_they_fit(tiny: codec.Codec, largest: int, dtype: type[Any]) -> None:
    model, tables = tiny._loaded.networks, tiny._loaded.tables
    z = torch.zeros(1, 2, 2, TINY.hyper_latents)
    index = latents.scale_indexes(model.scale_model, z, torch.tensor([1024]), SIZE)[0]
    assert (index > SKIP).all()
    for sign in (-1, 1):
        symbols = np.zeros(index.shape, np.int32)
        symbols[2, 3, 4] = sign * largest
        encoder = Encoder(tables)
        encoder.put_flag(False)
        encoder.put(np.zeros(z.numel(), np.int32), hyper_groups(1024, 4, TINY.hyper_latents))
        order, groups = tables.grouped(index.ravel())
        encoder.put(symbols.ravel()[order], groups)
        crc = latents.crc_of([np.zeros(z.numel(), np.int32), symbols.ravel()[order]])
        (tile,) = decode_symbols(model.scale_model, tables, [encoder.finish()], [crc], [1024], SIZE)
        assert tile.latents.dtype == dtype
        assert np.array_equal(tile.latents, symbols)


def test_pixels_of_the_largest_symbols(tiny: codec.Codec) -> None:
    """Any output of the synthesis transform becomes a valid picture."""
    engine = tiny._loaded
    y = torch.full((1, 2, 2, TINY.latents), 2.0**20)
    y[..., ::2] *= -1
    level = torch.tensor([512])
    payloads, _, y_hat = encode_latents(engine.networks, engine.tables, y, level, 0.0)
    tile = make_tile(payloads[0].data, payloads[0].symbols_crc)
    header = Header(32, 32, 3, False, engine.model_id, 512, 1024, (tile,))
    data = container.pack(header, [payloads[0].data])
    picture = decode_pictures(engine, [container.read(data)])[0]
    with torch.no_grad():
        synthesised = engine.networks.synthesis(y_hat, level)[0].numpy()
    assert np.abs(synthesised).max() > 1000
    clear = np.abs(synthesised - 0.5) > 100  # far from a change of sign in bfloat16
    assert clear.mean() > 0.9
    assert np.array_equal(picture[clear], np.where(synthesised > 0.5, 255, 0)[clear])
