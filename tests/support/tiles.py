"""Write files with small tiles, read their headers and payloads, and compare what they hold."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

import codec
from codec.coding.latents import decode_symbols
from codec.engine.encoding import encode_pictures
from codec.format import container, tiling
from codec.format.header import Header
from codec.pictures.picture import to_picture


def encode(worker: codec.Codec, image: Any, level: int, tile_size: int = 64, **options: Any) -> bytes:
    """Return a file of `image` at a quality level, with tiles of `tile_size` pixels."""
    image = image[:, :, 0] if image.shape[2:] == (1,) else image
    return encode_pictures(worker._loaded, [to_picture(image)], level, tile_size, **options)[0]


def unpack(data: bytes) -> tuple[Header, list[bytes | memoryview]]:
    """Return the header and the payload of every tile."""
    file = container.read(data)
    return file.header, [file.payload(tile) for tile in range(len(file.header.tiles))]


def symbols_digest(worker: codec.Codec, *files: bytes) -> list[str]:
    """Return the SHA-256 of the symbols of each of these files with latents.

    The files have the same size. The same tile of all files is decoded as one batch. Symbols count
    tile by tile, as little-endian int32.
    """
    parsed = [unpack(data) for data in files]
    header = parsed[0][0]
    model = worker.model_for(header.model_id)
    digests = [hashlib.sha256() for _ in files]
    for tile, box in enumerate(tiling.tiles(header.height, header.width, header.tile_size)):
        found = decode_symbols(
            model.networks.scale_model, model.tables, [payloads[tile] for _, payloads in parsed],
            [each.tiles[tile].content_crc for each, _ in parsed], [each.level for each, _ in parsed],
            (box.height, box.width),
        )
        for digest, symbols in zip(digests, found, strict=True):
            digest.update(symbols.hyper.astype("<i4").tobytes() + symbols.latents.astype("<i4").tobytes())
    return [digest.hexdigest() for digest in digests]


def within_one_level(one: Any, other: Any) -> bool:
    """Return whether two arrays of samples have the same shape and differ by at most 1."""
    return bool(one.shape == other.shape and np.abs(one.astype(int) - other).max() <= 1)
