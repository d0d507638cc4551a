"""The bytes of a file: header, tile index, checksums. Normative text: FORMAT.md.

The only file that knows the layout; standard library only. Parsing allocates nothing that the
bytes do not back: every count is checked against a limit and against what is left to read.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Sequence

from codec import limits, tiling
from codec.errors import (
    ChecksumMismatch,
    FormatError,
    LimitExceeded,
    Truncated,
    UnsupportedVersion,
)

SIGNATURE = b"\x89CAE\r\n\x1a\n"
VERSION = 1
MODEL_ID_BYTES = 6
MAX_LEVEL = 1024
TILE_UNIT = 64
"""Tile sides are stored in units of this many pixels."""

_KNOWN_MODES = {(1, False): 0, (3, False): 1, (1, True): 2, (3, True): 3}


@dataclasses.dataclass(frozen=True)
class Tile:
    """One entry of the tile index."""

    length: int
    """Bytes of the payload."""
    payload_crc: int
    """CRC-32 of the payload."""
    content_crc: int
    """CRC-32 of what it decodes to: symbols (int32, little-endian), or pixels of a stored tile."""


@dataclasses.dataclass(frozen=True)
class Header:
    """All that a file says about itself."""

    width: int
    height: int
    channels: int
    """1 (gray) or 3 (RGB)."""
    stored: bool
    """Whether tiles hold pixels (losslessly) instead of latents."""
    model_id: bytes
    """Six bytes: the first of the weights' SHA-256; zeros if `stored`."""
    level: int
    """Quality level 0…1024; 0 if `stored`."""
    tile_size: int
    """Pixels along a tile."""
    tiles: tuple[Tile, ...]

    @property
    def quality(self) -> float:
        """The quality 0…100 that the level stands for."""
        return self.level * 100 / MAX_LEVEL


def write_varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, lowest first, shortest form."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class _Reader:
    """Reads from the front of bytes that are known to be complete."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise FormatError("header ends inside a field")
        self.position += count
        return bytes(self.data[self.position - count : self.position])

    def byte(self) -> int:
        return self.take(1)[0]

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def varint(self) -> int:
        value = 0
        for index in range(5):
            byte = self.byte()
            value |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                if index and not byte:
                    raise FormatError("integer is not in its shortest form")
                return value
        raise FormatError("integer is longer than five bytes")


def pack(header: Header, payloads: Sequence[bytes]) -> bytes:
    """The file: `payloads` in the order of `header.tiles`, whose entries must describe them."""
    body = bytearray([_KNOWN_MODES[header.channels, header.stored]])
    body += write_varint(header.width) + write_varint(header.height)
    if not header.stored:
        body += header.model_id + write_varint(header.level)
    body += write_varint(header.tile_size // TILE_UNIT)
    for tile in header.tiles:
        body += write_varint(tile.length)
        body += tile.payload_crc.to_bytes(4, "little") + tile.content_crc.to_bytes(4, "little")
    if len(body) > limits.MAX_HEADER:
        raise LimitExceeded(f"header of {len(body)} bytes is over {limits.MAX_HEADER}")
    front = SIGNATURE + bytes([VERSION]) + write_varint(len(body)) + bytes(body)
    return b"".join([front, zlib.crc32(front).to_bytes(4, "little"), *payloads])


def make_tile(payload: bytes, content_crc: int) -> Tile:
    """The index entry of a payload."""
    return Tile(len(payload), zlib.crc32(payload), content_crc)


def parse_header(data: bytes | memoryview) -> tuple[Header, int]:
    """The header and the number of bytes it takes; needs no more than those bytes.

    Raises `FormatError` or a subclass, or `LimitExceeded`.
    """
    view = memoryview(data)
    signature = bytes(view[: len(SIGNATURE)])
    if not SIGNATURE.startswith(signature) or not signature:
        raise FormatError("not a .cae file: the signature is missing")
    if len(view) <= len(SIGNATURE):
        raise Truncated("file ends before its header")
    version = view[len(SIGNATURE)]
    if version != VERSION:
        raise UnsupportedVersion(f"format version {version} (this package reads {VERSION})")
    start, length = _header_length(view, len(SIGNATURE) + 1)
    end = start + length
    if len(view) < end + 4:
        raise Truncated(f"file ends inside its header, at byte {len(view)}")
    if zlib.crc32(view[:end]) != int.from_bytes(view[end : end + 4], "little"):
        raise ChecksumMismatch("header is damaged: its CRC-32 does not match")
    reader = _Reader(view[start:end])
    header = _parse_body(reader)
    if reader.position != length:
        raise FormatError("header is longer than its fields")
    return header, end + 4


def _header_length(view: memoryview, position: int) -> tuple[int, int]:
    """Start and length of the header's body."""
    field = view[position : position + 5]
    if not any(byte < 0x80 for byte in field) and len(field) < 5:
        raise Truncated("file ends before its header")
    reader = _Reader(field)
    length = reader.varint()
    if length > limits.MAX_HEADER:
        raise LimitExceeded(f"header of {length} bytes is over {limits.MAX_HEADER}")
    return position + reader.position, length


def _parse_body(reader: _Reader) -> Header:
    mode = reader.byte()
    modes = {code: key for key, code in _KNOWN_MODES.items()}
    if mode not in modes:
        raise UnsupportedVersion(f"picture mode {mode} is not known to this version")
    channels, stored = modes[mode]
    width, height = reader.varint(), reader.varint()
    if not width or not height:
        raise FormatError(f"picture of {width}×{height} pixels")
    limits.check_side(height, width)
    model_id, level = bytes(MODEL_ID_BYTES), 0
    if not stored:
        model_id, level = reader.take(MODEL_ID_BYTES), reader.varint()
        if level > MAX_LEVEL:
            raise FormatError(f"quality level {level} is over {MAX_LEVEL}")
    tile_size = reader.varint() * TILE_UNIT
    if not 0 < tile_size <= limits.MAX_TILE_SIDE:
        raise FormatError(f"tiles of {tile_size} pixels")
    count = tiling.tile_count(height, width, tile_size)
    if count > limits.MAX_TILES:
        raise LimitExceeded(f"{count} tiles are over the limit of {limits.MAX_TILES}")
    tiles = tuple(
        Tile(reader.varint(), reader.uint32(), reader.uint32()) for _ in range(count)
    )
    return Header(width, height, channels, stored, model_id, level, tile_size, tiles)


@dataclasses.dataclass(frozen=True)
class File:
    """A file whose header has been read; payloads are looked at when they are asked for."""

    header: Header
    view: memoryview
    starts: tuple[int, ...]
    """Where the payload of each tile begins."""

    def payload(self, tile: int) -> memoryview:
        """The payload of a tile; raises `Truncated` or, if its CRC-32 differs, `ChecksumMismatch`."""
        entry, start = self.header.tiles[tile], self.starts[tile]
        payload = self.view[start : start + entry.length]
        if len(payload) < entry.length:
            raise Truncated(f"file ends before tile {tile} of {len(self.starts)} does")
        if zlib.crc32(payload) != entry.payload_crc:
            raise ChecksumMismatch(f"tile {tile} of {len(self.starts)} is damaged")
        return payload


def read(data: bytes | memoryview, *, complete: bool = True) -> File:
    """The file in `data`, its header checked and, if it must be `complete`, its length.

    Raises `FormatError` or a subclass, or `LimitExceeded`.
    """
    header, start = parse_header(data)
    view = memoryview(data)
    lengths = (tile.length for tile in header.tiles)
    *starts, expected = itertools.accumulate(lengths, initial=start)
    if complete and len(view) < expected:
        raise Truncated(f"file ends at byte {len(view)} of {expected}")
    if len(view) > expected:
        raise FormatError(f"{len(view) - expected} bytes follow the end of the file")
    return File(header, view, tuple(starts))


def unpack(data: bytes | memoryview) -> tuple[Header, list[memoryview]]:
    """The header and the payload of every tile, each checked against its CRC-32."""
    file = read(data)
    return file.header, [file.payload(tile) for tile in range(len(file.starts))]
