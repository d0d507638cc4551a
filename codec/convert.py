"""Conversion of picture files to `.cae` files and back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from codec.api import Codec, compress, shared_codec
from codec.coding.stored import unpack_metadata
from codec.engine.reading import Data, Region, as_bytes, open_part
from codec.engine.running import memory_named
from codec.engine.worker import check_precision
from codec.format import container
from codec.format.metadata import Metadata
from codec.limits import DEFAULT as DEFAULT_LIMITS
from codec.limits import Limits
from codec.pictures.reading import read_image
from codec.pictures.streams import (
    Destination,
    Source,
    check_destination,
    open_data,
    open_readable,
    suffix_of,
    write_to,
)
from codec.pictures.writing import check_suffix, image_chunks

if TYPE_CHECKING:
    from codec.model.runtime import Precision


def encode(
    src: Source,
    dst: Destination,
    *,
    bit_depth: int | None = None,
    bands: Sequence[int] | None = None,
    strip: bool = False,
    metadata: Metadata | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> None:
    """Compress a picture file into a `.cae` file.

    The ICC profile, EXIF, XMP and CICP of the source are kept, unless `strip` is set or other
    `metadata` is given.

    `src` may be a path, a binary file object (also one that cannot seek), the content of a file in
    any buffer (bytes, memoryview, mmap, …) or a URL such as s3://bucket/key. `dst` may be a path, a
    binary file object or a URL. URLs need fsspec. File objects are used from their position on and
    are not closed. Bytes are the content of a file as a source, and a path as a destination.

    Any format that Pillow reads is accepted. The picture is turned upright according to its EXIF.
    16-bit colour in PNG, TIFF, JPEG 2000 and AVIF needs codec[deep]. Files in .npy, .ppm and .pgm
    format are read a few rows at a time, whatever their size.

    `bands` selects bands of a picture that has more than the codec takes, counted from 1: one band,
    three, or two or four with alpha. Other `options` are those of `compress`. A local `dst` is
    replaced completely or left unchanged, and others are written to when the result is complete.

    Raises the errors of `compress`, `OSError` if a file cannot be opened or written, and
    `MissingExtra` for a URL whose library is not installed. `InvalidImage` is also raised for a
    file that cannot be read as a picture. Warns with `NotKept` if part of the file is not kept.
    """
    check_destination(dst)
    strip = strip or metadata is not None
    with open_readable(src) as source:
        picture, found = read_image(source, limits, bit_depth, bands, strip)
        data = compress(picture, metadata=found if metadata is None else metadata, limits=limits, **options)
    write_to(dst, data)


def decode(
    src: Source,
    dst: Destination,
    *,
    format: str | None = None,
    region: Region | None = None,
    strip: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    device: str | None = None,
    precision: Precision | None = None,
) -> None:
    """Decompress a `.cae` file into a picture file.

    `src` and `dst` are those of `encode`. The extension of `dst` selects the format of the picture,
    unless `format` is given: an extension such as "png". A `dst` without a name needs it. `region`,
    `limits`, `device` and `precision` are those of `decompress`.

    Metadata is kept unless `strip` is set. Metadata that the format cannot hold causes the warning
    `NotKept`. Files in .npy, .ppm and .pgm format are written row by row, with memory use that does
    not grow with their height. From a source that can seek, only the parts that `region` needs are
    read.

    A local `dst` is replaced completely or left unchanged, and others are written to when the
    result is complete. Raises the errors of `decompress`, `ValueError` for an extension or samples
    that cannot be written, and `OSError` or `MissingExtra` as `encode` does.
    """
    check_destination(dst)
    check_precision(precision)
    if format is None:
        suffix = suffix_of(dst)
        if not suffix:
            raise ValueError("the destination has no extension: choose its format, as with format='png'")
    elif isinstance(format, str):
        suffix = "." + format.removeprefix(".")
    else:
        raise TypeError(f"format must be an extension such as 'png', not {type(format).__name__}")
    check_suffix(suffix)
    with open_data(src) as data:
        chunks = decode_to_chunks(
            data, suffix, lambda: shared_codec(None, device, precision), region=region, strip=strip,
            limits=limits,
        )
        with contextlib.closing(chunks):  # an error in writing stops the decoding at once
            write_to(dst, chunks)


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

    The kinds are icc, exif, xmp and cicp.
    """
    lost: list[str] = []
    return unpack_metadata(container.read(as_bytes(data), complete=False), lost), lost
