"""Bare rows: small pictures that share a header. The normative text is FORMAT.md, "Rows".

A whole file has 36 bytes besides its payload. That is nearly a fourth of the file of a 32×32
picture. In a dataset most of these bytes are the same for every picture. They are kept once, as a
`RowFormat`. A row holds the remaining five or six bytes and the payload. Rows are converted to
whole files and back without being decoded. Pictures that do not fit into a row stay whole files.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from codec.errors import FormatError, Truncated, UnsupportedVersion
from codec.format import container
from codec.format.fields import Reader, write_varint
from codec.format.header import MAX_LEVEL, MODEL_ID_BYTES, SIGNATURE, VERSION, Header, check_version
from codec.format.index import make_tile

TILE_SIZE = 1024
"""Side of a tile in pixels. A row holds one tile."""

_SMALL = 128
"""Longest side with which a size fits into two bytes."""

_LONG = 0xC0
"""First byte of a row that has the shared size or does not fit the two-byte form.

The bits below are added to it.
"""

_STORED, _OWN_SIZE, _OTHER_CHANNELS = 1, 2, 4


@dataclasses.dataclass(frozen=True)
class RowFormat:
    """The properties that the rows of a dataset share.

    Raises `ValueError` or `TypeError` for values that a file cannot have.
    """

    model_id: bytes
    """The first six bytes of the SHA-256 of the weights file."""
    level: int
    """Quality level 0…1024."""
    height: int
    """Height and `width` of most pictures in pixels. Other pictures state their own size."""
    width: int
    channels: int = 3
    """Channels of most pictures: 1 (gray) or 3 (RGB)."""

    def __post_init__(self) -> None:
        for name in ("level", "height", "width", "channels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
        if not isinstance(self.model_id, bytes) or len(self.model_id) != MODEL_ID_BYTES:
            raise ValueError(f"model_id must be {MODEL_ID_BYTES} bytes, not {self.model_id!r}")
        if not 0 <= self.level <= MAX_LEVEL:
            raise ValueError(f"level must be from 0 to {MAX_LEVEL}, not {self.level}")
        if not (0 < self.height <= TILE_SIZE and 0 < self.width <= TILE_SIZE):
            raise ValueError(f"sides must be from 1 to {TILE_SIZE} pixels, not {self.height}×{self.width}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for JSON."""
        return {"version": VERSION, **dataclasses.asdict(self), "model_id": self.model_id.hex()}

    @classmethod
    def from_dict(cls, fields: Any) -> RowFormat:
        """Inverse of `as_dict`; raises `UnsupportedVersion` or `FormatError`."""
        if not isinstance(fields, dict):
            raise FormatError("row format is not an object")
        check_version(fields.get("version"))
        values = {name: value for name, value in fields.items() if name != "version"}
        model_id = values.get("model_id")
        if not isinstance(model_id, str) or not re.fullmatch(r"([0-9a-f]{2})*", model_id):
            raise FormatError(f"model id {model_id!r} of the row format is not hexadecimal")
        try:
            return cls(**{**values, "model_id": bytes.fromhex(model_id)})
        except (TypeError, ValueError) as error:
            raise FormatError(f"invalid row format: {error}") from None

    def pack(self, data: bytes) -> bytes:
        """Convert a `.cae` file to a row.

        A file that a row cannot represent is returned unchanged.
        """
        file = container.read(memoryview(data))
        header = file.header
        plain = Header(
            header.width, header.height, header.channels, header.stored, header.model_id, header.level,
            TILE_SIZE, header.tiles,
        )
        fits = header == plain and max(header.width, header.height) <= TILE_SIZE
        if not fits or not (header.stored or (header.model_id, header.level) == (self.model_id, self.level)):
            return data
        payload = bytes(file.payload(0))
        if not header.stored:
            if len(payload) % 4:  # not written by an encoder: `decompress` refuses it
                return data
            payload = _without_zeros(_swap_words(payload))
        return self._front(header) + header.tiles[0].content_crc.to_bytes(4, "little") + payload

    def _front(self, header: Header) -> bytes:
        own_size = (header.height, header.width) != (self.height, self.width)
        other = header.channels != self.channels
        if own_size and not other and max(header.height, header.width) <= _SMALL:
            packed = header.stored << 14 | (header.height - 1) << 7 | (header.width - 1)
            return packed.to_bytes(2, "big")
        flags = _STORED * header.stored | _OWN_SIZE * own_size | _OTHER_CHANNELS * other
        size = write_varint(header.height) + write_varint(header.width)
        return bytes([_LONG | flags]) + (size if own_size else b"")

    def unpack(self, row: bytes | memoryview) -> bytes:
        """Convert a row to a `.cae` file. Raises `FormatError` or a subclass, or `LimitExceeded`.

        The payload is checked only when it is decoded, by the content CRC.
        """
        row = bytes(row)
        if row[:1] == SIGNATURE[:1]:
            return row
        height, width, channels, stored, start = self._parse_front(row)
        if len(row) < start + 4:
            raise Truncated("row ends before its payload")
        content_crc = int.from_bytes(row[start : start + 4], "little")
        payload = row[start + 4 :]
        if not stored:
            if payload != _without_zeros(payload + bytes(-len(payload) % 4)):
                raise FormatError("row ends in unnecessary zeros")
            payload = _swap_words(payload + bytes(-len(payload) % 4))
        header = Header(
            width=width,
            height=height,
            channels=channels,
            stored=stored,
            model_id=bytes(MODEL_ID_BYTES) if stored else self.model_id,
            level=0 if stored else self.level,
            tile_size=TILE_SIZE,
            tiles=(make_tile(payload, content_crc),),
        )
        return container.pack(header, [payload])

    def _parse_front(self, row: bytes) -> tuple[int, int, int, bool, int]:
        """Return height, width, channels, whether stored, and the position of the CRC."""
        if not row:
            raise Truncated("row is empty")
        if row[0] < 0x80:
            packed = int.from_bytes(row[:2], "big")
            if len(row) < 2:
                raise Truncated("row ends inside its size")
            height, width = (packed >> 7 & 0x7F) + 1, (packed & 0x7F) + 1
            if (height, width) == (self.height, self.width):
                raise FormatError("row states the shared size")
            return height, width, self.channels, bool(packed >> 14), 2
        if row[0] & ~0b111 != _LONG:
            raise UnsupportedVersion(f"row of kind {row[0]} is not known to this version")
        stored, own_size, other = (bool(row[0] & bit) for bit in (_STORED, _OWN_SIZE, _OTHER_CHANNELS))
        channels = 4 - self.channels if other else self.channels
        if not own_size:
            return self.height, self.width, channels, stored, 1
        reader = Reader(memoryview(row)[1:])
        height, width = reader.varint(), reader.varint()
        if not min(height, width) > 0 or max(height, width) > TILE_SIZE:
            raise FormatError(f"invalid row size: {height}×{width} pixels")
        if (height, width) == (self.height, self.width) or (not other and max(height, width) <= _SMALL):
            raise FormatError("row size is not in its shortest form")
        return height, width, channels, stored, 1 + reader.position


def _without_zeros(payload: bytes) -> bytes:
    """Remove the zero bytes at the end of the last word; at least one of its bytes stays."""
    return payload[:-3] + payload[-3:].rstrip(b"\0")


def _swap_words(payload: bytes) -> bytes:
    """Reverse the bytes of every word, so that the least significant ones come last."""
    swapped = bytearray(len(payload))
    for place in range(4):
        swapped[place::4] = payload[3 - place :: 4]
    return bytes(swapped)
