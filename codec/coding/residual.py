"""The residual layer, which bounds the error of every sample to half a step.

It codes the difference between the original samples and those that are decoded from latents. Lossy
plus residual coding with a bound on every error was described by Bai et al., "Learning Scalable
ℓ∞-constrained Near-lossless Image Compression via Joint Lossy Image and Residual Compression", CVPR
2021. There, a network predicts the distribution of the residual. Here, each block of a channel
states its scale, and the model's table for latents of that scale codes the block. This suffices
because the residual at quality 90 and above is close to white noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codec.coding.latents import check_range, crc_of
from codec.entropy_coder import Decoder, Encoder, Groups, Symbols, Table, TableSet
from codec.errors import ChecksumMismatch, FormatError
from codec.format.header import MAX_LEVEL
from codec.model.quantization import SCALES
from codec.pictures.picture import Samples

BLOCK = 8
"""Side of a block in pixels. The samples of a channel in a block share a scale."""

_DIFFERENCE_TABLE = 35
"""Table that codes the differences of neighbouring scales.

Its standard deviation is about 4, like that of the differences.
"""

_LAST_WITHOUT = 922
"""The highest quality level without a residual layer; it corresponds to quality 90."""

_STEPS = (1 << 14, 1 << 6)
"""Steps at quality 90 and at quality 100, in units of 16-bit samples.

With the first, hardly anything is coded. The second preserves ten bits.
"""


def last_level_without(depth: int) -> int:
    """Return the quality level above which samples of `depth` bits get a residual layer.

    Samples of eight bits get none at any level.
    """
    return MAX_LEVEL if depth == 8 else _LAST_WITHOUT


def step_of(level: int, depth: int) -> int:
    """Return the encoder's step for samples of `depth` bits, or 0 for no residual layer."""
    if level <= last_level_without(depth):
        return 0
    coarsest, finest = _STEPS
    in_16_bits: float = finest * (coarsest / finest) ** ((MAX_LEVEL - level) / (MAX_LEVEL - _LAST_WITHOUT))
    return max(1, round(in_16_bits / (1 << (16 - depth))))


def quantize_residual(original: Samples, decoded: Samples, step: int) -> Symbols:
    """Return the residual in units of `step`, rounded to the nearest integer: H×W×C int32."""
    missing = original.astype(np.int32) - decoded
    symbols: Symbols = np.rint(missing / step).astype(np.int32)
    return symbols


def add_residual(decoded: Samples, residual: Symbols, step: int, full: int) -> Samples:
    """Add a residual to `decoded`; the result has the same dtype and is clipped to 0…`full`."""
    # int64, because symbols of a malicious file reach 2^20, and steps reach 2^16.
    samples: Samples = np.clip(decoded + residual.astype(np.int64) * step, 0, full).astype(decoded.dtype)
    return samples


def pack_residual(tables: TableSet, residual: Symbols) -> tuple[bytes, int]:
    """Encode the residual H×W×C of a tile. Returns the payload and the content CRC."""
    scales = _choose_scales(residual, tables.tables[:SCALES])
    differences = scales.copy()
    differences[:, 1:] -= scales[:, :-1]
    differences[1:, 0] -= scales[:-1, 0]
    encoder = Encoder(tables)
    encoder.put(differences.reshape(-1), _of_differences(scales.size))
    order, groups = tables.grouped(_of_samples(scales, residual.shape))
    symbols = np.ascontiguousarray(residual).reshape(-1)[order]
    encoder.put(symbols, groups)
    return encoder.finish(), crc_of([differences, symbols])


def unpack_residual(
    tables: TableSet, payload: bytes | memoryview, shape: tuple[int, int, int], content_crc: int, what: str
) -> Symbols:
    """Decode a residual H×W×C of `shape`.

    Raises `FormatError` or `ChecksumMismatch`, whose message names `what`.
    """
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
        order, groups = tables.grouped(_of_samples(scales, shape))
        symbols = decoder.get(groups)
        check_range(symbols)
        decoder.finish()
    except FormatError as error:
        raise type(error)(f"{what}: {error}") from None
    if crc_of([differences, symbols]) != content_crc:
        raise ChecksumMismatch(f"{what} is damaged: its symbols do not match their CRC-32")
    residual = np.empty_like(symbols)
    residual[order] = symbols
    return residual.reshape(shape)


def _of_differences(count: int) -> Groups:
    return [(_DIFFERENCE_TABLE, count)]


def _of_samples(scales: NDArray[np.signedinteger], shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return the table number of each sample, which is the scale of its block."""
    tables = scales.astype(np.uint8).repeat(BLOCK, 0).repeat(BLOCK, 1)
    return np.ascontiguousarray(tables[: shape[0], : shape[1]]).reshape(-1)


def _choose_scales(residual: Symbols, tables: Sequence[Table]) -> Symbols:
    """Return, for each block, the scale whose table has the mean square nearest in ratio."""
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
