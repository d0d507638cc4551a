"""Decoding of many pictures. Small pictures of equal size run through the networks together.

    files ─ symbols ─ latents ─ synthesis ─ pictures

Decoding has two halves, which may run in different processes: symbols in integers, on a CPU, and
the float networks, on any device.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from codec.coding.latents import TileSymbols
from codec.engine.decoding import decode_region, whole
from codec.engine.loaded_model import LoadedModel
from codec.engine.parallel import Workers, alike
from codec.engine.tile_decoding import latent_size, tile_latents, tile_symbols, to_samples
from codec.format.container import File
from codec.format.header import Header
from codec.pictures.picture import Samples

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_BATCH_PIXELS = 1 << 18
"""Pictures of equal size are decoded together up to this many pixels."""


def decode_pictures(model: LoadedModel, files: Sequence[File]) -> list[Samples]:
    """Return the pictures of files with latents.

    Plain files of one tile run through the networks together.
    """
    def run(batch: list[File]) -> list[Tensor]:
        # Both halves in one call: while a thread decodes symbols, another runs networks.
        symbols = tile_symbols(model, [(file, 0) for file in batch])
        return _paint(model, [(file.header, tile) for file, tile in zip(batch, symbols, strict=True)])

    simple = [is_plain(file.header) and len(file.header.tiles) == 1 for file in files]
    together = list(itertools.compress(files, simple))
    painted = iter(_in_batches(run, together, [latent_size(file.header, 0) for file in together]))
    return [
        next(painted).cpu().numpy() if alone else decode_region(model, file, whole(file), None)
        for file, alone in zip(files, simple, strict=True)
    ]


def is_plain(header: Header) -> bool:
    """Return whether a file has nothing but latents, of 8 bits: no alpha and no residual layer."""
    return header.depth == 8 and not (header.stored or header.alpha or header.residual)


def symbols_of(model: LoadedModel, tiles: Sequence[tuple[File, int]]) -> list[TileSymbols]:
    """Return the symbols of tiles, each given by its file and its number.

    This half of decoding is exact. It runs on the CPU, whatever the device of the model is.
    """
    sizes = [latent_size(file.header, tile) for file, tile in tiles]
    return _in_batches(functools.partial(tile_symbols, model), tiles, sizes)


def latents_of(model: LoadedModel, headers: Sequence[Header], symbols: Sequence[TileSymbols]) -> list[Tensor]:
    """Return the dequantised latents of tiles, h×w×M float32, on the device of the model.

    Each tile is given by the header of its file and its symbols. These latents are the input of the
    synthesis transform. Their scale does not depend on the quality.
    """
    @torch.no_grad()
    def run(batch: list[tuple[Header, TileSymbols]]) -> Tensor:
        levels, y_hat = tile_latents(model, batch)
        return model.networks.synthesis.dequantise(y_hat, levels)

    return _in_batches(run, list(zip(headers, symbols, strict=True)), _sizes(symbols))


def synthesise(
    model: LoadedModel, headers: Sequence[Header], symbols: Sequence[Sequence[TileSymbols]]
) -> list[Tensor]:
    """Return pictures H×W×C uint8, on the device of the model, from the symbols of plain files.

    This is the other half of decoding. `symbols` holds those of all tiles of each file. Pictures of
    one tile and of equal size run together, so that in float32 samples may differ by one level from
    those of a picture that is decoded alone.
    """
    files = list(zip(headers, symbols, strict=True))
    single = [(header, tiles[0]) for header, tiles in files if len(tiles) == 1]
    run = functools.partial(_paint, model)
    painted = iter(_in_batches(run, single, _sizes([tile for _, tile in single])))

    def large(header: Header, tiles: Sequence[TileSymbols]) -> Tensor:
        file = File(header, b"", 0)
        return torch.from_numpy(decode_region(model, file, whole(file), None, tiles)).to(model.device)

    return [next(painted) if len(tiles) == 1 else large(header, tiles) for header, tiles in files]


@torch.no_grad()
def _paint(model: LoadedModel, tiles: Sequence[tuple[Header, TileSymbols]]) -> list[Tensor]:
    """Return the pictures of plain files of one tile and of equal size."""
    levels, y_hat = tile_latents(model, tiles)
    patches = model.fast_synthesis.patches(y_hat, levels)
    return [
        to_samples(each, header)[: header.height, : header.width].contiguous()
        for each, (header, _) in zip(patches, tiles, strict=True)
    ]


def _sizes(symbols: Sequence[TileSymbols]) -> list[tuple[int, ...]]:
    return [tile.latents.shape[:2] for tile in symbols]


def _in_batches(
    run: Callable[[list[_Item]], Iterable[_Result]], items: Sequence[_Item], sizes: Sequence[tuple[int, ...]]
) -> list[_Result]:
    """Return the result for each item, in order. Items of equal size (in latents) run together."""
    found: dict[int, _Result] = {}
    batches = alike(range(len(items)), sizes.__getitem__, _BATCH_PIXELS)
    with Workers() as workers:
        results = workers.run(lambda batch: run([items[index] for index in batch]), batches)
        for batch, values in zip(batches, results, strict=True):
            found.update(zip(batch, values, strict=True))
    return [found[index] for index in range(len(items))]
