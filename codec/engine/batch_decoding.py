"""Decoding of many pictures. Small pictures of equal size run through the networks together.

    files ─ symbols ─ latents ─ synthesis ─ pictures

Decoding has two halves, which may run in different processes: symbols in integers, on a CPU, and
the float networks, on any device.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from codec.coding.latents import TileSymbols
from codec.engine.decoding import decode_bands, join, whole
from codec.engine.loaded_model import LoadedModel
from codec.engine.parallel import Workers
from codec.engine.tile_decoding import latent_size, tile_latents, tile_symbols, to_samples
from codec.format.container import File
from codec.format.header import Header
from codec.model.config import PIXELS_PER_LATENT
from codec.pictures.picture import Samples

_T = TypeVar("_T")

_BATCH_PIXELS = 1 << 18
"""Pictures of equal size are decoded together up to this many pixels."""


def decode_pictures(model: LoadedModel, files: Sequence[File]) -> list[Samples]:
    """Return the pictures of files with latents. Simple files run through the networks together."""
    together = [file for file in files if is_simple(file)]

    def run(batch: list[int]) -> list[Tensor]:
        # Both halves in one call: while a thread decodes symbols, another runs networks.
        some = [together[index] for index in batch]
        symbols = tile_symbols(model, [(file, 0) for file in some])
        return _paint(model, [file.header for file in some], symbols)

    painted = _in_batches(run, [latent_size(file.header, 0) for file in together])
    found = {id(file): colour.cpu().numpy() for file, colour in zip(together, painted, strict=True)}
    return [found[id(file)] if id(file) in found else _decode_whole(model, file) for file in files]


def _decode_whole(model: LoadedModel, file: File) -> Samples:
    return join(file, whole(file), decode_bands(model, file, whole(file), None))


def is_simple(file: File) -> bool:
    """Return whether a file is simple: the latents of one tile, 8 bits, no alpha, no residual."""
    header = file.header
    more = header.stored or header.alpha or header.residual
    return header.depth == 8 and len(header.tiles) == 1 and not more


def symbols_of(model: LoadedModel, tiles: Sequence[tuple[File, int]]) -> list[TileSymbols]:
    """Return the symbols of tiles, each given by its file and its number.

    This half of decoding is exact. It runs on the CPU, whatever the device of the model is.
    """
    def run(batch: list[int]) -> list[TileSymbols]:
        return tile_symbols(model, [tiles[index] for index in batch])

    return _in_batches(run, [latent_size(file.header, tile) for file, tile in tiles])


def latents_of(
    model: LoadedModel, headers: Sequence[Header], symbols: Sequence[TileSymbols]
) -> list[Tensor]:
    """Return the dequantised latents of tiles, h×w×M float32, on the device of the model.

    Each tile is given by the header of its file and its symbols. These latents are the input of the
    synthesis transform. Their scale does not depend on the quality.
    """
    @torch.no_grad()
    def run(batch: list[int]) -> Tensor:
        levels, y_hat = tile_latents(model, [headers[i].level for i in batch], [symbols[i] for i in batch])
        return model.networks.synthesis.dequantise(y_hat, levels)

    return _in_batches(run, [_size(tile) for tile in symbols])


def synthesise(
    model: LoadedModel, headers: Sequence[Header], symbols: Sequence[TileSymbols]
) -> list[Tensor]:
    """Return pictures H×W×C uint8, on the device of the model, from the symbols of simple files.

    This is the other half of decoding. Pictures of equal size run together, so that in float32
    samples may differ by one level from those of a picture that is decoded alone.
    """
    def run(batch: list[int]) -> list[Tensor]:
        return _paint(model, [headers[index] for index in batch], [symbols[index] for index in batch])

    return _in_batches(run, [_size(tile) for tile in symbols])


@torch.no_grad()
def _paint(model: LoadedModel, headers: Sequence[Header], symbols: Sequence[TileSymbols]) -> list[Tensor]:
    """Return the pictures of simple files of equal size."""
    levels, y_hat = tile_latents(model, [header.level for header in headers], symbols)
    patches = model.fast_synthesis.patches(y_hat, levels)
    return [
        to_samples(each, header)[: header.height, : header.width].contiguous()
        for each, header in zip(patches, headers, strict=True)
    ]


def _size(tile: TileSymbols) -> tuple[int, int]:
    return tile.latents.shape[0], tile.latents.shape[1]


def _in_batches(
    run: Callable[[list[int]], Iterable[_T]], sizes: Sequence[tuple[int, int]]
) -> list[_T]:
    """Return the result for each item, in order. Items of equal size (in latents) run together."""
    found: dict[int, _T] = {}
    batches = _alike(sizes)
    with Workers() as workers:
        for batch, values in zip(batches, workers.run(run, batches), strict=True):
            found.update(zip(batch, values, strict=True))
    return [found[index] for index in range(len(sizes))]


def _alike(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return batches of the positions of equal sizes (in latents), of limited area."""
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, size in enumerate(sizes):
        groups[size].append(index)
    batches = []
    for (height, width), members in groups.items():
        count = max(1, _BATCH_PIXELS // (height * width * PIXELS_PER_LATENT**2))
        batches += [members[start : start + count] for start in range(0, len(members), count)]
    return batches
