"""A second reader and writer of files, written from FORMAT.md without code of the package.

`parse` is strict. `build` writes any fields, even invalid ones. `reseal` repairs the CRCs of
changed bytes. Tests compare this module with `codec.format.container` and forge files for it.
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Sequence

SIGNATURE = b"\x89CAE\r\n\x1a\n"
VERSION = 2
RGB, STORED, ALPHA, DEEP, METADATA, CONVERTED, RESIDUAL = 1, 2, 4, 8, 16, 32, 64
"""Bits of the mode field."""


class Refused(Exception):
    """The bytes are not a valid file. `error` is the name of the error in FORMAT.md."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error


@dataclasses.dataclass
class Entry:
    """An entry of the tile index."""

    length: int
    payload_crc: int
    content_crc: int


@dataclasses.dataclass
class Metadata:
    """An entry of the metadata."""

    kind: int
    length: int
    size: int
    payload_crc: int


@dataclasses.dataclass
class Fields:
    """The fields of a header. Fields that the mode does not have are not written."""

    mode: int
    width: int
    height: int
    index: list[Entry]
    side: int = 16
    """Side of a tile in units of 64 pixels."""
    depth: int = 8
    source: int = 0
    model: bytes = bytes(6)
    level: int = 0
    step: int = 0
    metadata: list[Metadata] = dataclasses.field(default_factory=list)
    version: int = VERSION
    count: int | None = None
    """Number of metadata entries to write, if it differs from the true number."""
    length: int | None = None
    """Length of the header body to write, if it differs from the true length."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the decoded picture: H×W, or H×W×C if there are several channels."""
        channels = (3 if self.mode & RGB else 1) + bool(self.mode & ALPHA)
        return (self.height, self.width, channels)[: 2 if channels == 1 else 3]

    @property
    def tiles(self) -> list[tuple[int, int, int, int]]:
        """Top, left, height and width of each tile in pixels."""
        step = 64 * self.side
        corners = itertools.product(range(0, self.height, step), range(0, self.width, step))
        return [(y, x, min(step, self.height - y), min(step, self.width - x)) for y, x in corners]

    @property
    def planes(self) -> int:
        """Number of index entries, and of payloads, of a tile."""
        return 1 + bool(self.mode & RESIDUAL) + bool(self.mode & ALPHA)

    @property
    def lengths(self) -> list[int]:
        """Lengths of all payloads, in file order."""
        return [entry.length for entry in self.entries]

    @property
    def entries(self) -> list[Metadata | Entry]:
        """Entries of all payloads, in file order."""
        return [*self.metadata, *self.index]


class _Body:
    """Reader of the header body. It records the positions of the payload CRCs."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.at, self.end = data, start, end
        self.crcs: list[int] = []

    def take(self, count: int) -> bytes:
        if self.at + count > self.end:
            raise Refused("FormatError", "the header body ends in a field")
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value += (byte & 127) << shift
            if byte < 128:
                if shift and byte == 0:
                    raise Refused("FormatError", "a varint is too long")
                return value
        raise Refused("FormatError", "a varint has more than five bytes")

    def crc(self) -> int:
        self.crcs.append(self.at)
        return int.from_bytes(self.take(4), "little")


def _need(good: bool, error: str, message: str) -> None:
    if not good:
        raise Refused(error, message)


def _fields(body: _Body) -> Fields:
    fields = Fields(body.take(1)[0], 0, 0, [])
    mode = fields.mode
    _need(mode < 128 and mode & (STORED | RESIDUAL) != STORED | RESIDUAL, "UnsupportedVersion", "mode")
    fields.width, fields.height = body.varint(), body.varint()
    _need(min(fields.width, fields.height) > 0, "FormatError", "no pixels")
    _need(max(fields.width, fields.height) <= 1 << 20, "LimitExceeded", "side")
    if mode & DEEP:
        fields.depth = body.take(1)[0]
        _need(9 <= fields.depth <= 16, "FormatError", "depth")
    if mode & CONVERTED:
        fields.source = body.take(1)[0]
        _need(1 <= fields.source <= 4, "UnsupportedVersion", "source")
    if not mode & STORED:
        fields.model, fields.level = body.take(6), body.varint()
        _need(fields.level <= 1024, "FormatError", "level")
    if mode & RESIDUAL:
        fields.step = body.varint()
        _need(0 < fields.step < 2**fields.depth, "FormatError", "step")
    fields.side = body.varint()
    _need(1 <= fields.side <= 64, "FormatError", "tile side")
    if mode & METADATA:
        count = body.varint()
        _need(1 <= count <= 4, "FormatError", "count of metadata")
        for number in range(1, count + 1):
            entry = Metadata(body.take(1)[0], body.varint(), body.varint(), body.crc())
            _need(1 <= entry.kind <= 4, "UnsupportedVersion", "kind of metadata")
            _need(count - number <= 4 - entry.kind, "FormatError", "entries after the last kind")
            _need(entry.kind < 4 or entry.size == 4, "UnsupportedVersion", "size of CICP")
            _need(entry.size > 0, "FormatError", "empty metadata")
            _need(entry.size <= 1 << 24, "LimitExceeded", "metadata")
            _need(entry.length <= entry.size, "FormatError", "metadata are longer than they are")
            fields.metadata.append(entry)
        kinds = [entry.kind for entry in fields.metadata]
        _need(kinds == sorted(set(kinds)), "FormatError", "order of metadata")
    step = 64 * fields.side
    tiles = -(-fields.height // step) * -(-fields.width // step)
    _need(tiles <= 1 << 16, "LimitExceeded", "tiles")
    for _ in range(tiles * fields.planes):
        length, crc = body.varint(), body.crc()
        fields.index.append(Entry(length, crc, int.from_bytes(body.take(4), "little")))
    _need(body.at == body.end, "FormatError", "bytes are left over in the header body")
    return fields


def _body(data: bytes) -> _Body:
    _need(bool(data) and data[:8] == SIGNATURE[: len(data)], "FormatError", "signature")
    _need(len(data) > 8, "Truncated", "before the version")
    _need(data[8] == VERSION, "UnsupportedVersion", "version")
    _need(len(data) > 13 or any(byte < 128 for byte in data[9:]), "Truncated", "in the length")
    length = _Body(data, 9, len(data))
    size = length.varint()
    _need(size <= 1 << 21, "LimitExceeded", "header")
    return _Body(data, length.at, length.at + size)


def parse_header(data: bytes) -> tuple[Fields, int]:
    """Return the header and its length in bytes."""
    body = _body(data)
    start = body.end + 4
    _need(len(data) >= start, "Truncated", "in the header")
    crc = int.from_bytes(data[body.end : start], "little")
    _need(zlib.crc32(data[: body.end]) == crc, "ChecksumMismatch", "header")
    return _fields(body), start


def parse(data: bytes) -> tuple[Fields, list[bytes]]:
    """Return the header and all payloads. The payloads are not decoded."""
    fields, start = parse_header(data)
    *starts, end = itertools.accumulate(fields.lengths, initial=start)
    _need(len(data) >= end, "Truncated", "in the payloads")
    _need(len(data) == end, "FormatError", "bytes follow the file")
    payloads = [data[at : at + length] for at, length in zip(starts, fields.lengths, strict=True)]
    for entry, payload in zip(fields.entries, payloads, strict=True):
        _need(zlib.crc32(payload) == entry.payload_crc, "ChecksumMismatch", "payload")
    return fields, payloads


def varint(value: int) -> bytes:
    """Encode an integer as unsigned LEB128."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def build_parts(fields: Fields) -> dict[str, bytes]:
    """Return the bytes of each field of the header body, in order."""
    mode = fields.mode
    parts = {"mode": bytes([mode]), "width": varint(fields.width), "height": varint(fields.height)}
    if mode & DEEP:
        parts["depth"] = bytes([fields.depth])
    if mode & CONVERTED:
        parts["source"] = bytes([fields.source])
    if not mode & STORED:
        parts["model"], parts["level"] = fields.model, varint(fields.level)
    if mode & RESIDUAL:
        parts["step"] = varint(fields.step)
    parts["side"] = varint(fields.side)
    if mode & METADATA:
        parts["count"] = varint(len(fields.metadata) if fields.count is None else fields.count)
        parts["metadata"] = b"".join(
            bytes([entry.kind]) + varint(entry.length) + varint(entry.size) + _u32(entry.payload_crc)
            for entry in fields.metadata
        )
    parts["index"] = b"".join(
        varint(entry.length) + _u32(entry.payload_crc) + _u32(entry.content_crc) for entry in fields.index
    )
    return parts


def seal(
    body: bytes, payloads: Sequence[bytes] = (), *, version: int = VERSION, length: int | None = None
) -> bytes:
    """Return a file with any header body and a correct header CRC."""
    front = SIGNATURE + bytes([version]) + varint(len(body) if length is None else length) + body
    return front + _u32(zlib.crc32(front)) + b"".join(payloads)


def build(fields: Fields, payloads: Sequence[bytes] = ()) -> bytes:
    """Return the file that `fields` describe, even if they are wrong.

    Only the header CRC is computed.
    """
    body = b"".join(build_parts(fields).values())
    return seal(body, payloads, version=fields.version, length=fields.length)


def entry(payload: bytes, content: bytes) -> Entry:
    """Return the index entry of a payload that decodes to `content`."""
    return Entry(len(payload), zlib.crc32(payload), zlib.crc32(content))


def reseal(data: bytes) -> bytes:
    """Return the same bytes with correct CRCs of header and payloads, as far as they can be found.

    The CRCs of the contents do not change, because they are known only after decoding the payloads.
    """
    try:
        body = _body(data)
    except Refused:
        return data
    if body.end + 4 > len(data):
        return data
    fixed = bytearray(data)
    try:
        fields = _fields(body)
    except Refused:
        fields = Fields(0, 0, 0, [])
    start = body.end + 4
    for at, length in zip(body.crcs, fields.lengths, strict=False):
        fixed[at : at + 4] = _u32(zlib.crc32(data[start : start + length]))
        start += length
    fixed[body.end : body.end + 4] = _u32(zlib.crc32(fixed[: body.end]))
    return bytes(fixed)
