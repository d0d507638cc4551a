"""Conversion of picture files to `.cae` files and back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from codec.api import Codec, compress, shared_codec
from codec.coding.stored import unpack_metadata
from codec.engine.reading import Data, Region, as_bytes, open_part
from codec.engine.running import memory_named
from codec.format import container
from codec.format.metadata import Metadata
from codec.format.readable import open_bytes
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.pictures.atomic import write_atomically
from codec.pictures.reading import read_image
from codec.pictures.writing import check_suffix, image_chunks


def encode(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    bit_depth: int | None = None,
    strip: bool = False,
    metadata: Metadata | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> None:
    """Compress a picture file into a `.cae` file.

    The ICC profile, EXIF and XMP of the source are kept, unless `strip` is set or other `metadata`
    is given.

    Any format that Pillow reads is accepted. The picture is turned upright according to its EXIF.
    16-bit colour in PNG, TIFF, JPEG 2000 and AVIF needs codec[deep]. Files in .npy, .ppm and .pgm
    format are read a few rows at a time, whatever their size.

    Other `options` are those of `compress`. `dst` is replaced completely or left unchanged.

    Raises the errors of `compress`, and `OSError` if a file cannot be opened or written.
    `InvalidImage` is also raised for a file that cannot be read as a picture. Warns with `NotKept`
    if the file contains more than one picture; only the first is compressed.
    """
    picture, found = read_image(src, limits, bit_depth)
    if metadata is None and not strip:
        metadata = found
    write_atomically(dst, compress(picture, metadata=metadata, limits=limits, **options))


def decode(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    *,
    region: Region | None = None,
    strip: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    device: str | None = None,
) -> None:
    """Decompress a `.cae` file into a picture file. The extension of `dst` selects its format.

    Metadata is kept unless `strip` is set. Metadata that the format cannot hold causes the warning
    `NotKept`. Files in .npy, .ppm and .pgm format are written row by row, with memory use that does
    not grow with their height.

    `dst` is replaced completely or left unchanged. Raises the errors of `decompress`, `ValueError`
    for an extension or samples that cannot be written, and `OSError` if a file cannot be opened or
    written.
    """
    check_suffix(Path(dst).suffix)
    with open_bytes(src) as data:
        chunks = decode_to_chunks(
            data, Path(dst).suffix, lambda: shared_codec(None, device), region=region, strip=strip,
            limits=limits,
        )
        with contextlib.closing(chunks):  # an error in writing stops the decoding at once
            write_atomically(dst, chunks)


def decode_to_chunks(
    data: Data, suffix: str, worker: Callable[[], Codec], *, region: Region | None, strip: bool,
    limits: Limits,
) -> Generator[bytes, None, None]:
    """Yield a picture file in pieces. `worker` is called only if the file needs a model."""
    from codec.engine.decoding import decode_bands

    file, part = open_part(data, region, "raise", limits)
    header = file.header
    metadata = Metadata() if strip else unpack_metadata(file)
    shape = (part.height, part.width, header.samples)
    codec = None if header.stored else worker()
    with memory_named():
        bands = decode_bands(None, file, part, None) if codec is None else codec.one_at_a_time(file, part)
        with contextlib.closing(bands):
            yield from image_chunks(bands, shape, header.depth, suffix, metadata)


def metadata_left(data: Data) -> tuple[Metadata, list[str]]:
    """Return the metadata of a possibly damaged file, and the kinds that are lost.

    The kinds are icc, exif and xmp.
    """
    lost: list[str] = []
    return unpack_metadata(container.read(as_bytes(data), complete=False), lost), lost
