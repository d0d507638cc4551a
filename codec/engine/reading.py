"""What a file says without being decoded, and which part of it is asked for; no torch."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import Any, Literal

from codec.coding.stored import unpack_metadata
from codec.format import container
from codec.format.container import File
from codec.format.header import METADATA_KINDS, VERSION, Header, Source, parse_header
from codec.format.metadata import Metadata
from codec.format.readable import OpenFile, Readable
from codec.format.tiling import Box
from codec.limits import Limits

Data = bytes | bytearray | memoryview | OpenFile
"""The bytes of a file, or a file that is open."""

Region = Sequence[int]
"""top, left, height, width, in pixels."""

OnError = Literal["raise", "conceal"]


_SOURCES = {
    Source.NONE: None,
    Source.ONE_BIT: "1-bit",
    Source.PALETTE: "palette",
    Source.TRANSPARENT_PALETTE: "palette with transparency",
    Source.TRANSPARENT_COLOUR: "transparent colour",
}


@dataclasses.dataclass(frozen=True)
class Info:
    """What a file says about itself, from its header alone."""

    width: int
    height: int
    channels: int
    """1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""
    bit_depth: int
    """8, or 9…16 for samples that come as uint16."""
    source: str | None
    """What the picture was converted from: "1-bit", "palette", …; None if it was not."""
    metadata: tuple[str, ...]
    """Of "icc", "exif" and "xmp" those that the file holds."""
    lossless: bool
    """Whether the picture was stored exactly: flat graphics and noise are. Alpha always is."""
    quality: float | None
    """0…100 as given to `compress`, to the nearest 1/10.24; None if lossless."""
    max_error: int | None
    """Most that a sample of `bit_depth` bits is off by, where alpha is not 0: 0 if lossless, None if nothing
    is promised. With a residual layer that is what this package's encoder keeps to, which a file cannot
    prove, and another machine than the writer's may add 1 (tried on CPUs)."""
    model: str | None
    """Id of the model, twelve hexadecimal digits; None if lossless."""
    tiles: int
    tile_size: int
    """Pixels along a tile."""
    bytes: int
    """Size of the whole file, as its header states it."""
    header_bytes: int
    format_version: int

    @property
    def quality_limit(self) -> str | None:
        """"lowest" at quality 0 and "highest" at 100, where a target may have wanted to go further."""
        return {0.0: "lowest", 100.0: "highest"}.get(-1.0 if self.quality is None else self.quality)

    @property
    def bits_per_pixel(self) -> float:
        """Size of the file in bits, over the pixels of the picture."""
        return 8 * self.bytes / (self.width * self.height)


def inspect(data: Data) -> Info:
    """What a file's header says; needs only the header's bytes, neither torch nor the model.

    Raises `FormatError` or a subclass, or `LimitExceeded`. Payloads are not looked at: see `verify`.
    """
    header, size = parse_header(as_bytes(data))
    return info_of(header, size)


def info_of(header: Header, header_bytes: int) -> Info:
    """What a header that takes so many bytes says."""
    return Info(
        width=header.width,
        height=header.height,
        channels=header.samples,
        bit_depth=header.depth,
        source=_SOURCES[header.source],
        metadata=tuple(METADATA_KINDS[section.kind] for section in header.metadata),
        lossless=header.stored,
        quality=None if header.stored else round(header.quality, 1),
        max_error=0 if header.stored else header.step // 2 if header.residual else None,
        model=None if header.stored else header.model_id.hex(),
        tiles=len(header.tiles),
        tile_size=header.tile_size,
        bytes=File(header, b"", header_bytes).end,
        header_bytes=header_bytes,
        format_version=VERSION,
    )


def verify(data: Data) -> None:
    """Check that a file is complete and undamaged: header and every payload against its CRC-32.

    Returns nothing; raises as `decompress` does. Nothing is decoded, and the model that the file
    needs may be missing.
    """
    container.read(as_bytes(data)).check_payloads()


def read_metadata(data: Data) -> Metadata:
    """The ICC profile, EXIF and XMP in a file; raises as `decompress` does. Pixels are not looked at."""
    return unpack_metadata(container.read(as_bytes(data), complete=False))


def open_part(data: Any, region: Region | None, on_error: OnError, limits: Limits) -> tuple[File, Box]:
    """The file, and the region that is asked for, which is within the limits."""
    if on_error not in ("raise", "conceal"):
        raise ValueError(f"on_error must be 'raise' or 'conceal', not {on_error!r}")
    file = container.read(as_bytes(data), complete=on_error == "raise")
    part = check_region(region, file.header.height, file.header.width)
    limits.check(part.height, part.width)
    if not file.header.stored:
        side = file.header.tile_size
        limits.check_tile(min(side, file.header.height), min(side, file.header.width))
    if region is None and on_error == "raise":  # damage shows before minutes of decoding
        file.check_payloads()
    return file, part


def check_region(region: Region | None, height: int, width: int) -> Box:
    """The pixels of a region; `TypeError` or `ValueError` if it does not lie within the picture."""
    if region is None:
        return Box(0, 0, height, width)
    try:
        top, left, rows, columns = (operator.index(value) for value in region)
    except (TypeError, ValueError):
        raise TypeError(f"region must be four integers, top, left, height, width, not {region!r}") from None
    if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
        raise ValueError(f"region {rows}×{columns} at ({top}, {left}) is not within {height}×{width} pixels")
    return Box(top, left, top + rows, left + columns)


def as_bytes(data: Any) -> Readable:
    """The bytes, or the open file, that a caller gave."""
    if isinstance(data, OpenFile):
        return data
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"data must be bytes, not {type(data).__name__}")
    return memoryview(data).cast("B")
