"""What the samples of a JPEG 2000 file are (ISO/IEC 15444-1, annexes A: codestream, I: boxes)."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.errors import InvalidImage
from codec.pictures.containers.boxes import boxes
from codec.pictures.containers.found import read_at, size_of
from codec.pictures.decoded import too_many

_CODESTREAM = b"\xff\x4f\xff\x51"
_COLOURS = {
    0: "", 16: "", 17: "", 18: "", 12: "CMYK", 13: "YCCK", 14: "CIELab", 15: "bilevel colour", 19: "CIEJab",
    20: "e-sRGB", 21: "ROMM-RGB", 24: "e-sYCC",
}
"""Enumerated colour spaces. Those without a name are read: unstated, sRGB, gray and sYCC."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the samples of a file are."""

    height: int
    width: int
    count: int
    """Number of components."""
    depth: int
    """Bits of each component, 1 to 16."""
    palette: bool
    pictures: int
    """Number of codestreams in the file."""

    @property
    def needs_imagecodecs(self) -> bool:
        """Whether Pillow would reduce the samples to eight bits, or does not read them."""
        # Pillow takes gray of nine bits for gray of eight.
        reduced = self.depth == 9 or (self.depth > 8 and self.count > 1)
        return not self.palette and (reduced or self.count > 4)

    def unscaled(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Return samples from Pillow with their own range: it shifts them to 8 or 16 bits."""
        if self.palette or self.depth in (8, 16):
            return samples
        if self.depth > 8:
            return samples >> (16 - self.depth)
        top = (1 << self.depth) - 1
        return np.round((samples >> (8 - self.depth)) * (255 / top)).astype(np.uint8)


def examine(file: BinaryIO, bands: tuple[int, ...] | None) -> Kind:
    """Return what the samples are. Raises `InvalidImage` for those that would be misread."""
    try:
        return _examine(file, bands)
    except (struct.error, IndexError):
        raise InvalidImage("the picture cannot be read: the JPEG 2000 file is cut short") from None


def _examine(file: BinaryIO, bands: tuple[int, ...] | None) -> Kind:
    header = _read_boxes(file)
    file.seek(header.starts[0] if header.starts else 0)
    head = file.read(42 + 3 * 16384)
    if not header.starts or head[:4] != _CODESTREAM:
        raise InvalidImage("the picture cannot be read: the JPEG 2000 file is cut short")
    right, bottom, left, top = struct.unpack_from(">4I", head, 8)
    (count,) = struct.unpack_from(">H", head, 40)
    components = {struct.unpack_from(">3B", head, 42 + 3 * index) for index in range(count)}
    depths = {(size & 0x7F) + 1 for size, _, _ in components}
    name = _COLOURS.get(header.colour, f"colour space {header.colour}")
    if not components:
        raise InvalidImage("the picture cannot be read: the JPEG 2000 file has no components")
    if any(size & 0x80 for size, _, _ in components):
        raise InvalidImage(
            f"JPEG 2000 samples of {max(depths)} bits are signed: add an offset and store them unsigned"
        )
    if len(depths) > 1:
        raise InvalidImage("JPEG 2000 components of different depths are not supported: use one depth")
    if any((across, down) != (1, 1) for _, across, down in components):
        raise InvalidImage("JPEG 2000 components of lower resolution are not supported: convert it to RGB")
    if name:
        raise InvalidImage(f"JPEG 2000 files in {name} are not supported: convert it to RGB")
    if header.premultiplied:
        raise InvalidImage("JPEG 2000 files whose colour is multiplied by their alpha are not supported")
    depth = depths.pop()
    if depth > 16:
        raise InvalidImage(f"JPEG 2000 samples of {depth} bits do not fit: scale them to 16 bits")
    if not header.palette and bands is None and (count > 4 or (count in (2, 4) and not header.alpha)):
        raise too_many(count, "" if header.alpha else ", none of which the file calls alpha")
    return Kind(bottom - top, right - left, count, depth, header.palette, len(header.starts))


@dataclasses.dataclass
class _Boxes:
    colour: int = 0
    alpha: bool = False
    premultiplied: bool = False
    palette: bool = False
    starts: list[int] = dataclasses.field(default_factory=list)


def _read_boxes(file: BinaryIO) -> _Boxes:
    found = _Boxes()
    if read_at(file, 0, 4) == _CODESTREAM:
        found.starts.append(0)
        return found
    for name, start, end in boxes(file, 0, size_of(file)):
        if name == b"jp2c":
            found.starts.append(start)
        elif name == b"jp2h":
            for inner, at, stop in boxes(file, start, end):
                data = read_at(file, at, min(stop - at, 1 << 12))
                if inner == b"colr" and data[0] == 1 and not found.colour:
                    (found.colour,) = struct.unpack_from(">I", data, 3)
                elif inner == b"cdef":
                    kinds = struct.unpack_from(f">{len(data) // 6 * 3}H", data, 2)[1::3]
                    found.alpha, found.premultiplied = 1 in kinds, 2 in kinds
                found.palette |= inner == b"pclr"
    return found
