"""From files to pixels, one row of tiles after another: memory does not grow with the picture's height.

    payloads ─ latents of tiles ─ windows ─ synthesis ─ bands of pixels

A tile's pixels depend on the latents of its window only, and every window runs through the synthesis
transform alone: a region has the pixels that the whole picture has there.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from torch import Tensor

from codec import tiling
from codec.container import File
from codec.entropy_coder import TableSet
from codec.errors import ChecksumMismatch, FormatError
from codec.image import Pixels
from codec.latent_codec import decode_latents
from codec.model.config import PIXELS_PER_LATENT
from codec.model.network import Model
from codec.tiling import Box

_BATCH_PIXELS = 1 << 21
"""Tiles of equal size are entropy-decoded together up to this many pixels."""


class Engine(Protocol):
    """What decoding needs of a loaded model."""

    model: Model
    tables: TableSet
    device: torch.device
    halo: int


def lost_pixels(file: File, damaged: Iterable[int], region: Box, halo: int) -> NDArray[np.bool_]:
    """H×W, True where pixels of `region` may differ from those of the undamaged file.

    With a `halo` of latents that is around the damaged tiles too: their neighbours saw them.
    """
    header = file.header
    mask = np.zeros((region.height, region.width), bool)
    for tile in damaged:
        box = tiling.tile_box(tile, header.height, header.width, header.tile_size)
        around = tiling.window(box, halo, header.height, header.width).scaled(PIXELS_PER_LATENT)
        if around.overlaps(region):
            mask[around.intersection(region).relative_to(region).slices] = True
    return mask


def decode_pictures(engine: Engine, files: Sequence[File]) -> list[Pixels]:
    """Whole pictures of files with latents; small ones go through the entropy model together."""
    alone = [(index, 0) for index, file in enumerate(files) if len(file.starts) == 1]
    found = _decode_tiles(engine, files, alone, None)
    pictures = []
    for index, file in enumerate(files):
        known = {0: found.pop((index, 0))} if (index, 0) in found else {}
        pictures.append(_join(file, whole(file), latent_bands(engine, file, whole(file), None, known)))
    return pictures


def decode_region(engine: Engine | None, file: File, region: Box, damaged: set[int] | None) -> Pixels:
    """The pixels of `region`; damaged tiles are added to `damaged`, or raise if it is None.

    A file of latents needs the `engine` of its model.
    """
    if file.header.stored:
        return _join(file, region, stored_bands(file, region, damaged))
    assert engine is not None
    return _join(file, region, latent_bands(engine, file, region, damaged))


def whole(file: File) -> Box:
    """All pixels of a file."""
    return Box(0, 0, file.header.height, file.header.width)


def _join(file: File, region: Box, bands: Iterator[Pixels]) -> Pixels:
    picture = np.empty((region.height, region.width, file.header.channels), np.uint8)
    row = 0
    for band in bands:
        picture[row : row + band.shape[0]] = band
        row += band.shape[0]
    return picture


def _rows_of_tiles(file: File, region: Box) -> Iterator[tuple[Box, list[tuple[int, Box]]]]:
    """From the top: the part of `region` in a row of tiles, and the number and latents of these tiles."""
    header = file.header
    boxes = tiling.tiles(header.height, header.width, header.tile_size)
    tiles = tiling.tiles_within(tiling.covering(region), header.height, header.width, header.tile_size)
    for top, members in itertools.groupby(tiles, key=lambda tile: boxes[tile].top):
        row = [(tile, boxes[tile]) for tile in members]
        rows = Box(top, 0, row[0][1].bottom, boxes[-1].right).scaled(PIXELS_PER_LATENT)
        yield rows.intersection(region), row


def latent_bands(
    engine: Engine, file: File, region: Box, damaged: set[int] | None, known: dict[int, Tensor] | None = None
) -> Iterator[Pixels]:
    """The rows of `region`, a band for every row of tiles. `known` holds latents decoded before."""
    header = file.header
    size = (header.height, header.width)
    boxes = tiling.tiles(*size, header.tile_size)
    level = torch.tensor([header.level], device=engine.device)
    latents = known or {}
    channels = engine.model.config.latents
    for part, row in _rows_of_tiles(file, region):
        windows = [tiling.window(box, engine.halo, *size) for _, box in row]
        needed = {
            tile for window in windows for tile in tiling.tiles_within(window, *size, header.tile_size)
        }
        latents = {tile: values for tile, values in latents.items() if tile in needed}
        missing = [(0, tile) for tile in sorted(needed - latents.keys())]
        for (_, tile), values in _decode_tiles(engine, [file], missing, damaged).items():
            latents[tile] = values
        band = np.empty((part.height, part.width, header.channels), np.uint8)
        for (_, box), window in zip(row, windows, strict=True):
            y_hat = torch.empty(window.height, window.width, channels, device=engine.device)
            for tile in tiling.tiles_within(window, *size, header.tile_size):
                common = boxes[tile].intersection(window)
                inner = common.relative_to(boxes[tile])
                y_hat[common.relative_to(window).slices] = latents[tile][inner.slices]
            pixels = _synthesise(engine, y_hat, level, header.channels)
            visible = box.scaled(PIXELS_PER_LATENT).intersection(part)
            corner = window.scaled(PIXELS_PER_LATENT)
            band[visible.relative_to(part).slices] = pixels[visible.relative_to(corner).slices]
        yield band


def _decode_tiles(
    engine: Engine, files: Sequence[File], wanted: Sequence[tuple[int, int]], damaged: set[int] | None
) -> dict[tuple[int, int], Tensor]:
    """y_hat, h×w×M float32, of every wanted (file, tile)."""
    found: dict[tuple[int, int], Tensor] = {}
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for index, tile in wanted:
        header = files[index].header
        box = tiling.tile_box(tile, header.height, header.width, header.tile_size)
        groups[box.height, box.width].append((index, tile))
    for size, members in groups.items():
        count = max(1, _BATCH_PIXELS // (size[0] * size[1] * PIXELS_PER_LATENT**2))
        for start in range(0, len(members), count):
            batch = members[start : start + count]
            try:
                decoded = _decode_batch(engine, files, batch, size)
            except FormatError:
                # One by one, so that the error names the tile, and the others are kept.
                decoded = [_decode_alone(engine, files[index], tile, size, damaged) for index, tile in batch]
            found.update(zip(batch, decoded, strict=True))
    return found


def _decode_alone(
    engine: Engine, file: File, tile: int, size: tuple[int, int], damaged: set[int] | None
) -> Tensor:
    try:
        return _decode_batch(engine, [file], [(0, tile)], size)[0]
    except FormatError:
        if damaged is None:
            raise
        damaged.add(tile)
        return torch.zeros(*size, engine.model.config.latents, device=engine.device)


def _decode_batch(
    engine: Engine, files: Sequence[File], batch: Sequence[tuple[int, int]], size: tuple[int, int]
) -> list[Tensor]:
    payloads = [files[index].payload(tile) for index, tile in batch]
    try:
        y_hat, _ = decode_latents(
            engine.model,
            engine.tables,
            payloads,
            [files[index].header.tiles[tile].content_crc for index, tile in batch],
            torch.tensor([files[index].header.level for index, _ in batch], device=engine.device),
            size,
        )
    except FormatError as error:
        index, tile = batch[0]  # the only one, or they are tried again one by one
        raise type(error)(f"tile {tile} of {len(files[index].starts)}: {error}") from None
    return [values.float() for values in y_hat]  # not views, which would keep each other alive


@torch.no_grad()
def _synthesise(engine: Engine, y_hat: Tensor, level: Tensor, channels: int) -> Pixels:
    x_hat = engine.model.synthesis(y_hat[None], level)[0]
    # Hostile latents can overflow; whatever comes of it must still be a picture.
    x_hat = torch.nan_to_num(x_hat).clamp(0, 1) * 255
    if channels == 1:
        x_hat = x_hat.mean(-1, keepdim=True)
    pixels: Pixels = x_hat.round().to(torch.uint8).cpu().numpy()
    return pixels


def stored_bands(file: File, region: Box, damaged: set[int] | None) -> Iterator[Pixels]:
    """As `latent_bands`, of a file whose tiles hold pixels."""
    header = file.header
    picture = whole(file)
    for part, row in _rows_of_tiles(file, region):
        band = np.zeros((part.height, part.width, header.channels), np.uint8)
        for tile, latents in row:
            box = latents.scaled(PIXELS_PER_LATENT).intersection(picture)
            shape = (box.height, box.width, header.channels)
            try:
                raw = _unpack_stored(bytes(file.payload(tile)), math.prod(shape), tile)
                if zlib.crc32(raw) != header.tiles[tile].content_crc:
                    raise ChecksumMismatch(f"tile {tile} unpacks to other pixels than were stored")
            except FormatError:
                if damaged is None:
                    raise
                damaged.add(tile)
                continue
            visible = box.intersection(part)
            pixels = np.frombuffer(raw, np.uint8).reshape(shape)
            band[visible.relative_to(part).slices] = pixels[visible.relative_to(box).slices]
        yield band


def _unpack_stored(payload: bytes, size: int, index: int) -> bytes:
    if len(payload) == size:
        return payload
    if len(payload) > size:
        raise FormatError(f"tile {index} is longer than its pixels")
    try:
        # The frame must state the size: `max_output_size` is ignored when it does.
        if zstandard.get_frame_parameters(payload).content_size != size:
            raise FormatError(f"tile {index} states another size than its pixels have")
        return zstandard.ZstdDecompressor().decompress(payload, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"tile {index} is not a zstd frame: {error}") from None
