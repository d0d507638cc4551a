"""ICC profiles, EXIF, XMP and CICP, as they go from picture files to `.cae` files and back."""

from __future__ import annotations

import dataclasses
from typing import Any

from codec import limits
from codec.format.header import CICP_BYTES, METADATA_KINDS

EXIF_PREFIX = b"Exif\0\0"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of a picture file: ICC profile, EXIF, XMP and CICP.

    None means that a kind is absent. An empty value means the same.
    Raises `LimitExceeded` for more than 16 MiB of a kind, and `ValueError` for a `cicp` that does
    not have four bytes.
    """

    icc: bytes | None = None
    """ICC profile."""
    exif: bytes | None = None
    """EXIF, starting at its TIFF header (`II` or `MM`)."""
    xmp: bytes | None = None
    """XMP packet."""
    cicp: bytes | None = None
    """Code points of ITU-T H.273, as in the cICP chunk of PNG.

    The four bytes are colour primaries, transfer characteristics, matrix coefficients and full
    range flag. Since samples are RGB or gray, the matrix is 0, and the range is usually full, 1.
    """

    def __post_init__(self) -> None:
        for name in METADATA_KINDS.values():
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, (bytes, bytearray, memoryview)):
                raise TypeError(f"{name} must be bytes, not {type(value).__name__}")
            value = bytes(value)
            if name == "exif":
                value = value.removeprefix(EXIF_PREFIX)
            limits.check_bytes(len(value), limits.MAX_METADATA, name)
            if name == "cicp" and len(value) not in (0, CICP_BYTES):
                raise ValueError(f"cicp must have {CICP_BYTES} bytes, not {len(value)}")
            object.__setattr__(self, name, value or None)

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the kinds that are present, out of icc, exif, xmp and cicp."""
        return tuple(name for name in METADATA_KINDS.values() if getattr(self, name))

    @classmethod
    def of(cls, image: Any) -> Metadata:
        """Return the metadata that Pillow has read of an image opened from a file.

        Files say more than Pillow reads: `codec.encode` keeps that as well.
        """
        xmp = image.info.get("xmp")
        return cls(
            icc=image.info.get("icc_profile"),
            exif=exif_of_tiff(image) if image.format == "TIFF" else image.info.get("exif"),
            xmp=xmp.encode() if isinstance(xmp, str) else xmp,
            cicp=image.info.get("cicp"),
        )


TIFF_TAGS = (
    0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825,
)
"""TIFF tags that do not describe the layout of the pixels.

They are description, make, model, resolution, software, time, artist, copyright, and the tags that
EXIF and GPS add.
"""

_RESOLUTION = (0x011A, 0x011B, 0x0128)
"""TIFF tags of the pixels per unit in both directions, and of the unit; 1 is none."""


def exif_of_tiff(image: Any) -> bytes | None:
    """Return an EXIF made of those tags of a PIL image that was opened from a TIFF file."""
    found = image.getexif()
    kept = type(found)()  # PIL.Image.Exif, without importing Pillow here
    square = found.get(0x0128) == 1 and found.get(0x011A) == found.get(0x011B)
    for tag in TIFF_TAGS:
        if tag not in found or (square and tag in _RESOLUTION):  # without a unit it says nothing
            continue
        value = found.get_ifd(tag) if tag in (0x8769, 0x8825) else found[tag]
        # Pillow reads text as Latin-1, and would write other letters than ASCII as "?".
        kept[tag] = value.encode("latin-1") if isinstance(value, str) else value
    return kept.tobytes() if len(kept) else None
