"""Write files with small tiles, and read their headers and payloads."""

from __future__ import annotations

from typing import Any

import codec
from codec.engine.encoding import encode_pictures
from codec.format import container
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
