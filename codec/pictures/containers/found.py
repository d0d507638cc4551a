"""What was found in a picture file beside its pixels."""

from __future__ import annotations

import dataclasses
import fractions
import zlib
from typing import BinaryIO

from codec import limits
from codec.format.metadata import EXIF_PREFIX

_MAX_NAMES = 100
"""Number of names in the list of what is not kept. Further names are counted."""

_MAX_NAME = 80
"""Number of characters of a name that comes from a file."""


@dataclasses.dataclass(frozen=True)
class Resolution:
    """Pixels per unit of length, as EXIF states them."""

    x: fractions.Fraction
    y: fractions.Fraction
    unit: int
    """2 for an inch, 3 for a centimetre."""

    @property
    def dpi(self) -> tuple[float, float]:
        """Pixels per inch."""
        inch = fractions.Fraction(254, 100) if self.unit == 3 else 1
        return float(self.x * inch), float(self.y * inch)

    def equals(self, other: Resolution | None) -> bool:
        """Whether both are the same, up to the rounding of the units in files."""
        if other is None:
            return False
        rounding = 1.28 if 3 in (self.unit, other.unit) else 0.51  # half a pixel per unit, in dpi
        pairs = zip(self.dpi, other.dpi, strict=True)
        return all(abs(ours - theirs) <= rounding for ours, theirs in pairs)

    def __str__(self) -> str:
        x, y = self.dpi
        return f"resolution of {x:.6g} dpi" if x == y else f"resolution of {x:.6g}×{y:.6g} dpi"


@dataclasses.dataclass
class Found:
    """What is kept of a file, and the names of what is not kept."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    cicp: bytes | None = None
    resolution: Resolution | None = None
    texts: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    """Texts and their names in the file, by the keywords of `codec.pictures.exif.TEXTS`."""
    lost: list[str] = dataclasses.field(default_factory=list)
    more: int = 0
    """Number of names that are not in `lost`, because there are too many."""

    def say(self, name: str) -> None:
        """Add a name to the list of what is not kept, unless it is in the list."""
        if name in self.lost:
            return
        if len(self.lost) < _MAX_NAMES:
            self.lost.append(name)
        else:
            self.more += 1

    def keep(self, kind: str, value: bytes | str | None, name: str) -> None:
        """Keep the value of a kind of metadata. If there is one already, say `name`."""
        if not value:
            return
        if isinstance(value, str):  # as some of Pillow's readers return XMP
            value = value.encode()
        if kind == "exif":
            value = value.removeprefix(EXIF_PREFIX)
        if len(value) > limits.MAX_METADATA:
            self.say(f"{name} of {len(value)} bytes, over the limit of {limits.MAX_METADATA}")
        elif kind == "exif" and value[:4] not in (b"II*\0", b"MM\0*"):
            self.say(f"{name} that cannot be read")
        elif getattr(self, kind) in (None, value):
            setattr(self, kind, value)
        else:
            self.say(f"second {name}")

    def keep_text(self, keyword: str, text: str, name: str) -> None:
        """Keep a text. If there is another one with the same keyword, say `name`."""
        if self.texts.setdefault(keyword, (text, name))[0] != text:
            self.say(name)

    def keep_cicp(self, primaries: int, transfer: int) -> None:
        """Keep code points of samples that are decoded to RGB of full range."""
        if (primaries, transfer) == (2, 2):  # unspecified
            return
        if primaries > 255 or transfer > 255:
            self.say(f"colour of code points {primaries}, {transfer}")
        else:
            self.keep("cicp", bytes([primaries, transfer, 0, 1]), "colour code points (nclx)")

    def keep_resolution(self, x: int | fractions.Fraction, y: int | fractions.Fraction, unit: int) -> None:
        """Keep a resolution that EXIF can state exactly, otherwise say it."""
        found = Resolution(fractions.Fraction(x), fractions.Fraction(y), unit)
        parts = (found.x.numerator, found.x.denominator, found.y.numerator, found.y.denominator)
        if min(parts) > 0 and max(parts) < 1 << 32:
            self.resolution = found
        else:
            self.say(str(found))


def printable(name: bytes | str) -> str:
    """Return a name from a file as a short text without control characters."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    text = "".join(letter if letter.isprintable() else "�" for letter in text)
    return text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…"


def text_of(content: bytes) -> str:
    """Return a text whose encoding is not stated: UTF-8, or else Latin-1."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")


def inflated(data: bytes) -> bytes:
    """Return decompressed zlib data. Raises `ValueError` if it is damaged or over the limit."""
    worker = zlib.decompressobj()
    try:
        content = worker.decompress(data, limits.MAX_METADATA + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(content) > limits.MAX_METADATA or not worker.eof:
        raise ValueError("incomplete or over the limit")
    return content


def say_rest(file: BinaryIO, at: int, found: Found) -> None:
    """Say how many bytes follow the end of a picture, unless they are padding."""
    if has_rest(file, at):
        found.say(f"{size_of(file) - at} bytes after the end of the picture")


def has_rest(file: BinaryIO, at: int) -> bool:
    """Whether a file has bytes after the end of a picture that are no padding."""
    return bool(read_at(file, at, 1 << 16).strip(b"\0\r\n\xff"))


def size_of(file: BinaryIO) -> int:
    """Return the size of an open file. Its position is its end then."""
    return file.seek(0, 2)


def read_at(file: BinaryIO, start: int, length: int) -> bytes:
    """Return at most `length` bytes from `start` on, and no more than metadata may have."""
    file.seek(start)
    return file.read(max(0, min(length, limits.MAX_METADATA + 1024)))
