"""The header of a file. The normative text is FORMAT.md.

The parser never allocates more than the input can fill. It checks every count against a limit and
against the number of bytes left.
"""

from __future__ import annotations

import dataclasses
import enum
import zlib

from codec import limits
from codec.errors import ChecksumMismatch, FormatError, LimitExceeded, Truncated, UnsupportedVersion
from codec.format import tiling
from codec.format.fields import Reader, write_varint
from codec.format.index import Tile, read_index, write_index
from codec.format.readable import Readable

SIGNATURE = b"\x89CAE\r\n\x1a\n"
VERSION = 2
MODEL_ID_BYTES = 6
MAX_LEVEL = 1024
TILE_UNIT = 64
"""Tile sides are stored in units of this many pixels."""

_RGB, _STORED, _ALPHA, _DEEP, _METADATA, _CONVERTED, _RESIDUAL = (1 << bit for bit in range(7))
"""Bits of the mode field."""


class Source(enum.IntEnum):
    """The kind of image that a picture was converted from before it was compressed."""

    NONE = 0
    ONE_BIT = 1
    PALETTE = 2
    TRANSPARENT_PALETTE = 3
    TRANSPARENT_COLOUR = 4


METADATA_KINDS = {1: "icc", 2: "exif", 3: "xmp", 4: "cicp"}

CICP_BYTES = 4
"""Size of metadata of kind 4."""


@dataclasses.dataclass(frozen=True)
class Section:
    """The header entry of one kind of metadata."""

    kind: int
    """A key of `METADATA_KINDS`."""
    length: int
    """Length of the payload in bytes."""
    size: int
    """Length of the uncompressed metadata in bytes."""
    payload_crc: int


@dataclasses.dataclass(frozen=True)
class Header:
    """The fields of a header."""

    width: int
    height: int
    channels: int
    """1 (gray) or 3 (RGB)."""
    stored: bool
    """True if tiles hold samples (lossless) instead of latents."""
    model_id: bytes
    """The first six bytes of the SHA-256 of the weights file; zeros if `stored`."""
    level: int
    """Quality level 0…1024; 0 if `stored`."""
    tile_size: int
    """Side of a tile in pixels."""
    tiles: tuple[Tile, ...]
    alpha: tuple[Tile, ...] = ()
    """Index entries of the alpha payloads, one per tile; empty without alpha."""
    residual: tuple[Tile, ...] = ()
    """Index entries of the residual payloads, one per tile; empty without a residual layer."""
    step: int = 0
    """Quantization step of the residual layer in units of a sample; 0 without a residual layer."""
    depth: int = 8
    """Bits per sample: 8, or 9…16 in 16-bit integers."""
    source: Source = Source.NONE
    metadata: tuple[Section, ...] = ()

    @property
    def planes(self) -> tuple[tuple[Tile, ...], ...]:
        """The index entries of tiles, residual and alpha; those that are absent are left out."""
        return tuple(entries for entries in (self.tiles, self.residual, self.alpha) if entries)

    @property
    def samples(self) -> int:
        """Samples per pixel: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha."""
        return self.channels + bool(self.alpha)

    @property
    def quality(self) -> float:
        """The quality 0…100 that corresponds to the level."""
        return self.level * 100 / MAX_LEVEL


def check_version(version: object) -> None:
    """Raise `UnsupportedVersion` unless `version` is the format version of this package."""
    if version != VERSION:
        last = "codec 0.10 is the last release that reads it" if version == 1 else f"codec reads {VERSION}"
        raise UnsupportedVersion(f"format version {version!r} is not supported: {last}")


def write_header(header: Header) -> bytes:
    """Return the bytes of a header, from the signature to its CRC-32. Raises `LimitExceeded`."""
    body = _write_body(header)
    limits.check_bytes(len(body), limits.MAX_HEADER, "header")
    front = SIGNATURE + bytes([VERSION]) + write_varint(len(body)) + body
    return front + zlib.crc32(front).to_bytes(4, "little")


def _write_body(header: Header) -> bytes:
    flags = {
        _RGB: header.channels == 3, _STORED: header.stored, _ALPHA: header.alpha, _DEEP: header.depth > 8,
        _METADATA: header.metadata, _CONVERTED: header.source, _RESIDUAL: header.residual,
    }
    body = bytearray([sum(bit for bit, wanted in flags.items() if wanted)])
    body += write_varint(header.width) + write_varint(header.height)
    if header.depth > 8:
        body.append(header.depth)
    if header.source:
        body.append(header.source)
    if not header.stored:
        body += header.model_id + write_varint(header.level)
    if header.residual:
        body += write_varint(header.step)
    body += write_varint(header.tile_size // TILE_UNIT)
    if header.metadata:
        body += write_varint(len(header.metadata))
    for section in header.metadata:
        body.append(section.kind)
        body += write_varint(section.length) + write_varint(section.size)
        body += section.payload_crc.to_bytes(4, "little")
    return bytes(body) + write_index(header.planes)


def parse_header(data: Readable) -> tuple[Header, int]:
    """Parse a header. Returns the header and its length in bytes.

    `data` need not contain any bytes after the header.
    Raises `FormatError` or a subclass, or `LimitExceeded`.
    """
    signature = bytes(data[: len(SIGNATURE)])
    if not SIGNATURE.startswith(signature) or not signature:
        raise FormatError("not a .cae file: the signature is missing")
    if len(data) <= len(SIGNATURE):
        raise Truncated("file ends before its header")
    version = data[len(SIGNATURE) : len(SIGNATURE) + 1][0]
    check_version(version)
    start, length = _header_length(data, len(SIGNATURE) + 1)
    end = start + length
    if len(data) < end + 4:
        raise Truncated(f"file ends inside its header, at byte {len(data)}")
    front = memoryview(data[: end + 4])
    if zlib.crc32(front[:end]) != int.from_bytes(front[end:], "little"):
        raise ChecksumMismatch("header is damaged: its CRC-32 does not match")
    reader = Reader(front[start:end])
    header = _parse_body(reader)
    if reader.position != length:
        raise FormatError("header has extra bytes after its last field")
    return header, end + 4


def _header_length(data: Readable, position: int) -> tuple[int, int]:
    """Return the position and the length of the header body."""
    field = memoryview(data[position : position + 5])
    if not any(byte < 0x80 for byte in field) and len(field) < 5:
        raise Truncated("file ends before its header")
    reader = Reader(field)
    length = reader.varint()
    limits.check_bytes(length, limits.MAX_HEADER, "header")
    return position + reader.position, length


def _parse_body(reader: Reader) -> Header:
    mode = reader.byte()
    stored = bool(mode & _STORED)
    if mode >= 2 * _RESIDUAL or (stored and mode & _RESIDUAL):
        raise UnsupportedVersion(f"picture mode {mode} is not known to this version")
    width, height = reader.varint(), reader.varint()
    if not width or not height:
        raise FormatError(f"invalid picture size: {width}×{height} pixels")
    limits.check_side(height, width)
    depth = reader.byte() if mode & _DEEP else 8
    if mode & _DEEP and not 9 <= depth <= 16:
        raise FormatError(f"invalid sample depth: {depth} bits, must be 9 to 16")
    source = reader.byte() if mode & _CONVERTED else 0
    if mode & _CONVERTED and not 1 <= source < len(Source):
        raise UnsupportedVersion(f"source {source} is not known to this version")
    model_id, level = bytes(MODEL_ID_BYTES), 0
    if not stored:
        model_id, level = reader.take(MODEL_ID_BYTES), reader.varint()
        if level > MAX_LEVEL:
            raise FormatError(f"quality level {level} is over the maximum of {MAX_LEVEL}")
    step = reader.varint() if mode & _RESIDUAL else 0
    if mode & _RESIDUAL and not 1 <= step < 1 << depth:
        raise FormatError(f"invalid residual step: {step}, for samples of {depth} bits")
    tile_size = reader.varint() * TILE_UNIT
    if not 0 < tile_size <= limits.MAX_TILE_SIDE:
        raise FormatError(f"invalid tile side: {tile_size} pixels")
    metadata = _parse_metadata(reader) if mode & _METADATA else ()
    count = tiling.tile_count(height, width, tile_size)
    if count > limits.MAX_TILES:
        raise LimitExceeded(f"{count} tiles are over the limit of {limits.MAX_TILES}")
    planes = read_index(reader, count, 1 + bool(mode & _ALPHA) + bool(mode & _RESIDUAL))
    return Header(
        width=width,
        height=height,
        channels=3 if mode & _RGB else 1,
        stored=stored,
        model_id=model_id,
        level=level,
        tile_size=tile_size,
        tiles=planes[0],
        alpha=planes[-1] if mode & _ALPHA else (),
        residual=planes[1] if mode & _RESIDUAL else (),
        step=step,
        depth=depth,
        source=Source(source),
        metadata=metadata,
    )


def _parse_metadata(reader: Reader) -> tuple[Section, ...]:
    count = reader.varint()
    if not count:
        raise FormatError("the mode has metadata, but the header has no entry of it")
    sections: list[Section] = []
    for later in reversed(range(count)):
        section = Section(reader.byte(), reader.varint(), reader.varint(), reader.uint32())
        if section.kind not in METADATA_KINDS:
            raise UnsupportedVersion(f"metadata of kind {section.kind} is not known to this version")
        if sections and section.kind <= sections[-1].kind:
            raise FormatError("metadata entries are not in ascending order of kind")
        if later > max(METADATA_KINDS) - section.kind:
            raise FormatError(f"{later} metadata entries follow one of kind {section.kind}")
        limits.check_bytes(section.size, limits.MAX_METADATA, "metadata")
        if METADATA_KINDS[section.kind] == "cicp" and section.size != CICP_BYTES:
            raise UnsupportedVersion(f"cicp of {section.size} bytes is not known to this version")
        if not 0 < section.length <= section.size:
            raise FormatError(f"metadata of {section.size} bytes has a payload of {section.length} bytes")
        sections.append(section)
    return tuple(sections)
