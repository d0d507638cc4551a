"""Extreme symbols and hyper-latents that no picture produces."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import codec
from codec.coding import latents
from codec.coding.latents import decode_latents, encode_latents
from codec.engine.decoding import decode_pictures
from codec.entropy_coder import Encoder
from codec.format import container
from codec.format.header import MAX_LEVEL, Header
from codec.format.index import make_tile
from codec.model.config import STEPS_PER_ANCHOR
from codec.model.exact import ACTIVATION_BITS, LIMIT, ExactLayer
from codec.model.quantization import SCALES, SYMBOL_LIMIT
from tests.conftest import TINY

SIZE = (5, 7)


def tiles_of(fill: str, count: int, rng: np.random.Generator) -> Tensor:
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
    return torch.from_numpy(values.astype(np.float64))


@pytest.mark.parametrize(
    "fill", ["lowest", "highest", "alternating", "one of three", "around the clamp", "random"]
)
def test_any_hyper_latents(tiny: codec.Codec, fill: str) -> None:
    """Extreme hyper-latents and symbols give exact sums and one of the 64 scale indexes.

    All fills together have about 1,000 tiles.
    """
    rng = np.random.default_rng(0)
    entropy = tiny._loaded.networks.entropy_model
    count = 4 if fill in ("lowest", "highest", "alternating") else 332
    levels = torch.from_numpy(rng.integers(0, MAX_LEVEL + 1, count))
    grid = 2**ACTIVATION_BITS

    def quantizer(step: int, mean: Tensor, index: Tensor) -> Tensor:
        # Between two quality anchors, scale indexes are finer by this factor.
        for values in (mean * grid, index * grid * STEPS_PER_ANCHOR):
            assert bool(torch.isfinite(values).all())
            assert bool((values == torch.round(values)).all())
            assert float(values.abs().max()) < 2**53
        tables = latents._to_indexes(index)
        assert tables.max() < SCALES
        # The result is the same as without the conversion to eight bits.
        assert np.array_equal(tables, np.clip(np.round(index.numpy()), 0, SCALES - 1))
        extreme = rng.choice([-SYMBOL_LIMIT, -1, 0, 1, SYMBOL_LIMIT], tuple(mean.shape))
        return torch.from_numpy(extreme.astype(np.float64))

    def check_inputs(layer: torch.nn.Module, inputs: tuple[Tensor]) -> None:
        """Check the assumption of the proof in `freeze`."""
        values = inputs[0] * grid
        assert float(values.abs().max()) <= LIMIT * grid
        assert bool((values == torch.round(values)).all())

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for layer in entropy.modules():
            if isinstance(layer, ExactLayer):
                hooks.callback(layer.register_forward_pre_hook(check_inputs).remove)
        y_hat = entropy.run(tiles_of(fill, count, rng), levels, SIZE, quantizer)
    assert bool(torch.isfinite(y_hat).all())


def edges(tables: list[Any]) -> np.ndarray:
    """Return the values around the ends of every table and of the symbol range of the format."""
    ends = {end for table in tables for end in (table.lowest, table.lowest + table.escape - 1)}
    near = {end + step for end in ends for step in (-1, 0, 1)}
    far = [SYMBOL_LIMIT - 1, SYMBOL_LIMIT, SYMBOL_LIMIT + 1, 2**31 - 1, 2**31, 2**40]
    return np.array(sorted(near | set(far) | {-value for value in far}), np.float64)


@pytest.mark.parametrize("level", [0, 512, 1024])
def test_symbols_at_and_beyond_the_ends_of_tables(
    tiny: codec.Codec, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Symbols up to ±2^20 come back exactly.

    Beyond that range, the encoder uses the nearest symbol of the format.
    """
    model, tables = tiny._loaded.networks, tiny._loaded.tables
    values = edges(list(tables.tables))
    rng = np.random.default_rng(level)
    y = torch.from_numpy(rng.choice(values, (2, *SIZE, TINY.latents)))
    assert float(y.abs().max()) > SYMBOL_LIMIT
    z = torch.from_numpy(rng.choice(values, (2, 2, 2, TINY.hyper_latents)))
    monkeypatch.setattr(model.hyper_analysis, "forward", lambda _: z)
    levels = torch.tensor([level, level])
    payloads, y_hat = encode_latents(model, tables, y, levels, 0.0)
    decoded, symbols = decode_latents(
        model, tables, [payload.data for payload in payloads],
        [payload.symbols_crc for payload in payloads], levels, SIZE,
    )
    assert torch.equal(decoded, y_hat)
    found = np.concatenate([array for tile in symbols for array in tile])
    assert max(abs(int(found.min())), int(found.max())) == SYMBOL_LIMIT
    assert all(int(np.abs(tile[0]).max()) == LIMIT for tile in symbols)  # hyper-latents
    # A latent differs from its symbol plus mean by at most the rounding, unless it is out of range.
    near = y.abs() < SYMBOL_LIMIT // 2
    assert float((y_hat - y)[near].abs().max()) <= 0.5
    assert int(near.sum()) > 200


@pytest.mark.parametrize("symbol", [SYMBOL_LIMIT + 1, -SYMBOL_LIMIT - 1])
def test_symbols_out_of_range_are_refused(
    tiny: codec.Codec, symbol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The symbols come from an encoder that does not clamp them, and all checksums are correct."""
    model, tables = tiny._loaded.networks, tiny._loaded.tables
    level = torch.tensor([512])
    monkeypatch.setattr(latents, "quantize", torch.round)
    y = torch.zeros(1, *SIZE, TINY.latents, dtype=torch.float64)
    y[0, 0, 0, 0] = symbol + np.sign(symbol) * 2 * LIMIT  # farther than any mean
    (payload,), _ = encode_latents(model, tables, y, level, 0.0)
    encoder = Encoder(tables)
    indexes = latents.hyper_indexes(512, 4, TINY.hyper_latents)
    encoder.put(np.full(indexes.size, symbol, np.int32), indexes)
    for data, crc in ((payload.data, payload.symbols_crc), (encoder.finish(), 0)):
        with pytest.raises(codec.FormatError, match="out of range"):
            decode_latents(model, tables, [data], [crc], level, SIZE)


def test_pixels_of_the_largest_symbols(tiny: codec.Codec) -> None:
    """Any output of the synthesis transform becomes a valid picture."""
    engine = tiny._loaded
    y = torch.full((1, 2, 2, TINY.latents), 2.0**20, dtype=torch.float64)
    y[..., ::2] *= -1
    level = torch.tensor([512])
    payloads, y_hat = encode_latents(engine.networks, engine.tables, y, level, 0.0)
    tile = make_tile(payloads[0].data, payloads[0].symbols_crc)
    header = Header(32, 32, 3, False, engine.model_id, 512, 1024, (tile,))
    data = container.pack(header, [payloads[0].data])
    picture = decode_pictures(engine, [container.read(data)])[0]
    with torch.no_grad():
        synthesised = engine.networks.synthesis(y_hat.float(), level)[0].numpy()
    assert np.abs(synthesised).max() > 1000
    assert np.array_equal(picture, np.where(synthesised > 0.5, 255, 0))
