"""Whole files: a header and the payloads that follow it. The normative text is FORMAT.md."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import zlib
from collections.abc import Sequence

from codec.errors import ChecksumMismatch, FormatError, Truncated
from codec.format.header import METADATA_KINDS, Header, Section, parse_header, write_header
from codec.format.index import Tile, in_file_order
from codec.format.readable import Readable


def pack(
    header: Header,
    payloads: Sequence[bytes],
    *,
    residual: Sequence[bytes] = (),
    alpha: Sequence[bytes] = (),
    metadata: Sequence[bytes] = (),
) -> bytes:
    """Return the bytes of a file: the header, then the payloads in the order of its entries.

    The entries of `header` must describe the payloads.
    """
    planes = [plane for plane in (payloads, residual, alpha) if plane]
    return b"".join([write_header(header), *metadata, *in_file_order(planes)])


@dataclasses.dataclass(frozen=True)
class File:
    """A file whose header has been read. Payloads are read and checked on access."""

    header: Header
    data: Readable
    start: int
    """Byte position of the first payload."""

    @functools.cached_property
    def _starts(self) -> tuple[list[int], list[int]]:
        """Positions of the metadata payloads, and of the tile payloads in file order."""
        lengths = [section.length for section in self.header.metadata]
        lengths += [tile.length for tile in in_file_order(self.header.planes)]
        starts = list(itertools.accumulate(lengths, initial=self.start))
        return starts[: len(self.header.metadata)], starts[len(self.header.metadata) :]

    @property
    def end(self) -> int:
        """Length of the whole file in bytes."""
        return self._starts[1][-1]

    def payload(self, tile: int) -> bytes | memoryview:
        """Return the payload of a tile.

        Raises `Truncated`, or `ChecksumMismatch` if its CRC-32 differs.
        """
        return self._payload_of(tile, 0)

    def residual_payload(self, tile: int) -> bytes | memoryview:
        """Return the payload of a tile's residual; raises as `payload`."""
        return self._payload_of(tile, 1, "residual of ")

    def alpha_payload(self, tile: int) -> bytes | memoryview:
        """Return the payload of a tile's alpha; raises as `payload`."""
        return self._payload_of(tile, len(self.header.planes) - 1, "alpha of ")

    def _payload_of(self, tile: int, plane: int, part: str = "") -> bytes | memoryview:
        planes = self.header.planes
        start = self._starts[1][len(planes) * tile + plane]
        return self._take(start, planes[plane][tile], f"{part}tile {tile} of {len(self.header.tiles)}")

    def metadata_payload(self, number: int) -> bytes | memoryview:
        """Return the payload of the metadata entry `number`; raises as `payload`."""
        section = self.header.metadata[number]
        what = f"metadata ({METADATA_KINDS[section.kind]})"
        return self._take(self._starts[0][number], section, what)

    def check_payloads(self) -> None:
        """Check every payload against its CRC-32; raises as `payload`."""
        for number in range(len(self.header.metadata)):
            self.metadata_payload(number)
        for tile in range(len(self.header.tiles)):
            self.payload(tile)
            if self.header.residual:
                self.residual_payload(tile)
            if self.header.alpha:
                self.alpha_payload(tile)

    def _take(self, start: int, entry: Tile | Section, what: str) -> bytes | memoryview:
        payload = self.data[start : start + entry.length]
        if len(payload) < entry.length:
            raise Truncated(f"file is truncated: {what} is incomplete")
        if zlib.crc32(payload) != entry.payload_crc:
            raise ChecksumMismatch(f"{what} is damaged")
        return payload


def read(data: Readable, *, complete: bool = True) -> File:
    """Read and check the header of the file in `data`.

    If `complete`, a file that ends early raises `Truncated`. Bytes after the end of the file always
    raise `FormatError`. Other errors are `FormatError` or a subclass, or `LimitExceeded`.
    """
    header, start = parse_header(data)
    file = File(header, data, start)
    if complete and len(data) < file.end:
        raise Truncated(f"file ends at byte {len(data)} of {file.end}")
    if len(data) > file.end:
        raise FormatError(f"{len(data) - file.end} bytes follow the end of the file")
    return file
