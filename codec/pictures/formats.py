"""Which formats of picture files are opened, and the place that opens them with Pillow.

The tags of TIFF files (`tiff.open_tags`) and HEIC files (`heif.read`) are opened by themselves.

The list is explicit. Pillow has more plugins, and other packages register further ones. Some start
other programs (EPS starts Ghostscript), some only draw what the system supports (WMF), some return
a preview (FlashPix, Photo CD), and some recognize nearly any file (IM, SPIDER).
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from codec.errors import InvalidImage
from codec.pictures import raster
from codec.pictures.signatures import HEAD, refusal

FORMATS = (
    "PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "JPEG2000", "BMP", "DIB", "PPM", "ICO", "CUR",
    "ICNS", "QOI", "PSD", "DDS", "SGI", "PCX", "DCX", "SUN", "MSP", "XBM", "XPM", "TGA",
)
"""Pillow's names of the formats that are opened. TGA is last, since it has no signature.

A JPEG file with further views becomes MPO when it is opened as JPEG.
"""

_SIGNED = ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "PSD", "QOI", "DDS", "ICNS")
"""Formats whose first bytes are those of no other kind of file."""

_OTHER_SUFFIXES = frozenset({*raster.SUFFIXES, ".fits", ".fit", ".fts", ".heic", ".heif", ".hif"})


def picture_suffixes() -> frozenset[str]:
    """Return the extensions of picture files, in lower case.

    They include those of HEIC, which needs an optional library, so that such files are refused with
    the reason and not overlooked.
    """
    import PIL.Image

    PIL.Image.init()
    known = PIL.Image.registered_extensions().items()
    return _OTHER_SUFFIXES | {suffix for suffix, name in known if name in (*FORMATS, "MPO")} - {".pfm"}


def read_head(file: BinaryIO) -> bytes:
    """Return the first bytes of a file. Raises `InvalidImage` for a file that is no picture."""
    file.seek(0)
    head = file.read(HEAD)
    reason = refusal(head)
    if reason:
        raise InvalidImage(reason)
    return head


def open_image(file: BinaryIO) -> Any:
    """Open a picture file with Pillow. Its content decides, not its name.

    Raises `InvalidImage` for a file that is no picture, and Pillow's errors.
    """
    import PIL.Image

    head = read_head(file)
    file.seek(0)
    try:
        return PIL.Image.open(file, formats=FORMATS)
    except PIL.UnidentifiedImageError:
        raise InvalidImage(_why(file, head)) from None


def without_texts(file: BinaryIO) -> BinaryIO:
    """Return a PNG file without its texts and ICC profile, of which Pillow refuses large ones.

    EXIF that is kept as text stays: it may say how the picture is turned.
    """
    file.seek(0)
    out = io.BytesIO()
    out.write(file.read(8))
    while len(head := file.read(8)) == 8:
        rest = file.read(int.from_bytes(head[:4], "big") + 4)
        text = head[4:] in (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
        if not text or rest.startswith(b"Raw profile type exif"):
            out.write(head + rest)
    out.seek(0)
    return out


def _why(file: BinaryIO, head: bytes) -> str:
    """Return why Pillow opens no picture: it does not say what its readers said."""
    import PIL.Image

    for name in _SIGNED:
        factory, accepts = PIL.Image.OPEN.get(name, (None, None))
        if factory is not None and accepts is not None and accepts(head[:16]) is True:
            file.seek(0)
            try:
                factory(file, "")
            except Exception as error:  # readers raise any exception for damaged files
                return f"the {name} file is damaged or of a kind that is not read: {error}"
    return "not a picture that this package can read"
