"""Containers without a reader of their own: what Pillow found in them."""

from __future__ import annotations

import fractions
from typing import Any, BinaryIO

from codec.pictures import colour
from codec.pictures.containers.found import Found, printable, read_at

_LAYOUT = {
    "transparency", "compression", "loop", "duration", "version", "bpc", "sizes", "scale", "interlace",
    "orientation", "mode", "File size (no of images)", "Image size (x*y)", "Image type", "Lut", "mic",
}
"""Keys of `PIL.Image.Image.info` that describe pixels or frames."""


def read(file: BinaryIO, image: Any, found: Found) -> None:
    """Keep or say everything in the `info` of an image."""
    for key, value in image.info.items():
        if key in ("icc_profile", "exif", "xmp"):
            kind = "icc" if key == "icc_profile" else key
            found.keep(kind, value, kind.upper())
        elif key == "dpi":
            pair = value if isinstance(value, tuple) and len(value) == 2 else (value, value)
            x, y = (fractions.Fraction(part).limit_denominator(1000) for part in pair)
            found.keep_resolution(x, y, 2)
        elif key == "comment" and isinstance(value, (str, bytes)):
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            found.keep_text("Comment", text, f"{image.format} comment")
        elif key == "gamma" and isinstance(value, float) and abs(value - 1 / 2.2) < 0.01:
            found.cicp = found.cicp or colour.SRGB
        elif key not in _LAYOUT:
            found.say(f"{image.format} {printable(str(key))!r}")
    if image.format == "QOI" and read_at(file, 13, 1) == b"\1":
        found.icc = colour.profile(colour.D65, colour.SRGB_PRIMARIES, [1.0])
