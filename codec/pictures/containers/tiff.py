"""TIFF: tags of the first page."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np

from codec import limits
from codec.format.metadata import TIFF_TAGS, exif_of_tiff
from codec.pictures import colour
from codec.pictures.containers import photoshop
from codec.pictures.containers.found import Found
from codec.pictures.containers.large_tags import large_tags

_XMP, _ICC, _PHOTOSHOP, _IPTC = 700, 34675, 34377, 33723
_BITS, _PHOTOMETRIC, _TRANSFER, _WHITE, _PRIMARIES = 258, 262, 301, 318, 319

_LAYOUT = {
    254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 284, 288, 289, 292, 293,
    317, 320, 321, 322, 323, 324, 325, 326, 327, 328, 330, 332, 334, 338, 339, 347, 512, 513, 514, 515, 517,
    518, 519, 520, 521, 529, 530, 531, 532, 34712, 50674,
}
"""Tags that describe how pixels are stored or decoded."""

_NAMES = {
    33550: "ModelPixelScale", 33922: "ModelTiepoint", 34264: "ModelTransformation", 34735: "GeoKeyDirectory",
    34736: "GeoDoubleParams", 34737: "GeoAsciiParams", 50844: "RPCCoefficient",
}
_BLOCKS = {_XMP: "XMP", _ICC: "ICC profile", _IPTC: "IPTC", _PHOTOSHOP: "Photoshop resources"}
_OTHERS = {
    269: "DocumentName", 285: "PageName", 286: "XPosition", 287: "YPosition", 297: "PageNumber",
    300: "ColorResponseUnit", 316: "HostComputer", 37724: "ImageSourceData", 50838: "IJMetadataByteCounts",
    50839: "IJMetadata", 65000: "OMEXML", 34118: "SEM metadata", 34412: "LSM info", 33628: "UIC1",
    34361: "MMHeader", 270: "ImageDescription", 306: "DateTime", 315: "Artist", 42112: "GDAL_METADATA",
    42113: "GDAL_NODATA",
}

_DEFAULTS: dict[int, list[Any]] = {297: [(0, 1)], 286: [0, (0,)], 287: [0, (0,)]}
"""Values that say nothing: page 0 of 1, and a position of 0."""

_LEAST, _LARGEST = (280, 340), (281, 341)
"""Tags of the smallest and the largest sample. The full range says nothing."""


def read(file: BinaryIO, image: Any, found: Found) -> None:
    """Read the tags of the first page of a TIFF file. Only values that are needed are decoded."""
    tags = image.tag_v2
    found.keep("icc", image.info.get("icc_profile"), "ICC profile")
    found.keep("xmp", image.info.get("xmp"), "XMP")
    try:
        found.keep("exif", exif_of_tiff(image), "EXIF")
    except Exception:  # Pillow's reader of EXIF raises many kinds of exceptions
        found.say("EXIF that cannot be read")
    for tag in sorted(tags):
        if tag in _LAYOUT or tag in TIFF_TAGS or _says_nothing(tags, tag):
            continue
        if tag in (_XMP, _ICC):
            if not (found.xmp if tag == _XMP else found.icc):
                found.say(f"{_name(tag)} that cannot be read")
        elif tag == _PHOTOSHOP:
            value = tags[tag]
            names = photoshop.names(value) if isinstance(value, bytes) else []
            for name in names or [_name(tag)]:
                found.say(name)
        elif tag not in (_TRANSFER, _WHITE, _PRIMARIES):
            found.say(_name(tag))
    _large(file, found)
    _colour(tags, found)


def _says_nothing(tags: Any, tag: int) -> bool:
    """Whether the value of a tag is its default."""
    if tag in _DEFAULTS:
        return tags[tag] in _DEFAULTS[tag]
    if tag in _LEAST or tag in _LARGEST:
        value = tags[tag]
        bits = tags.get(_BITS, (1,))
        full = 0 if tag in _LEAST else (1 << (bits[0] if isinstance(bits, tuple) else bits)) - 1
        return set(value if isinstance(value, tuple) else (value,)) == {full}
    return False


def _large(file: BinaryIO, found: Found) -> None:
    """Say the tags over the limit, which are not in the tags of the image."""
    for one in large_tags(file):
        kept = one.tag in (_XMP, _ICC, *TIFF_TAGS)
        limit = f" of {one.size} bytes, over the limit of {limits.MAX_METADATA}" if kept else ""
        if one.directory == 0 and one.tag not in _LAYOUT:
            found.say(f"{_name(one.tag)}{limit}")
        elif one.directory in TIFF_TAGS:  # EXIF and GPS
            found.say(f"EXIF tag {one.tag} of {one.size} bytes, over the limit of {limits.MAX_METADATA}")


def _name(tag: int) -> str:
    from PIL import TiffTags

    if tag in _BLOCKS:
        return _BLOCKS[tag]
    if tag in _NAMES:
        return f"GeoTIFF tag {_NAMES[tag]}"
    known = _OTHERS.get(tag) or TiffTags.lookup(tag).name
    return f"TIFF tag {tag}" if known == "unknown" else f"TIFF tag {known}"


def _colour(tags: Any, found: Found) -> None:
    """Keep white point, primaries and transfer function as an ICC profile, unless there is one."""
    stated = [tag for tag in (_TRANSFER, _WHITE, _PRIMARIES) if tag in tags]
    if found.icc or not stated:
        return
    try:
        gray = tags.get(_PHOTOMETRIC) in (0, 1)
        if not gray and (_WHITE in tags) != (_PRIMARIES in tags):
            raise ValueError("white point and primaries need each other")
        values = [float(value) for value in tags.get(_PRIMARIES, ())]
        primaries = list(zip(values[::2], values[1::2], strict=True)) or colour.SRGB_PRIMARIES
        x, y = (float(value) for value in tags.get(_WHITE, colour.D65))
        curves: list[colour.Curve] = [2.2]  # TIFF's default
        if _TRANSFER in tags:
            curves = list(np.array(tags[_TRANSFER], np.uint16).reshape(-1, 1 << tags.get(_BITS, (8,))[0]))
        if len(primaries) != 3 or len(curves) not in (1, 3):
            raise ValueError("wrong number of values")
        found.keep(*colour.measured((x, y), primaries, curves, gray=gray), "colour")
    except (ValueError, TypeError, ArithmeticError):
        found.say("colour (WhitePoint, PrimaryChromaticities, TransferFunction)")
