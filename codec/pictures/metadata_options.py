"""How the metadata of a picture gets into a file that Pillow writes."""

from __future__ import annotations

from typing import Any

from codec.format.metadata import Metadata
from codec.pictures import colour, exif

_XMP = 700
"""TIFF tag of XMP."""

DPI = {"BMP": 1 << 24, "JPEG": 65535, "PNG": 1 << 24}
"""Formats with a resolution beside EXIF, and the largest in pixels per inch that they hold."""


def of(name: str, metadata: Metadata) -> dict[str, Any]:
    """Return Pillow's options for the metadata, and for what else the format says of it."""
    options: dict[str, Any] = {}
    resolution, texts = exif.stated(metadata.exif) if metadata.exif else (None, {})
    if metadata.exif and not exif.is_small(metadata.exif):
        texts = {}  # they are where their file had them
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if metadata.exif and name not in ("TIFF", "BMP"):
        options["exif"] = b"Exif\0\0" + metadata.exif
    if resolution and max(resolution.dpi) <= DPI.get(name, 0):
        options["dpi"] = resolution.dpi
    elif name == "BMP":
        options["dpi"] = (0, 0)  # not stated; Pillow would state 96
    if name == "PNG":
        options["pnginfo"] = _png_chunks(metadata, texts)
    elif name == "TIFF":
        options["exif"] = _tiff_tags(metadata)
    elif metadata.xmp:
        options["xmp"] = metadata.xmp
    if name == "JPEG" and len(comment := texts.get("Comment", "").encode()) in range(1, 65_533):
        options["comment"] = comment
    return options


def _png_chunks(metadata: Metadata, texts: dict[str, str]) -> Any:
    """Return the chunks of a PNG file that Pillow does not write by itself."""
    import PIL.PngImagePlugin

    chunks = PIL.PngImagePlugin.PngInfo()
    if metadata.cicp:
        chunks.add(b"cICP", metadata.cicp)
        if metadata.cicp == colour.SRGB and not metadata.icc:
            chunks.add(b"sRGB", b"\0")
    if metadata.xmp:
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode())
    for keyword, text in texts.items():
        chunks.add_text(keyword, text)
    return chunks


def _tiff_tags(metadata: Metadata) -> Any:
    """Return the tags of EXIF and XMP."""
    import PIL.Image

    tags = PIL.Image.Exif()
    if metadata.exif:
        tags.load(metadata.exif)
    for tag, value in list(tags.items()):
        if isinstance(value, str):  # Pillow reads text as Latin-1, and would write only ASCII
            tags[tag] = value.encode("latin-1")
    if metadata.xmp:
        tags[_XMP] = metadata.xmp
    return tags


def with_code_points(avif: bytes, cicp: bytes) -> bytes:
    """Return the AVIF file with other primaries and transfer in its colour box."""
    at = avif.find(b"colrnclx") + 8
    points = b"".join(value.to_bytes(2, "big") for value in cicp[:2])
    return avif if at < 8 else avif[:at] + points + avif[at + 4 :]
