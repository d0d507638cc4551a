"""Conversion of the latents of tiles to payloads and back.

A payload holds a flag, the hyper-latents, and then the symbols of the latents whose scale index is
above the skip index of the model. The other symbols are 0 and are not coded. The flag marks a tile
as dense: all its symbols are coded. Encoder and decoder run the same
exact scale model. Means are added to the symbols afterwards, in floating point (`reconstruct`).
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.entropy_coder import Decoder, Encoder, Groups, Symbols, TableSet
from codec.errors import ChecksumMismatch, FormatError
from codec.model.config import LATENTS_PER_HYPER_LATENT, QUALITY_ANCHORS, STEPS_PER_ANCHOR
from codec.model.mean_model import MeanModel
from codec.model.network import Model
from codec.model.quantization import SCALES, SYMBOL_LIMIT, quantize, shrink
from codec.model.scale_model import ScaleModel

_MOST_DISCARDED = 1.5
"""Largest distance of a latent to its mean, in quantization steps, that skipping may discard.

Rounding discards up to 0.5. The scale model can be wrong where pictures are unlike photographs, for
example at a single bright pixel."""


@dataclasses.dataclass(frozen=True)
class Payload:
    """The payload of one tile."""

    data: bytes
    symbols_crc: int
    """CRC-32 of all coded symbols as little-endian int32, in the order in which they are coded."""


@dataclasses.dataclass(frozen=True)
class TileSymbols:
    """The integers of one tile."""

    hyper: Symbols
    """Hyper-latents, ⌈h/4⌉×⌈w/4⌉×C int32."""
    latents: NDArray[np.signedinteger]
    """Symbols of the latents, h×w×M: int8, int16 or int32. A decoder uses the smallest of them."""
    dense: bool
    """Whether all symbols are coded, also those whose scale index is at most the skip index."""


def too_far(discarded: Tensor) -> Tensor:
    """Return whether skipping may not discard latents at these distances to their means.

    The encoder then makes the tile dense.
    """
    return discarded > _MOST_DISCARDED


def hyper_groups(level: int, positions: int, channels: int) -> Groups:
    """Return the groups of the hyper-latents of a tile.

    Each channel has one table per quality anchor; the nearest anchor is used. These tables follow
    those of the scales.
    """
    anchor = min((level + STEPS_PER_ANCHOR // 2) // STEPS_PER_ANCHOR, QUALITY_ANCHORS - 1)
    first = SCALES + anchor * channels
    return [(first + channel, positions) for channel in range(channels)]


def hyper_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of hyper-latents for `size` latents."""
    factor = LATENTS_PER_HYPER_LATENT
    return -(-size[0] // factor), -(-size[1] // factor)


def crc_of(arrays: Sequence[Symbols]) -> int:
    """Return the CRC-32 of symbols as little-endian int32."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(array.astype("<i4", copy=False).tobytes(), crc)
    return crc


def check_range(symbols: Symbols) -> None:
    """Raise `FormatError` if a symbol is beyond ±SYMBOL_LIMIT, the limit of the format."""
    if symbols.size and max(int(symbols.max()), -int(symbols.min())) > SYMBOL_LIMIT:
        raise FormatError("a symbol is out of range")


def scale_indexes(
    scale_model: ScaleModel, z: Tensor, level: Tensor, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the scale index of each latent, N×h×w×M, from hyper-latents N×⌈h/4⌉×⌈w/4⌉×C."""
    indexes = scale_model.indexes(z, level)[:, : size[0], : size[1]]
    return indexes.contiguous().numpy()


@torch.no_grad()
def reconstruct(mean_model: MeanModel, z: Tensor, symbols: Tensor, level: Tensor) -> Tensor:
    """Return y_hat, N×h×w×M, from hyper-latents, symbols (all float32) and N quality levels."""
    size = (symbols.shape[1], symbols.shape[2])
    return mean_model.run(z, level, size, lambda step, mean: mean_model.select(symbols, step))


@torch.no_grad()
def quantize_latents(
    model: Model, y: Tensor, level: Tensor, dead_zone: float, skip: int
) -> tuple[list[TileSymbols], NDArray[np.uint8], Tensor]:
    """Quantize the latents of N tiles of equal size.

    Returns the symbols of each tile, their scale indexes N×h×w×M, and y_hat N×h×w×M float32.

    `y` is N×h×w×M float32, and `level` holds N quality levels. The scale model must be frozen, and
    is on the CPU. With a `dead_zone` of 0, latents are rounded to the nearest integer. Latents that
    were found by a search must be rounded in this way. Where the scale index is at most `skip`, the
    symbol is 0, unless this would discard too much of a latent of the tile: then the tile is dense.
    """
    size = (y.shape[1], y.shape[2])
    z = quantize(model.hyper_analysis(model.mean_model.normalise(y)).float())
    indexes = scale_indexes(model.scale_model, z.cpu(), level.cpu(), size)
    index = torch.from_numpy(indexes).to(y.device).float()
    symbols, y_hat, discarded = _quantize(model.mean_model, y, z, level, index, dead_zone, skip)
    dense = too_far(discarded)
    if dense.any():
        symbols[dense], y_hat[dense], _ = _quantize(
            model.mean_model, y[dense], z[dense], level[dense], index[dense], dead_zone, -1
        )
    found = symbols.to(torch.int32).cpu().numpy()
    hyper = z.to(torch.int32).cpu().numpy()
    tiles = [TileSymbols(*each) for each in zip(hyper, found, dense.tolist(), strict=True)]
    return tiles, indexes, y_hat


def _quantize(
    mean_model: MeanModel, y: Tensor, z: Tensor, level: Tensor, index: Tensor, dead_zone: float, skip: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return symbols, y_hat, and the largest distance of a skipped latent to its mean, per tile."""
    size = (y.shape[1], y.shape[2])
    parts: list[Tensor] = []
    discarded = torch.zeros(len(y), device=y.device)

    def quantizer(step: int, mean: Tensor) -> Tensor:
        nonlocal discarded
        scale_index = mean_model.select(index + 1, step) - 1  # -1 in the padding of odd sizes
        residual = mean_model.select(y, step) - mean
        coded = scale_index > skip
        parts.append(quantize(shrink(residual, scale_index, dead_zone)) * coded)
        skipped = residual.masked_fill(coded | (scale_index < 0), 0)
        discarded = torch.maximum(discarded, skipped.abs().amax((0, 2, 3, 4)))
        return parts[-1]

    y_hat = mean_model.run(z, level, size, quantizer)
    return mean_model.merge(parts, size), y_hat, discarded


def encode_latents(
    model: Model, tables: TableSet, y: Tensor, level: Tensor, dead_zone: float
) -> tuple[list[Payload], list[TileSymbols], Tensor]:
    """Encode N tiles of equal size. Returns their payloads, their symbols and y_hat.

    Arguments as for `quantize_latents`.
    """
    tiles, indexes, y_hat = quantize_latents(model, y, level, dead_zone, tables.skip)
    payloads = []
    for tile, index, quality in zip(tiles, indexes, level.tolist(), strict=True):
        encoder = Encoder(tables)
        encoder.put_flag(tile.dense)
        hyper = tile.hyper.reshape(-1, tile.hyper.shape[2]).T.ravel()
        encoder.put(hyper, hyper_groups(quality, tile.hyper[..., 0].size, tile.hyper.shape[2]))
        where, groups = _coded(tables, index, tile.dense)
        symbols = tile.latents.ravel()[where].astype(np.int32, copy=False)
        encoder.put(symbols, groups)
        payloads.append(Payload(encoder.finish(), crc_of([hyper, symbols])))
    return payloads, tiles, y_hat


def _coded(tables: TableSet, index: NDArray[np.uint8], dense: bool) -> tuple[NDArray[np.intp], Groups]:
    """Return the positions of the coded latents in coding order, and their groups."""
    index = index.ravel()
    if dense:
        return tables.grouped(index)
    # Most latents are skipped, and need not be sorted.
    where = np.flatnonzero(index > tables.skip)
    order, groups = tables.grouped(index[where])
    return where[order], groups


@torch.no_grad()
def decode_symbols(
    scale_model: ScaleModel,
    tables: TableSet,
    payloads: Sequence[bytes | memoryview],
    symbols_crcs: Sequence[int],
    levels: Sequence[int],
    size: tuple[int, int],
) -> list[TileSymbols]:
    """Decode the symbols of N tiles of `size` latents and M channels, on the CPU.

    Only integers decide what is returned. Raises `FormatError` for a payload that cannot be
    decoded, and `ChecksumMismatch` if the decoded symbols are not those that were encoded.
    """
    rows, columns = hyper_size(size)
    channels = scale_model.hyper_latents
    decoders = [Decoder(tables, payload) for payload in payloads]
    dense = [decoder.get_flag() for decoder in decoders]
    hyper = []
    for decoder, level in zip(decoders, levels, strict=True):
        values = decoder.get(hyper_groups(level, rows * columns, channels))
        check_range(values)
        hyper.append(values)
    z = np.stack([values.reshape(channels, rows, columns).transpose(1, 2, 0) for values in hyper])
    indexes = scale_indexes(scale_model, torch.from_numpy(z).float(), torch.tensor(levels), size)
    tiles = []
    for n, (decoder, crc) in enumerate(zip(decoders, symbols_crcs, strict=True)):
        where, groups = _coded(tables, indexes[n], dense[n])
        values = decoder.get(groups)
        check_range(values)
        decoder.finish()
        if crc_of([hyper[n], values]) != crc:
            raise ChecksumMismatch("payload is damaged: its symbols do not match their CRC-32")
        largest = max(int(values.max()), -int(values.min())) if values.size else 0
        latents = np.zeros(indexes[n].shape, np.min_scalar_type(-largest - 1))
        latents.ravel()[where] = values
        tiles.append(TileSymbols(z[n], latents, dense[n]))
    return tiles
