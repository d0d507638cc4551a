"""ICC profiles, EXIF and XMP, as they are copied from picture files to `.cae` files and back."""

from __future__ import annotations

import dataclasses
from typing import Any

from codec import limits
from codec.errors import LimitExceeded
from codec.format.header import METADATA_KINDS

EXIF_PREFIX = b"Exif\0\0"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """The metadata of a picture file: ICC profile, EXIF and XMP.

    None means that a kind is absent. An empty value means the same.
    Raises `LimitExceeded` for more than 16 MiB of a kind.
    """

    icc: bytes | None = None
    """ICC profile."""
    exif: bytes | None = None
    """EXIF, starting at its TIFF header (`II` or `MM`)."""
    xmp: bytes | None = None
    """XMP packet."""

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
            if len(value) > limits.MAX_METADATA:
                raise LimitExceeded(
                    f"{name} of {len(value)} bytes is over the limit of {limits.MAX_METADATA}"
                )
            object.__setattr__(self, name, value or None)

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the kinds that are present, out of icc, exif and xmp."""
        return tuple(name for name in METADATA_KINDS.values() if getattr(self, name))

    @classmethod
    def of(cls, image: Any) -> Metadata:
        """Return the metadata of a PIL image that was opened from a file."""
        xmp = image.info.get("xmp")
        return cls(
            icc=image.info.get("icc_profile"),
            exif=_exif_of(image),
            xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        )


_TIFF_TAGS = (
    0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298, 0x8769, 0x8825,
)
"""TIFF tags that do not describe the layout of the pixels.

They are description, make, model, resolution, software, time, artist, copyright, and the tags that
EXIF and GPS add.
"""


def _exif_of(image: Any) -> bytes | None:
    if image.format != "TIFF":
        exif: bytes | None = image.info.get("exif")
        return exif
    found = image.getexif()
    kept = type(found)()  # PIL.Image.Exif, without importing Pillow here
    for tag in _TIFF_TAGS:
        if tag in found:
            kept[tag] = found.get_ifd(tag) if tag in (0x8769, 0x8825) else found[tag]
    return kept.tobytes() if len(kept) else None
