"""The symbols of files, and payloads of chosen symbols, which no picture leads to.

Random changes of a payload give random symbols. The functions of this module write given symbols
instead: hyper-latents and symbols at and beyond the limits, other escapes, another skip index.
"""

from __future__ import annotations

import functools
import random
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

import codec
from codec.coding.latents import TileSymbols, crc_of, decode_symbols, hyper_groups, scale_indexes
from codec.coding.residual import unpack_residual
from codec.engine.loaded_model import LoadedModel
from codec.entropy_coder import Encoder, Groups, TableSet
from codec.format import container, tiling
from codec.model.quantization import SYMBOL_LIMIT
from tests.support import layout
from tests.support.layout import Entry
from tests.support.tiles import unpack

Ints = NDArray[np.int32]

EXTREMES = (
    0, 1, -1, 2, 31, 32, -32, 33, -33, 127, -129, 1 << 15, -(1 << 15), SYMBOL_LIMIT, -SYMBOL_LIMIT,
    SYMBOL_LIMIT + 1, -SYMBOL_LIMIT - 1, 1 << 26, -(1 << 26),
)


def tile_symbols(worker: codec.Codec, data: bytes) -> list[TileSymbols]:
    """Return the symbols of every tile of a file."""
    header, payloads = unpack(data)
    model = worker.model_for(header.model_id)
    boxes = tiling.tiles(header.height, header.width, header.tile_size)
    return [
        decode_symbols(
            model.networks.scale_model, model.tables, [payload], [entry.content_crc], [header.level],
            (box.height, box.width),
        )[0]
        for box, payload, entry in zip(boxes, payloads, header.tiles, strict=True)
    ]


_known_symbols = functools.lru_cache(16)(tile_symbols)
"""Like `tile_symbols`, for files that are recoded again and again. Callers copy the arrays."""


def tile_residuals(worker: codec.Codec, data: bytes) -> list[Ints]:
    """Return the residual H×W×C of every tile of a file; empty without a residual layer."""
    file = container.read(data)
    header = file.header
    found = []
    for number, entry in enumerate(header.residual):
        latents = tiling.tile_box(number, header.height, header.width, header.tile_size)
        box = latents.scaled(tiling.LATENT).intersection(tiling.Box(0, 0, header.height, header.width))
        shape = (box.height, box.width, header.channels)
        tables = worker.model_for(header.model_id).tables
        found.append(unpack_residual(tables, file.residual_payload(number), shape, entry.content_crc, "it"))
    return found


class _Encoder(Encoder):
    """An encoder whose escapes have `surplus` digits too many."""

    def __init__(self, tables: TableSet, surplus: int) -> None:
        super().__init__(tables)
        self.surplus = surplus

    def _put_digits(self, values: NDArray[np.int64]) -> None:
        for _ in range(self.surplus):
            self._coder.encode(((values & 127) + 128).astype(np.int32), self._set._digit)
            values = values >> 7
        super()._put_digits(values)


def code(
    tables: TableSet, calls: list[tuple[Ints, Groups]], surplus: int = 0, flag: bool | None = None
) -> tuple[bytes, int]:
    """Return payload and content CRC of a flag and group calls, with values sorted by table."""
    encoder = _Encoder(tables, surplus)
    if flag is not None:
        encoder.put_flag(flag)
    for values, groups in calls:
        encoder.put(values, groups)
    return encoder.finish(), crc_of([values for values, _ in calls])


def code_tile(
    model: LoadedModel, level: int, hyper: Ints, symbols: Ints, *, surplus: int = 0, skip: int | None = None,
    dense: bool = False,
) -> tuple[bytes, int]:
    """Return payload and content CRC of hyper-latents ⌈h/4⌉×⌈w/4⌉×N and symbols h×w×M.

    `skip` replaces the skip index of the model. The flag says `dense`, whatever `skip` is.
    """
    z = torch.from_numpy(hyper)[None].float()
    size = (symbols.shape[0], symbols.shape[1])
    index = scale_indexes(model.networks.scale_model, z, torch.tensor([level]), size).ravel()
    order = np.argsort(index, kind="stable")
    kept = skip if skip is not None else -1 if dense else model.tables.skip
    order = order[index[order] > kept]
    rows, columns, channels = hyper.shape
    return code(model.tables, [
        (hyper.transpose(2, 0, 1).ravel(), hyper_groups(level, rows * columns, channels)),
        (symbols.ravel()[order], model.tables.grouped(index[order])[1]),
    ], surplus, dense)


def code_residual(tables: TableSet, scales: Ints, residual: Ints, surplus: int = 0) -> tuple[bytes, int]:
    """Return payload and content CRC of a residual H×W×C and the scales of its blocks.

    Samples of scales that do not exist are left out.
    """
    differences = np.diff(scales, axis=1, prepend=0)
    differences[:, 0] = np.diff(scales[:, 0], axis=0, prepend=0)
    y, x = np.indices(residual.shape[:2]) // 8
    table = scales[y, x].ravel()
    order = np.argsort(table, kind="stable")
    order = order[(table[order] >= 0) & (table[order] < 64)]
    return code(tables, [
        (differences.ravel().astype(np.int32), [(35, differences.size)]),
        (residual.ravel()[order], tables.grouped(table[order].astype(np.uint8))[1]),
    ], surplus)


def replace(data: bytes, index: int, payload: bytes, content_crc: int) -> bytes:
    """Return the file with another payload, given by its position in the tile index."""
    fields, payloads = layout.parse(data)
    fields.index[index] = Entry(len(payload), zlib.crc32(payload), content_crc)
    payloads[len(fields.metadata) + index] = payload
    return layout.build(fields, payloads)


def _disturb(values: Ints, rng: random.Random) -> Ints:
    """Return the values with some of them replaced by others, most of them extreme."""
    changed = values.copy()
    if not changed.size:
        return changed
    for _ in range(rng.choice((1, 1, 3, 20))):
        value = rng.choice(EXTREMES) if rng.random() < 0.7 else rng.randrange(-300, 300)
        changed.ravel()[rng.randrange(changed.size)] = value
    if rng.random() < 0.1:
        changed[:] = rng.choice(EXTREMES)
    return changed


def recode(worker: codec.Codec, data: bytes, rng: random.Random) -> bytes:
    """Return the file with other values in a payload of latents or of a residual.

    All CRCs match, unless the payload was written with another skip index or has lost its end.
    """
    header = container.read(data).header
    model = worker.model_for(header.model_id)
    tile = rng.randrange(len(header.tiles))
    surplus = rng.choice((0, 0, 0, 0, 1, 2, 4))
    what = rng.randrange(5 if header.residual else 4)
    if what == 4:
        residual = tile_residuals(worker, data)[tile]
        scales = np.full((*(-(-side // 8) for side in residual.shape[:2]), residual.shape[2]), 20, np.int32)
        if rng.random() < 0.3:
            scales.ravel()[rng.randrange(scales.size)] = rng.choice((-1, 0, 63, 64, 1 << 20))
        coded = code_residual(model.tables, scales, _disturb(residual, rng), surplus)
        return replace(data, len(header.planes) * tile + 1, *coded)
    found = _known_symbols(worker, data)[tile]
    hyper, symbols = found.hyper.astype(np.int32), found.latents.astype(np.int32)
    skip, dense = None, found.dense
    if what in (0, 2):
        hyper = _disturb(hyper, rng)
    if what in (1, 2):
        symbols = _disturb(symbols, rng)
    if what == 3:
        skip, dense = rng.randrange(-1, 64), rng.random() < 0.5
    payload, crc = code_tile(model, header.level, hyper, symbols, surplus=surplus, skip=skip, dense=dense)
    if rng.random() < 0.1:
        payload = payload[: 4 * rng.randrange(1 + len(payload) // 4)] or payload + bytes(4)
    return replace(data, len(header.planes) * tile, payload, crc)


def recoded(worker: codec.Codec, files: Mapping[str, bytes], rng: random.Random) -> Iterator[bytes]:
    """Endless files that `recode` makes of those of `files` that have latents."""
    pool = [data for data in files.values() if not codec.inspect(data).lossless]
    while True:
        yield recode(worker, rng.choice(pool), rng)
