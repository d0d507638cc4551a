"""Latents to payloads and back: the same symbols, in the order that the format states."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import codec
from codec.coding import latents
from codec.coding.latents import (
    TileSymbols,
    decode_symbols,
    encode_latents,
    hyper_groups,
    hyper_size,
    quantize_latents,
    reconstruct,
    scale_indexes,
)
from codec.engine.loaded_model import LoadedModel
from codec.entropy_coder import Decoder, Encoder, TableSet
from codec.model.quantization import SCALES
from tests.conftest import DEAD_ZONE, SKIP, TINY
from tests.support.pictures import textured

SIZES = [(1, 1), (1, 5), (6, 4), (7, 9)]
LEVELS = [0, 64, 150, 400, 1024]


def latents_of(engine: LoadedModel, size: tuple[int, int], levels: list[int]) -> tuple[Tensor, Tensor]:
    """Return latents N×h×w×M of textured pictures, and their quality levels."""
    pictures = [textured(16 * size[0], 16 * size[1], seed) for seed in range(len(levels))]
    level = torch.tensor(levels)
    with torch.no_grad():
        return engine.networks.analysis(torch.from_numpy(np.stack(pictures)).float() / 255, level), level


def indexes_of(engine: LoadedModel, tile: TileSymbols, level: int) -> NDArray[np.uint8]:
    """Return the scale indexes h×w×M of a tile."""
    z, size = torch.from_numpy(tile.hyper)[None].float(), tile.latents.shape
    index: NDArray[np.uint8]
    (index,) = scale_indexes(engine.networks.scale_model, z, torch.tensor([level]), (size[0], size[1]))
    return index


def decoded(
    engine: LoadedModel, payloads: list[bytes], crcs: list[int], levels: list[int], size: tuple[int, int]
) -> list[TileSymbols]:
    return decode_symbols(engine.networks.scale_model, engine.tables, payloads, crcs, levels, size)


@pytest.mark.parametrize("dead_zone", [0.0, DEAD_ZONE])
@pytest.mark.parametrize("size", SIZES)
def test_symbols_and_latents_come_back(tiny: codec.Codec, size: tuple[int, int], dead_zone: float) -> None:
    engine = tiny._loaded
    y, level = latents_of(engine, size, LEVELS)
    payloads, tiles, y_hat = encode_latents(engine.networks, engine.tables, y, level, dead_zone)
    data, crcs = [p.data for p in payloads], [p.symbols_crc for p in payloads]
    found = decoded(engine, data, crcs, LEVELS, size)
    for tile, other in zip(tiles, found, strict=True):
        assert other.hyper.shape == (*hyper_size(size), TINY.hyper_latents)
        assert np.array_equal(other.hyper, tile.hyper)
        assert np.array_equal(other.latents, tile.latents)
    z, symbols = (
        torch.from_numpy(np.stack(arrays)).float()
        for arrays in ([t.hyper for t in found], [t.latents for t in found])
    )
    assert torch.allclose(reconstruct(engine.networks.mean_model, z, symbols, level), y_hat, atol=1e-3)
    # Where latents are coded, they are rounded: with a dead zone by at most ½ plus the zone.
    index = torch.from_numpy(scale_indexes(engine.networks.scale_model, z, level, size))
    error = (y_hat - y).abs()
    assert float(error[index > SKIP].max()) <= 0.5 + dead_zone + 1e-3
    # Alone, a tile gives what it gives in a batch.
    for n, one in enumerate(LEVELS):
        assert np.array_equal(decoded(engine, data[n : n + 1], crcs[n : n + 1], [one], size)[0].latents,
                              found[n].latents)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dense", [False, True])
def test_the_order_of_coding(
    tiny: codec.Codec, size: tuple[int, int], dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code the symbols again, one loop for each sentence of the format. The payload is the same."""
    engine = tiny._loaded
    monkeypatch.setattr(latents, "_MOST_DISCARDED", 0.0 if dense else math.inf)
    y, level = latents_of(engine, size, [100])
    (payload,), (tile,), _ = encode_latents(engine.networks, engine.tables, y, level, DEAD_ZONE)
    assert tile.dense is dense
    rows, columns = hyper_size(size)
    hyper = [
        int(tile.hyper[row, column, channel])
        for channel in range(TINY.hyper_latents) for row in range(rows) for column in range(columns)
    ]
    index = indexes_of(engine, tile, 100)
    symbols, groups = [], []
    for table in range(0 if dense else SKIP + 1, SCALES):
        found = [int(tile.latents[place]) for place in np.ndindex(index.shape) if index[place] == table]
        symbols += found
        groups += [(table, len(found))] if found else []
    encoder = Encoder(engine.tables)
    encoder.put_flag(dense)
    first = SCALES + TINY.hyper_latents  # level 100 is nearest to the second anchor
    encoder.put(np.array(hyper, np.int32), [(first + c, rows * columns) for c in range(TINY.hyper_latents)])
    encoder.put(np.array(symbols, np.int32), groups)
    assert encoder.finish() == payload.data
    assert zlib.crc32(np.array(hyper + symbols, "<i4").tobytes()) == payload.symbols_crc


def test_symbols_that_are_not_coded(tiny: codec.Codec, never_dense: None) -> None:
    """The encoder sets them to 0 before the decoder does, and they take no bits."""
    engine = tiny._loaded
    size = (12, 16)
    y, level = latents_of(engine, size, [0])
    y += 3 * torch.sign(y)  # no latent would be rounded to 0
    (payload,), (tile,), _ = encode_latents(engine.networks, engine.tables, y, level, 0.0)
    index = indexes_of(engine, tile, 0)
    assert 0.2 < (index <= SKIP).mean() < 0.8
    assert not tile.latents[index <= SKIP].any()
    (found,) = decoded(engine, [payload.data], [payload.symbols_crc], [0], size)
    assert np.array_equal(found.latents, tile.latents)
    decoder = Decoder(engine.tables, payload.data)
    assert not decoder.get_flag()
    decoder.get(hyper_groups(0, 12, TINY.hyper_latents))
    _, groups = engine.tables.grouped(index.ravel())
    coded = decoder.get([group for group in groups if group[0] > SKIP])
    assert coded.size == (index > SKIP).sum()
    decoder.finish()
    # Control: a model that codes all symbols keeps them.
    everything = TableSet(engine.tables.tables, 0)
    _, (whole,), _ = encode_latents(engine.networks, everything, y, level, 0.0)
    assert np.array_equal(whole.hyper, tile.hyper)
    assert whole.latents[(index > 0) & (index <= SKIP)].any()


def test_a_tile_of_which_nothing_is_coded(tiny: codec.Codec, never_dense: None) -> None:
    """With the highest skip index, only the flag and the hyper-latents are coded."""
    engine = tiny._loaded
    y, level = latents_of(engine, (5, 6), [0, 1024])
    tables = TableSet(engine.tables.tables, SCALES - 1)
    payloads, tiles, _ = encode_latents(engine.networks, tables, y, level, 0.0)
    assert not any(tile.latents.any() for tile in tiles)
    found = decode_symbols(
        engine.networks.scale_model, tables, [p.data for p in payloads], [p.symbols_crc for p in payloads],
        [0, 1024], (5, 6),
    )
    for tile, other in zip(tiles, found, strict=True):
        assert np.array_equal(other.hyper, tile.hyper)
        assert other.latents.shape == (5, 6, TINY.latents)
        assert not other.latents.any()


def near_means(
    engine: LoadedModel, size: tuple[int, int], levels: list[int], monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, NDArray[np.bool_]]:
    """Return latents that are their mean where they are skipped, and where that is, both N×h×w×M.

    From now on, the hyper-latents of all tiles are those of these latents.
    """
    networks = engine.networks
    y, level = latents_of(engine, size, levels)
    with monkeypatch.context() as patch:
        patch.setattr(latents, "_MOST_DISCARDED", math.inf)
        tiles, indexes, y_hat = quantize_latents(networks, y, level, 0.0, SKIP)
    z = torch.from_numpy(np.stack([tile.hyper for tile in tiles])).float()
    monkeypatch.setattr(networks.hyper_analysis, "forward", lambda _: z)
    return y_hat, indexes <= SKIP


DENSE_SIZES = [(5, 7), (6, 4), (4, 9)]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("size", DENSE_SIZES)
def test_a_large_latent_makes_its_tile_dense(
    tiny: codec.Codec, size: tuple[int, int], sign: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All symbols of this tile are coded. The other tiles of the batch stay as they are."""
    engine, levels = tiny._loaded, [0, 60, 100]
    y, skipped = near_means(engine, size, levels, monkeypatch)
    assert all(0.05 < each.mean() < 0.95 for each in skipped)
    # Up to 1.5 steps are discarded.
    small = y + sign * 1.45 * torch.from_numpy(skipped)
    level = torch.tensor(levels)
    payloads, tiles, y_hat = encode_latents(engine.networks, engine.tables, small, level, 0.0)
    assert not any(tile.dense for tile in tiles)
    assert not any(tile.latents[where].any() for tile, where in zip(tiles, skipped, strict=True))
    assert torch.allclose(y_hat, y, atol=1e-3)

    row, column, channel = np.argwhere(skipped[1])[len(np.argwhere(skipped[1])) // 2]
    large = small.clone()
    large[1, row, column, channel] += sign * 2.2
    others, found, y_large = encode_latents(engine.networks, engine.tables, large, level, 0.0)
    assert [tile.dense for tile in found] == [False, True, False]
    assert (others[0], others[2]) == (payloads[0], payloads[2])
    assert torch.equal(y_large[::2], y_hat[::2])
    # The mean of a latent depends on those before it, so that a few symbols are not those expected.
    assert abs(int(found[1].latents[row, column, channel]) - 4 * sign) <= 1
    assert (found[1].latents[skipped[1]] != 0).mean() > 0.5
    assert float((y_large[1] - large[1]).abs().max()) <= 0.5 + 1e-3

    back = decoded(engine, [p.data for p in others], [p.symbols_crc for p in others], levels, size)
    for tile, other in zip(found, back, strict=True):
        assert other.dense == tile.dense
        assert np.array_equal(other.latents, tile.latents)
    z, symbols = (
        torch.from_numpy(np.stack(arrays)).float()
        for arrays in ([t.hyper for t in back], [t.latents for t in back])
    )
    assert torch.allclose(reconstruct(engine.networks.mean_model, z, symbols, level), y_large, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 5), (3, 4)])
def test_the_padding_of_odd_sizes_has_no_symbols(
    tiny: codec.Codec, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Means in the padding, however large, neither make a tile dense nor become symbols of it."""
    engine, level = tiny._loaded, torch.tensor([60])
    mean_model = engine.networks.mean_model
    monkeypatch.setattr(mean_model.head_biases, "data", mean_model.head_biases + 40)
    y, skipped = near_means(engine, size, [60], monkeypatch)
    assert skipped.any()
    (tile,), _, _ = quantize_latents(engine.networks, y, level, 0.0, SKIP)
    assert not tile.dense
    row, column, channel = np.argwhere(skipped[0])[0]
    y[0, row, column, channel] += 2
    (tile,), _, y_hat = quantize_latents(engine.networks, y, level, 0.0, SKIP)
    assert tile.dense
    z, symbols = (torch.from_numpy(array)[None].float() for array in (tile.hyper, tile.latents))
    assert torch.equal(reconstruct(mean_model, z, symbols, level), y_hat)


@pytest.mark.parametrize(
    ("level", "anchor"), [(0, 0), (63, 0), (64, 1), (191, 1), (192, 2), (959, 7), (960, 8), (1024, 8)]
)
def test_the_nearest_anchor_codes_hyper_latents(level: int, anchor: int) -> None:
    assert hyper_groups(level, 7, 3) == [(SCALES + 3 * anchor + channel, 7) for channel in range(3)]


def test_another_level_or_size_is_noticed(tiny: codec.Codec) -> None:
    engine = tiny._loaded
    y, level = latents_of(engine, (6, 4), [700])
    (payload,), _, _ = encode_latents(engine.networks, engine.tables, y, level, 0.0)
    crc = payload.symbols_crc
    for wrong_level, size in ((300, (6, 4)), (700, (6, 5)), (700, (6, 3))):
        with pytest.raises(codec.FormatError):
            decoded(engine, [payload.data], [crc], [wrong_level], size)
    with pytest.raises(codec.ChecksumMismatch, match="symbols do not match"):
        decoded(engine, [payload.data], [crc ^ 1], [700], (6, 4))
    with pytest.raises(codec.FormatError, match="continues"):
        decoded(engine, [payload.data + bytes(8)], [crc], [700], (6, 4))
    with pytest.raises(codec.FormatError, match="multiple of 4"):
        decoded(engine, [payload.data + b"\0"], [crc], [700], (6, 4))
