"""The residual layer: what latents leave of the samples, so that none is off by more than half a step.

Lossy plus residual coding with a bound on every error: Bai et al., "Learning Scalable ℓ∞-constrained
Near-lossless Image Compression via Joint Lossy Image and Residual Compression", CVPR 2021. There a
network predicts the residual's distribution; here each block of a channel states its scale, and the model's
table for latents of that scale codes it: what latents of quality 90 and more leave is close to white noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codec.coding.latents import check_range, crc_of
from codec.entropy_coder import Decoder, Encoder, Symbols, Table, TableSet
from codec.errors import ChecksumMismatch, FormatError
from codec.format.header import MAX_LEVEL
from codec.model.quantization import SCALES
from codec.pictures.picture import Samples

BLOCK = 8
"""Pixels along a block, whose samples of a channel share a scale."""

_DIFFERENCE_TABLE = 35
"""Codes the differences of neighbouring scales; its standard deviation is about 4, as theirs."""

_LAST_WITHOUT = 922
"""The last quality level without a residual layer, that of quality 90."""

_STEPS = (1 << 14, 1 << 6)
"""At quality 90 and 100, in 16-bit samples: hardly anything is coded, and ten bits are kept."""


def last_level_without(depth: int) -> int:
    """The quality level beyond which the encoder adds a residual layer to samples of `depth` bits.

    Eight bits have none, at any level.
    """
    return MAX_LEVEL if depth == 8 else _LAST_WITHOUT


def step_of(level: int, depth: int) -> int:
    """The step that the encoder chooses for samples of `depth` bits; 0: no residual layer."""
    if level <= last_level_without(depth):
        return 0
    coarsest, finest = _STEPS
    in_16_bits: float = finest * (coarsest / finest) ** ((MAX_LEVEL - level) / (MAX_LEVEL - _LAST_WITHOUT))
    return max(1, round(in_16_bits / (1 << (16 - depth))))


def quantize_residual(original: Samples, decoded: Samples, step: int) -> Symbols:
    """H×W×C int32: what is missing in steps, to the nearest."""
    missing = original.astype(np.int32) - decoded
    symbols: Symbols = np.rint(missing / step).astype(np.int32)
    return symbols


def add_residual(decoded: Samples, residual: Symbols, step: int, full: int) -> Samples:
    """The samples, of the dtype of `decoded`, kept within 0…`full`."""
    # Hostile symbols are up to 2^20, steps up to 2^16.
    samples: Samples = np.clip(decoded + residual.astype(np.int64) * step, 0, full).astype(decoded.dtype)
    return samples


def pack_residual(tables: TableSet, residual: Symbols) -> tuple[bytes, int]:
    """Payload and content CRC of a tile's residual H×W×C."""
    scales = _choose_scales(residual, tables.tables[:SCALES])
    differences = scales.copy()
    differences[:, 1:] -= scales[:, :-1]
    differences[1:, 0] -= scales[:-1, 0]
    encoder = Encoder(tables)
    values = [differences.reshape(-1), np.ascontiguousarray(residual).reshape(-1)]
    encoder.put(values[0], _of_differences(scales.size))
    encoder.put(values[1], _of_samples(scales, residual.shape))
    return encoder.finish(), crc_of(values)


def unpack_residual(
    tables: TableSet, payload: bytes | memoryview, shape: tuple[int, int, int], content_crc: int, what: str
) -> Symbols:
    """The residual H×W×C of `shape`; `FormatError` or `ChecksumMismatch` that name `what`."""
    try:
        decoder = Decoder(tables, payload)
        blocks = (-(-shape[0] // BLOCK), -(-shape[1] // BLOCK), shape[2])
        differences = decoder.get(_of_differences(blocks[0] * blocks[1] * blocks[2]))
        check_range(differences)
        scales = differences.reshape(blocks).astype(np.int64)
        scales[:, 0] = np.cumsum(scales[:, 0], axis=0)
        scales = np.cumsum(scales, axis=1)
        if int(scales.min()) < 0 or int(scales.max()) >= SCALES:
            raise FormatError("a scale is out of range")
        residual = decoder.get(_of_samples(scales, shape))
        check_range(residual)
        decoder.finish()
    except FormatError as error:
        raise type(error)(f"{what}: {error}") from None
    if crc_of([differences, residual]) != content_crc:
        raise ChecksumMismatch(f"{what} decodes to other symbols than were coded")
    return residual.reshape(shape)


def _of_differences(count: int) -> NDArray[np.uint16]:
    return np.full(count, _DIFFERENCE_TABLE, np.uint16)


def _of_samples(scales: NDArray[np.signedinteger], shape: Sequence[int]) -> NDArray[np.uint16]:
    """The table of each sample: the scale of its block."""
    tables = scales.astype(np.uint16).repeat(BLOCK, 0).repeat(BLOCK, 1)
    return np.ascontiguousarray(tables[: shape[0], : shape[1]]).reshape(-1)


def _choose_scales(residual: Symbols, tables: Sequence[Table]) -> Symbols:
    """For each block the scale whose table has the mean square nearest to the block's, as a ratio."""
    height, width = residual.shape[:2]
    rows, columns = np.arange(0, height, BLOCK), np.arange(0, width, BLOCK)
    squares = np.square(residual, dtype=np.float64)
    sums = np.add.reduceat(np.add.reduceat(squares, rows, axis=0), columns, axis=1)
    means = sums / np.outer(np.diff(rows, append=height), np.diff(columns, append=width))[:, :, None]
    expected = np.maximum.accumulate([_mean_square(table) for table in tables])
    scales: Symbols = np.searchsorted(np.sqrt(expected[1:] * expected[:-1]), means).astype(np.int32)
    return scales


def _mean_square(table: Table) -> float:
    symbols = table.lowest + np.arange(table.escape, dtype=np.float64)
    weights = table.frequencies[:-1]
    return float((weights * symbols**2).sum() / weights.sum())
