"""Decoding of files to pixels, one row of tiles after another.

Memory use does not grow with the height of the picture.

    payloads ─ symbols ─ latents of tiles ─ windows ─ synthesis (+ residual) ─┬─ bands of pixels
               stored tiles, alpha ───────────────────────────────────────────┘

Symbols are decoded in integers, on the CPU. All that follows is floating point, on any device.

The pixels of a tile depend only on the latents of its window. If there are several tiles, every
window runs through the synthesis transform alone, on one thread. A region therefore has the same
pixels as the whole picture.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.coding.latents import TileSymbols
from codec.coding.residual import add_residual, unpack_residual
from codec.coding.stored import unpack_alpha, unpack_samples
from codec.engine.loaded_model import LoadedModel
from codec.engine.parallel import Workers
from codec.engine.tile_decoding import latent_size, tile_latents, tile_symbols, to_samples
from codec.entropy_coder import Symbols
from codec.errors import FormatError
from codec.format import tiling
from codec.format.container import File
from codec.format.header import Header
from codec.format.tiling import Box
from codec.model.config import PIXELS_PER_LATENT
from codec.pictures.picture import Samples


@dataclasses.dataclass
class Damage:
    """The tiles of a file that could not be decoded."""

    tiles: set[int] = dataclasses.field(default_factory=set)
    """Tiles whose colour is lost."""
    alpha: set[int] = dataclasses.field(default_factory=set)
    residual: set[int] = dataclasses.field(default_factory=set)
    """Tiles whose residual is lost. Their colour is decoded from the latents only."""


def lost_pixels(file: File, damage: Damage, region: Box, halo: int) -> NDArray[np.bool_]:
    """Return a mask H×W, True where pixels of `region` may differ from the undamaged file.

    The mask extends by `halo` latents around tiles of lost colour, because the windows of
    neighbouring tiles include the lost latents.
    """
    header = file.header
    mask = np.zeros((region.height, region.width), bool)
    for tiles, reach in ((damage.tiles, halo), (damage.alpha, 0), (damage.residual, 0)):
        for tile in tiles:
            box = tiling.tile_box(tile, header.height, header.width, header.tile_size)
            around = tiling.window(box, reach, header.height, header.width).scaled(PIXELS_PER_LATENT)
            if around.overlaps(region):
                mask[around.intersection(region).relative_to(region).slices] = True
    return mask


def decode_bands(
    model: LoadedModel | None, file: File, region: Box, damage: Damage | None,
    symbols: Sequence[TileSymbols] | None = None,
) -> Generator[Samples, None, None]:
    """Yield the rows of `region`, H×W×C with alpha, as one band for every row of tiles.

    Damaged tiles are added to `damage`; if it is None, they raise an error. A file with latents
    needs `model`, the model with which it was written. If `symbols` holds those of all its tiles,
    its payloads are not read.
    """
    header = file.header
    if header.stored:
        black = np.zeros(header.channels, _dtype(file))
        colour = _lossless_bands(file, region, _stored_tile, black, None if damage is None else damage.tiles)
    else:
        assert model is not None
        colour = _latent_bands(model, file, region, damage, symbols)
    with contextlib.closing(colour):
        if not header.alpha:
            yield from colour
            return
        # Where alpha is lost, the colour is visible.
        opaque = np.full(1, (1 << header.depth) - 1, _dtype(file))
        alphas = _lossless_bands(file, region, _alpha_tile, opaque, None if damage is None else damage.alpha)
        for band, alpha in zip(colour, alphas, strict=True):
            yield np.concatenate([band, alpha], -1)


def whole(file: File) -> Box:
    """Return the box of all pixels of a file."""
    return Box(0, 0, file.header.height, file.header.width)


def decode_region(
    model: LoadedModel | None, file: File, region: Box, damage: Damage | None,
    symbols: Sequence[TileSymbols] | None = None,
) -> Samples:
    """Return the rows that `decode_bands` yields as one array."""
    picture = np.empty((region.height, region.width, file.header.samples), _dtype(file))
    row = 0
    for band in decode_bands(model, file, region, damage, symbols):
        picture[row : row + band.shape[0]] = band
        row += band.shape[0]
    return picture


def _dtype(file: File) -> type[np.uint8] | type[np.uint16]:
    return np.uint8 if file.header.depth == 8 else np.uint16


def _rows_of_tiles(file: File, region: Box) -> Iterator[tuple[Box, list[tuple[int, Box]]]]:
    """Yield for each row of tiles, from the top, its part of `region` and its tiles.

    Each tile is given by its number and the box of its latents.
    """
    header = file.header
    boxes = tiling.tiles(header.height, header.width, header.tile_size)
    tiles = tiling.tiles_within(tiling.covering(region), header.height, header.width, header.tile_size)
    for top, members in itertools.groupby(tiles, key=lambda tile: boxes[tile].top):
        row = [(tile, boxes[tile]) for tile in members]
        rows = Box(top, 0, row[0][1].bottom, boxes[-1].right).scaled(PIXELS_PER_LATENT)
        yield rows.intersection(region), row


def _latent_bands(
    model: LoadedModel, file: File, region: Box, damage: Damage | None,
    symbols: Sequence[TileSymbols] | None,
) -> Generator[Samples, None, None]:
    header = file.header
    size = (header.height, header.width)
    boxes = tiling.tiles(*size, header.tile_size)
    level = torch.tensor([header.level], device=model.device)
    channels = model.networks.config.latents
    latents: dict[int, Tensor] = {}
    with Workers() as workers:
        for part, row in _rows_of_tiles(file, region):
            jobs = [(tile, box, tiling.window(box, model.networks.config.halo, *size)) for tile, box in row]
            needed = {
                tile for _, _, window in jobs for tile in tiling.tiles_within(window, *size, header.tile_size)
            }
            latents = {tile: values for tile, values in latents.items() if tile in needed}
            latents |= _decode_tiles(model, file, sorted(needed - latents.keys()), damage, symbols, workers)
            band = np.empty((part.height, part.width, header.channels), _dtype(file))

            def paint(
                job: tuple[int, Box, Box], part: Box = part, band: Samples = band,
                latents: dict[int, Tensor] = latents,
            ) -> None:
                tile, box, window = job
                y_hat = torch.empty(
                    window.height, window.width, channels, dtype=torch.float32, device=model.device
                )
                for number in tiling.tiles_within(window, *size, header.tile_size):
                    common = boxes[number].intersection(window)
                    inner = common.relative_to(boxes[number])
                    y_hat[common.relative_to(window).slices] = latents[number][inner.slices]
                pixels = _synthesise(model, y_hat, level, header)
                pixels_of_tile = box.scaled(PIXELS_PER_LATENT).intersection(whole(file))
                visible = pixels_of_tile.intersection(part)
                corner = window.scaled(PIXELS_PER_LATENT)
                samples = pixels[visible.relative_to(corner).slices]
                residual = _decode_residual(model, file, tile, pixels_of_tile, damage)
                if residual is not None:
                    seen = residual[visible.relative_to(pixels_of_tile).slices]
                    samples = add_residual(samples, seen, header.step, (1 << header.depth) - 1)
                band[visible.relative_to(part).slices] = samples

            # Each tile runs on one thread, even if it is the only one of its row: sums of floats
            # depend on how they are split among threads.
            for _ in workers.run(paint, jobs, alone=len(boxes) > 1):
                pass
            yield band


def _decode_tiles(
    model: LoadedModel, file: File, tiles: Sequence[int], damage: Damage | None,
    symbols: Sequence[TileSymbols] | None, workers: Workers,
) -> dict[int, Tensor]:
    """Return y_hat, h×w×M float32, of every one of these tiles."""

    def decode(tile: int) -> Tensor:
        try:
            (found,) = tile_symbols(model, [(file, tile)]) if symbols is None else [symbols[tile]]
        except FormatError:
            if damage is None:
                raise
            damage.tiles.add(tile)
            channels = model.networks.config.latents
            return torch.zeros(*latent_size(file.header, tile), channels, device=model.device)
        return tile_latents(model, [(file.header, found)])[1][0]

    # On one thread each, for the same reason as in `_latent_bands`.
    alone = len(file.header.tiles) > 1
    return dict(zip(tiles, workers.run(decode, tiles, alone=alone), strict=True))


@torch.no_grad()
def _synthesise(model: LoadedModel, y_hat: Tensor, level: Tensor, header: Header) -> Samples:
    # A residual was computed from float32 pixels, and so must be the pixels that it is added to.
    exact = header.depth > 8 or header.step
    synthesis = model.networks.synthesis if exact else model.fast_synthesis
    samples = to_samples(synthesis.patches(y_hat[None], level)[0], header).cpu().numpy()
    return samples if header.depth == 8 else samples.astype(np.uint16)


def _decode_residual(
    model: LoadedModel, file: File, tile: int, box: Box, damage: Damage | None
) -> Symbols | None:
    """Return the residual of a tile with the pixels `box`.

    The result is None if the file has no residual layer, or if the colour or the residual of the
    tile is lost.
    """
    header = file.header
    if not header.residual or (damage is not None and tile in damage.tiles):
        return None
    shape = (box.height, box.width, header.channels)
    what = f"residual of tile {tile} of {len(header.tiles)}"
    try:
        payload = file.residual_payload(tile)
        return unpack_residual(model.tables, payload, shape, header.residual[tile].content_crc, what)
    except FormatError:
        if damage is None:
            raise
        damage.residual.add(tile)
        return None


def _stored_tile(file: File, tile: int, shape: tuple[int, int]) -> Samples:
    header = file.header
    what = f"tile {tile} of {len(header.tiles)}"
    crc = header.tiles[tile].content_crc
    return unpack_samples(file.payload(tile), (*shape, header.channels), header.depth, crc, what)


def _alpha_tile(file: File, tile: int, shape: tuple[int, int]) -> Samples:
    header = file.header
    what = f"alpha of tile {tile} of {len(header.tiles)}"
    crc = header.alpha[tile].content_crc
    return unpack_alpha(file.alpha_payload(tile), shape, header.depth, crc, what)[:, :, None]


def _lossless_bands(
    file: File, region: Box, unpack: Callable[[File, int, tuple[int, int]], Samples], empty: Samples,
    damaged: set[int] | None,
) -> Generator[Samples, None, None]:
    """Yield bands of samples. Tiles for which `unpack` fails are filled with `empty`.

    `unpack` is called with the file, the number of a tile and its height and width in pixels.
    """
    picture = whole(file)
    for part, row in _rows_of_tiles(file, region):
        band = np.empty((part.height, part.width, len(empty)), empty.dtype)
        for tile, latents in row:
            box = latents.scaled(PIXELS_PER_LATENT).intersection(picture)
            visible = box.intersection(part)
            try:
                samples = unpack(file, tile, (box.height, box.width))[visible.relative_to(box).slices]
            except FormatError:
                if damaged is None:
                    raise
                damaged.add(tile)
                samples = empty
            band[visible.relative_to(part).slices] = samples
        yield band
