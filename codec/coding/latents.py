"""Conversion of the latents of tiles to payloads and back.

The entropy model drives the entropy coder. Encoder and decoder run the same exact networks
(`EntropyModel.run`) step by step. Only the callback differs. A payload holds the hyper-latents in
(row, column, channel) order, then the symbols of the four steps, each in (phase, row, column,
channel) order. Positions beyond the tile are left out.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.entropy_coder import Decoder, Encoder, Symbols, TableSet
from codec.errors import ChecksumMismatch, FormatError
from codec.model.config import LATENTS_PER_HYPER_LATENT, QUALITY_ANCHORS, STEPS_PER_ANCHOR
from codec.model.entropy_model import inside, step_values
from codec.model.exact import LIMIT, round_to_grid
from codec.model.network import Model
from codec.model.quantization import SCALES, SYMBOL_LIMIT, quantize, shrink

_N = TypeVar("_N", bound=np.generic)

LATENT_BITS = 10
"""The encoder first rounds the output of the floating-point transforms to multiples of 2^-10.

Predicted means lie on a grid, and the latents of flat areas are zero except for floating-point
noise. Without this rounding, the difference of the two would often be a tie between two integers.
The noise would then break the tie differently on each machine.
"""


@dataclasses.dataclass(frozen=True)
class Payload:
    """The payload of one tile."""

    data: bytes
    symbols_crc: int
    """CRC-32 of all symbols as little-endian int32."""


def hyper_indexes(level: int, positions: int, channels: int) -> NDArray[np.uint16]:
    """Return the table number of each hyper-latent.

    Each channel has one table per quality anchor; the nearest anchor is used. These tables follow
    those of the scales.
    """
    anchor = min((level + STEPS_PER_ANCHOR // 2) // STEPS_PER_ANCHOR, QUALITY_ANCHORS - 1)
    first = SCALES + anchor * channels
    return np.tile(np.arange(first, first + channels, dtype=np.uint16), positions)


def hyper_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of hyper-latents for `size` latents."""
    factor = LATENTS_PER_HYPER_LATENT
    return -(-size[0] // factor), -(-size[1] // factor)


def _to_indexes(index: Tensor) -> NDArray[np.uint16]:
    return index.round().clamp(0, SCALES - 1).to(torch.uint8).cpu().numpy().astype(np.uint16)


def _of_tile(values: NDArray[_N], n: int, mask: NDArray[np.bool_]) -> NDArray[_N]:
    """Return the values of a step that belong to tile `n` of N, in coding order.

    `values` is 4×N×h/2×w/2×C, `mask` is 4×h/2×w/2.
    """
    part: NDArray[_N] = values[:, n][mask].reshape(-1)
    return part


def crc_of(arrays: Sequence[Symbols]) -> int:
    """Return the CRC-32 of symbols as little-endian int32."""
    crc = 0
    for array in arrays:
        crc = zlib.crc32(array.astype("<i4").tobytes(), crc)
    return crc


@dataclasses.dataclass
class CodedSymbols:
    """The symbols of one tile and the numbers of the tables that code them, in coding order."""

    symbols: list[Symbols]
    indexes: list[NDArray[np.uint16]]


@torch.no_grad()
def quantize_latents(
    model: Model, y: Tensor, level: Tensor, dead_zone: float
) -> tuple[list[CodedSymbols], Tensor]:
    """Quantize the latents of N tiles of equal size.

    Returns the symbols of each tile, and y_hat (N×h×w×M float64) as the decoder will compute it.

    `y` is N×h×w×M float64, and `level` holds N quality levels. The entropy model must be frozen.
    With a `dead_zone` of 0, latents are rounded to the nearest integer. Latents that were found by
    a search must be rounded in this way.
    """
    size = (y.shape[1], y.shape[2])
    entropy = model.entropy_model
    y = round_to_grid(y, LATENT_BITS)
    z = round_to_grid(model.hyper_analysis(entropy.normalise(y)), LATENT_BITS)
    z_hat = quantize(z).clamp(-LIMIT, LIMIT)
    mask = inside(size, y.device).cpu().numpy()
    coded = []
    for n, picture in enumerate(z_hat.to(torch.int32).cpu().numpy()):
        positions = picture.shape[0] * picture.shape[1]
        indexes = hyper_indexes(int(level[n]), positions, picture.shape[2])
        coded.append(CodedSymbols([picture.reshape(-1)], [indexes]))

    def quantizer(step: int, mean: Tensor, index: Tensor) -> Tensor:
        rounded = quantize(shrink(step_values(y, step) - mean, index, dead_zone))
        symbols, indexes = rounded.to(torch.int32).cpu().numpy(), _to_indexes(index)
        for n, tile in enumerate(coded):
            tile.symbols.append(_of_tile(symbols, n, mask))
            tile.indexes.append(_of_tile(indexes, n, mask))
        return rounded

    return coded, entropy.run(z_hat, level, size, quantizer)


def encode_latents(
    model: Model, tables: TableSet, y: Tensor, level: Tensor, dead_zone: float
) -> tuple[list[Payload], Tensor]:
    """Encode N tiles of equal size. Returns their payloads and y_hat.

    Arguments as for `quantize_latents`.
    """
    coded, y_hat = quantize_latents(model, y, level, dead_zone)
    payloads = []
    for tile in coded:
        encoder = Encoder(tables)
        for symbols, indexes in zip(tile.symbols, tile.indexes, strict=True):
            encoder.put(symbols, indexes)
        payloads.append(Payload(encoder.finish(), crc_of(tile.symbols)))
    return payloads, y_hat


@torch.no_grad()
def decode_latents(
    model: Model,
    tables: TableSet,
    payloads: Sequence[bytes | memoryview],
    symbols_crcs: Sequence[int],
    level: Tensor,
    size: tuple[int, int],
) -> tuple[Tensor, list[list[Symbols]]]:
    """Decode the N payloads of tiles of `size` latents.

    Returns y_hat, N×h×w×M float64, and the symbols of each tile.

    Raises `FormatError` for a payload that cannot be decoded, and `ChecksumMismatch` if the decoded
    symbols are not those that were encoded.
    """
    entropy = model.entropy_model
    device = level.device
    rows, columns = hyper_size(size)
    channels = model.config.hyper_latents
    mask = inside(size, device).cpu().numpy()
    decoders = [Decoder(tables, payload) for payload in payloads]
    decoded: list[list[Symbols]] = []
    for n, decoder in enumerate(decoders):
        symbols = decoder.get(hyper_indexes(int(level[n]), rows * columns, channels))
        check_range(symbols)
        decoded.append([symbols])
    z = np.stack([tile[0].reshape(rows, columns, channels) for tile in decoded])
    z_hat = torch.from_numpy(z).to(device, torch.float64)

    def quantizer(step: int, mean: Tensor, index: Tensor) -> Tensor:
        indexes = _to_indexes(index)
        values = np.zeros(mean.shape)
        for n, decoder in enumerate(decoders):
            symbols = decoder.get(_of_tile(indexes, n, mask))
            check_range(symbols)
            decoded[n].append(symbols)
            values[:, n][mask] = symbols.reshape(-1, mean.shape[-1])
        return torch.from_numpy(values).to(device)

    y_hat = entropy.run(z_hat, level, size, quantizer)
    for decoder, tile, crc in zip(decoders, decoded, symbols_crcs, strict=True):
        decoder.finish()
        if crc_of(tile) != crc:
            raise ChecksumMismatch("payload is damaged: its symbols do not match their CRC-32")
    return y_hat, decoded


def check_range(symbols: Symbols) -> None:
    """Raise `FormatError` if a symbol is beyond ±SYMBOL_LIMIT, the limit of the format."""
    if symbols.size and max(int(symbols.max()), -int(symbols.min())) > SYMBOL_LIMIT:
        raise FormatError("a symbol is out of range")
