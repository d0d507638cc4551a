"""What a picture file says beside its pixels: what is kept of it, and what is not.

`docs/metadata.md` lists both for every format.
"""

from __future__ import annotations

import fractions
import warnings
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from codec.errors import NotKept
from codec.format.metadata import Metadata
from codec.pictures import exif
from codec.pictures.containers import bmp, gif, heif, jp2, jpeg, others, photoshop, png, pnm, tga, tiff, webp
from codec.pictures.containers.found import Found, Resolution

_READERS: dict[str, Callable[[BinaryIO, Any, Found], None]] = {
    "AVIF": heif.read, "BMP": bmp.read, "DIB": bmp.read, "GIF": gif.read, "HEIF": heif.read,
    "JPEG": jpeg.read, "JPEG2000": jp2.read, "MPO": jpeg.read, "PNG": png.read, "PPM": pnm.read,
    "PSD": photoshop.read, "TGA": tga.read, "TIFF": tiff.read, "WEBP": webp.read,
}

_BY_ROTE = Resolution(fractions.Fraction(72), fractions.Fraction(72), 2)
"""The default of EXIF, which programs write into JFIF and elsewhere if they know none."""


def describe(image: Any, file: BinaryIO, kind: str) -> tuple[Metadata, list[str]]:
    """Return the metadata to keep of an opened PIL image, and names of what is not kept.

    `file` is the open file, whose position does not change, and `kind` Pillow's name of its format.
    EXIF and XMP state that the picture is upright. A resolution and texts become EXIF if the file
    has none. Metadata that cannot be read is among the names; it raises nothing but `OSError`.
    """
    found = Found()
    position = file.tell()
    try:
        _READERS.get(kind, others.read)(file, image, found)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # readers of metadata, also Pillow's, raise many kinds of exceptions
        found.say(f"metadata that cannot be read ({error})")
    finally:
        file.seek(position)
    _finish(found)
    names = [*found.lost, f"{found.more} more"] if found.more else found.lost
    return Metadata(icc=found.icc, exif=found.exif, xmp=found.xmp, cicp=found.cicp), names


def warn_not_kept(items: Sequence[str]) -> None:
    """Warn with one `NotKept` that lists all items. Without items, do nothing."""
    if items:
        warnings.warn(NotKept(f"not kept: {', '.join(items)}", items), stacklevel=4)


def _finish(found: Found) -> None:
    """Turn EXIF and XMP upright. Put resolution and texts into EXIF, or say what does not fit."""
    if found.exif is None:
        found.exif = exif.small(found.resolution, {key: text for key, (text, _) in found.texts.items()})
    else:
        found.exif = exif.upright(found.exif)
    if found.xmp is not None:
        found.xmp = exif.upright_xmp(found.xmp)
    resolution, texts = exif.stated(found.exif) if found.exif else (None, {})
    by_rote = resolution is None and _BY_ROTE.equals(found.resolution)
    if found.resolution is not None and not by_rote and not found.resolution.equals(resolution):
        found.say(str(found.resolution))
    for keyword, (text, name) in found.texts.items():
        if texts.get(keyword) != text:
            found.say(name)
