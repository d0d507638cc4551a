"""Decoding of tiles with latents: payloads to symbols, latents and samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from codec.coding.latents import TileSymbols, decode_symbols, reconstruct
from codec.engine.loaded_model import LoadedModel
from codec.errors import FormatError
from codec.format import tiling
from codec.format.container import File
from codec.format.header import Header
from codec.model.layers import depth_to_space
from codec.model.transforms import PATCH


def latent_size(header: Header, tile: int) -> tuple[int, int]:
    """Return the rows and columns of latents of a tile."""
    box = tiling.tile_box(tile, header.height, header.width, header.tile_size)
    return box.height, box.width


def tile_symbols(model: LoadedModel, tiles: Sequence[tuple[File, int]]) -> list[TileSymbols]:
    """Return the symbols of tiles of equal size. Each is given by its file and its number."""
    headers = [file.header for file, _ in tiles]
    try:
        return decode_symbols(
            model.networks.scale_model,
            model.tables,
            [file.payload(tile) for file, tile in tiles],
            [file.header.tiles[tile].content_crc for file, tile in tiles],
            [header.level for header in headers],
            latent_size(headers[0], tiles[0][1]),
        )
    except FormatError as error:
        if len(tiles) > 1:  # decode one by one, so that the error names the tile
            return [tile_symbols(model, [tile])[0] for tile in tiles]
        raise type(error)(f"tile {tiles[0][1]} of {len(headers[0].tiles)}: {error}") from None


def tile_latents(model: LoadedModel, tiles: Sequence[tuple[Header, TileSymbols]]) -> tuple[Tensor, Tensor]:
    """Return the quality levels and y_hat, N×h×w×M float32, on the device of the model.

    Each of the N tiles is given by the header of its file and its symbols.
    """
    hyper, latents = (
        torch.from_numpy(np.stack(arrays)).to(model.device).float()
        for arrays in ([tile.hyper for _, tile in tiles], [tile.latents for _, tile in tiles])
    )
    levels = torch.tensor([header.level for header, _ in tiles], device=model.device)
    return levels, reconstruct(model.networks.mean_model, hyper, latents, levels)


def to_samples(patches: Tensor, header: Header) -> Tensor:
    """Convert patches h×w×192 in [0,1] to samples 8h×8w×C: uint8, or int32 for more than 8 bits."""
    full = (1 << header.depth) - 1
    # The latents of a hostile file can overflow. The result must still be a picture.
    x = patches.mul(full).clamp_(0, full).nan_to_num_()
    if header.channels == 1:
        x = x.unflatten(-1, (-1, 3)).mean(-1)
    samples = x.round_().to(torch.uint8 if header.depth == 8 else torch.int32)
    return depth_to_space(samples[None], PATCH)[0]
