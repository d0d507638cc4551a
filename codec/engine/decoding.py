"""Decoding of files to pixels, one row of tiles after another.

Memory use does not grow with the height of the picture.

    payloads ─ latents of tiles ─ windows ─ synthesis (+ residual) ─┬─ bands of pixels
               stored tiles, alpha ─────────────────────────────────┘

The pixels of a tile depend only on the latents of its window. Every window runs through the
synthesis transform alone, on one thread. A region therefore has the same pixels as the whole
picture.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.coding.latents import decode_latents
from codec.coding.residual import add_residual, unpack_residual
from codec.coding.stored import unpack_alpha, unpack_samples
from codec.engine.loaded_model import LoadedModel
from codec.engine.parallel import Workers
from codec.entropy_coder import Symbols
from codec.errors import FormatError
from codec.format import tiling
from codec.format.container import File
from codec.format.header import Header
from codec.format.tiling import Box
from codec.model.config import PIXELS_PER_LATENT
from codec.pictures.picture import Samples

_BATCH_PIXELS = 1 << 20
"""Tiles of equal size are entropy-decoded together up to this many pixels."""


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


def decode_pictures(model: LoadedModel, files: Sequence[File]) -> list[Samples]:
    """Return the pictures of files with latents. Simple files run through the networks together."""
    together = [file for file in files if is_simple(file)]
    latents = latents_of(model, together)
    painted = synthesise(model, [file.header for file in together], latents)
    found = {id(file): colour.cpu().numpy() for file, colour in zip(together, painted, strict=True)}
    return [found[id(file)] if id(file) in found else _decode_whole(model, file) for file in files]


def _decode_whole(model: LoadedModel, file: File) -> Samples:
    return join(file, whole(file), decode_bands(model, file, whole(file), None))


def is_simple(file: File) -> bool:
    """Return whether a file is simple: the latents of one tile, 8 bits, no alpha, no residual."""
    header = file.header
    more = header.stored or header.alpha or header.residual
    return header.depth == 8 and len(header.tiles) == 1 and not more


def latents_of(model: LoadedModel, files: Sequence[File]) -> list[Tensor]:
    """Return y_hat, h×w×M float32, of each of these simple files.

    This half of decoding is exact.
    """
    with Workers() as workers:
        found = _decode_tiles(model, files, [(index, 0) for index in range(len(files))], None, workers)
    return [found[index, 0] for index in range(len(files))]


def synthesise(model: LoadedModel, headers: Sequence[Header], latents: Sequence[Tensor]) -> list[Tensor]:
    """Return pictures H×W×C uint8, on the device of the model, from the latents of simple files.

    This is the other half of decoding. Latents of equal size run together, so that samples may
    differ by one level from those of a picture that is decoded alone.
    """
    groups: dict[torch.Size, list[int]] = defaultdict(list)
    for index, values in enumerate(latents):
        groups[values.shape].append(index)
    batches = []
    for (height, width, _), members in groups.items():
        count = max(1, _BATCH_PIXELS // (height * width * PIXELS_PER_LATENT**2))
        batches += [members[start : start + count] for start in range(0, len(members), count)]

    @torch.no_grad()
    def run(batch: list[int]) -> Tensor:
        levels = torch.tensor([headers[index].level for index in batch], device=model.device)
        y_hat = torch.stack([latents[index] for index in batch]).to(model.device)
        return model.networks.synthesis(y_hat, levels)  # type: ignore[no-any-return]

    pictures: dict[int, Tensor] = {}
    with Workers() as workers:
        for batch, x_hat in zip(batches, workers.run(run, batches), strict=True):
            for index, picture in zip(batch, x_hat, strict=True):
                header = headers[index]
                pictures[index] = _to_samples(picture[: header.height, : header.width], header)
    return [pictures[index] for index in range(len(latents))]


def decode_bands(
    model: LoadedModel | None, file: File, region: Box, damage: Damage | None
) -> Generator[Samples, None, None]:
    """Yield the rows of `region`, H×W×C with alpha, as one band for every row of tiles.

    Damaged tiles are added to `damage`; if it is None, they raise an error. A file with latents
    needs `model`, the model with which it was written.
    """
    if file.header.stored:
        colour = _stored_bands(file, region, damage)
    else:
        assert model is not None
        colour = _latent_bands(model, file, region, damage)
    with contextlib.closing(colour):
        if not file.header.alpha:
            yield from colour
            return
        for band, alpha in zip(colour, _alpha_bands(file, region, damage), strict=True):
            yield np.concatenate([band, alpha], -1)


def whole(file: File) -> Box:
    """Return the box of all pixels of a file."""
    return Box(0, 0, file.header.height, file.header.width)


def join(file: File, region: Box, bands: Iterable[Samples]) -> Samples:
    """Return the bands of `region` as one array."""
    picture = np.empty((region.height, region.width, file.header.samples), _dtype(file))
    row = 0
    for band in bands:
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
    model: LoadedModel, file: File, region: Box, damage: Damage | None
) -> Generator[Samples, None, None]:
    header = file.header
    size = (header.height, header.width)
    boxes = tiling.tiles(*size, header.tile_size)
    level = torch.tensor([header.level], device=model.device)
    channels = model.networks.config.latents
    latents: dict[int, Tensor] = {}
    with Workers() as workers:
        for part, row in _rows_of_tiles(file, region):
            windows = [tiling.window(box, model.halo, *size) for _, box in row]
            needed = {
                tile for window in windows for tile in tiling.tiles_within(window, *size, header.tile_size)
            }
            latents = {tile: values for tile, values in latents.items() if tile in needed}
            missing = [(0, tile) for tile in sorted(needed - latents.keys())]
            for (_, tile), values in _decode_tiles(model, [file], missing, damage, workers).items():
                latents[tile] = values
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

            tiles = [(tile, box, window) for (tile, box), window in zip(row, windows, strict=True)]
            # Each tile runs on one thread, even if it is the only one of its row: sums of floats
            # depend on how they are split among threads.
            for _ in workers.run(paint, tiles, alone=len(boxes) > 1):
                pass
            yield band


def _decode_tiles(
    model: LoadedModel, files: Sequence[File], wanted: Sequence[tuple[int, int]], damage: Damage | None,
    workers: Workers,
) -> dict[tuple[int, int], Tensor]:
    """Return y_hat, h×w×M float32, of every wanted (file, tile)."""
    found: dict[tuple[int, int], Tensor] = {}
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for index, tile in wanted:
        header = files[index].header
        box = tiling.tile_box(tile, header.height, header.width, header.tile_size)
        groups[box.height, box.width].append((index, tile))
    jobs = []
    for size, members in groups.items():
        count = max(1, _BATCH_PIXELS // (size[0] * size[1] * PIXELS_PER_LATENT**2))
        jobs += [(size, members[start : start + count]) for start in range(0, len(members), count)]

    def decode(job: tuple[tuple[int, int], list[tuple[int, int]]]) -> list[Tensor]:
        size, batch = job
        try:
            return _decode_batch(model, files, batch, size)
        except FormatError:
            # Decode one by one, so that the error names the tile and the other tiles are kept.
            return [_decode_alone(model, files[index], tile, size, damage) for index, tile in batch]

    for (_, batch), decoded in zip(jobs, workers.run(decode, jobs), strict=True):
        found.update(zip(batch, decoded, strict=True))
    return found


def _decode_alone(
    model: LoadedModel, file: File, tile: int, size: tuple[int, int], damage: Damage | None
) -> Tensor:
    try:
        return _decode_batch(model, [file], [(0, tile)], size)[0]
    except FormatError:
        if damage is None:
            raise
        damage.tiles.add(tile)
        channels = model.networks.config.latents
        return torch.zeros(*size, channels, dtype=torch.float32, device=model.device)


def _decode_batch(
    model: LoadedModel, files: Sequence[File], batch: Sequence[tuple[int, int]], size: tuple[int, int]
) -> list[Tensor]:
    payloads = [files[index].payload(tile) for index, tile in batch]
    try:
        y_hat, _ = decode_latents(
            model.networks,
            model.tables,
            payloads,
            [files[index].header.tiles[tile].content_crc for index, tile in batch],
            torch.tensor([files[index].header.level for index, _ in batch], device=model.device),
            size,
        )
    except FormatError as error:
        index, tile = batch[0]  # the only tile, or all tiles are decoded again one by one
        raise type(error)(f"tile {tile} of {len(files[index].header.tiles)}: {error}") from None
    return [values.float() for values in y_hat]  # copies: views would keep each other in memory


@torch.no_grad()
def _synthesise(model: LoadedModel, y_hat: Tensor, level: Tensor, header: Header) -> Samples:
    samples = _to_samples(model.networks.synthesis(y_hat[None], level)[0], header).cpu().numpy()
    return samples if header.depth == 8 else samples.astype(np.uint16)


def _to_samples(x_hat: Tensor, header: Header) -> Tensor:
    """Convert H×W×3 in [0,1] to H×W×C: uint8, or int32 for more than 8 bits."""
    # The latents of a hostile file can overflow. The result must still be a picture.
    x_hat = torch.nan_to_num(x_hat).clamp(0, 1) * ((1 << header.depth) - 1)
    if header.channels == 1:
        x_hat = x_hat.mean(-1, keepdim=True)
    return x_hat.round().to(torch.uint8 if header.depth == 8 else torch.int32)


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


def _stored_bands(
    file: File, region: Box, damage: Damage | None
) -> Generator[Samples, None, None]:
    header = file.header

    def unpack(tile: int, shape: tuple[int, int]) -> Samples:
        what = f"tile {tile} of {len(header.tiles)}"
        crc = header.tiles[tile].content_crc
        return unpack_samples(file.payload(tile), (*shape, header.channels), header.depth, crc, what)

    empty = np.zeros(header.channels, _dtype(file))
    return _lossless_bands(file, region, unpack, empty, None if damage is None else damage.tiles)


def _alpha_bands(file: File, region: Box, damage: Damage | None) -> Iterator[Samples]:
    header = file.header

    def unpack(tile: int, shape: tuple[int, int]) -> Samples:
        what = f"alpha of tile {tile} of {len(header.tiles)}"
        crc = header.alpha[tile].content_crc
        return unpack_alpha(file.alpha_payload(tile), shape, header.depth, crc, what)[:, :, None]

    # Where alpha is lost, the colour is visible.
    opaque = np.full(1, (1 << header.depth) - 1, _dtype(file))
    return _lossless_bands(file, region, unpack, opaque, None if damage is None else damage.alpha)


def _lossless_bands(
    file: File, region: Box, unpack: Callable[[int, tuple[int, int]], Samples], empty: Samples,
    damaged: set[int] | None,
) -> Generator[Samples, None, None]:
    """Yield bands of samples. Tiles for which `unpack` fails are filled with `empty`.

    `unpack` is called with the number of a tile and its height and width in pixels.
    """
    picture = whole(file)
    for part, row in _rows_of_tiles(file, region):
        band = np.empty((part.height, part.width, len(empty)), empty.dtype)
        for tile, latents in row:
            box = latents.scaled(PIXELS_PER_LATENT).intersection(picture)
            visible = box.intersection(part)
            where = visible.relative_to(part).slices
            try:
                samples = unpack(tile, (box.height, box.width))
            except FormatError:
                if damaged is None:
                    raise
                damaged.add(tile)
                band[where] = empty
            else:
                band[where] = samples[visible.relative_to(box).slices]
        yield band
