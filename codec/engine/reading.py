"""Properties of a file that need no decoding, and the region to decode. Does not import torch."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from codec.coding.stored import unpack_metadata
from codec.format import container
from codec.format.container import File
from codec.format.header import METADATA_KINDS, VERSION, Header, Source, parse_header
from codec.format.metadata import Metadata
from codec.format.readable import OpenFile, Readable, bytes_of
from codec.format.tiling import Box
from codec.limits import Limits

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    Data = Buffer | NDArray[Any] | OpenFile
else:
    Data = Any
"""The bytes of a file in any buffer, or an open file; see `codec.format.readable.bytes_of`."""

Region = Sequence[int]
"""(top, left, height, width) in pixels."""

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
    """Properties of a file, read from its header alone."""

    width: int
    height: int
    channels: int
    """1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""
    bit_depth: int
    """8, or 9…16 for samples of dtype uint16."""
    source: str | None
    """Kind of picture before conversion: "1-bit", "palette", …; None if not converted."""
    metadata: tuple[str, ...]
    """Kinds of metadata in the file, from "icc", "exif", "xmp" and "cicp"."""
    lossless: bool
    """Whether the picture was stored exactly, as flat graphics and noise are.

    Alpha is always stored exactly."""
    quality: float | None
    """0…100, as given to `compress` and rounded to the nearest of 1,025 levels; None if lossless.

    It is given to one decimal."""
    max_error: int | None
    """Maximum error of a sample of `bit_depth` bits where alpha is not 0.

    0 if lossless, None if there is no bound. With a residual layer, this package's encoder keeps to
    the bound, but a file cannot prove it. Decoding on a machine other than the writer's may add 1
    (tried on CPUs)."""
    model: str | None
    """Id of the model, twelve hexadecimal digits; None if lossless."""
    tiles: int
    tile_size: int
    """Side of a tile in pixels."""
    bytes: int
    """Size of the whole file, as its header states it."""
    header_bytes: int
    format_version: int

    @property
    def quality_limit(self) -> str | None:
        """"lowest" at quality 0, "highest" at 100, otherwise None.

        A target may have required a quality beyond this limit.
        """
        return {0.0: "lowest", 100.0: "highest"}.get(-1.0 if self.quality is None else self.quality)

    @property
    def bits_per_pixel(self) -> float:
        """Size of the file in bits, divided by the number of pixels of the picture."""
        return 8 * self.bytes / (self.width * self.height)


def inspect(data: Data) -> Info:
    """Return the properties of a file, read from its header.

    Only the bytes of the header are needed, neither torch nor the model. Payloads are not checked;
    see `verify`. Raises `FormatError` or a subclass, or `LimitExceeded`.
    """
    return info_of(*parse_header(as_bytes(data)))


def info_of(header: Header, header_bytes: int) -> Info:
    """Return the properties that a header of `header_bytes` bytes states."""
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
    """Check that a file is complete and undamaged.

    The header and every payload are checked against their CRC-32. Returns nothing and raises the
    errors of `decompress`. Nothing is decoded, and the model that the file needs may be missing.
    """
    container.read(as_bytes(data)).check_payloads()


def read_metadata(data: Data) -> Metadata:
    """Return the ICC profile, EXIF, XMP and CICP of a file.

    Raises the errors of `decompress`. Pixels are not read.
    """
    return unpack_metadata(container.read(as_bytes(data), complete=False))


def open_part(data: Any, region: Region | None, on_error: OnError, limits: Limits) -> tuple[File, Box]:
    """Return the file and the requested region, after checking them against the limits."""
    if on_error not in ("raise", "conceal"):
        raise ValueError(f"on_error must be 'raise' or 'conceal', not {on_error!r}")
    file = container.read(as_bytes(data), complete=on_error == "raise")
    part = check_region(region, file.header.height, file.header.width)
    limits.check(part.height, part.width)
    if not file.header.stored:
        side = file.header.tile_size
        limits.check_tile(min(side, file.header.height), min(side, file.header.width))
        # The latents of the tiles of a row and of both its neighbours are held at the same time.
        columns = -(-part.right // side) - part.left // side
        limits.check_rows(min(3 * side, file.header.height), min(columns * side, file.header.width))
    if region is None and on_error == "raise":  # report damage before minutes of decoding
        file.check_payloads()
    return file, part


def check_region(region: Region | None, height: int, width: int) -> Box:
    """Return the box of a region, or of the whole picture if `region` is None.

    Raises `TypeError` unless the region is four integers, and `ValueError` unless it is within the
    picture.
    """
    if region is None:
        return Box(0, 0, height, width)
    try:
        top, left, rows, columns = (operator.index(value) for value in region)
    except (TypeError, ValueError):
        raise TypeError(f"region must be four integers (top, left, height, width), not {region!r}") from None
    if min(top, left) < 0 or min(rows, columns) < 1 or top + rows > height or left + columns > width:
        raise ValueError(f"region {rows}×{columns} at ({top}, {left}) is not within {height}×{width} pixels")
    return Box(top, left, top + rows, left + columns)


def as_bytes(data: Any) -> Readable:
    """Return the bytes, or the open file, that a caller passed."""
    return data if isinstance(data, OpenFile) else bytes_of(data)
