"""EXIF: a small one for what files state elsewhere, and the orientation of one that exists."""

from __future__ import annotations

import fractions
import re
from typing import Any

from codec.pictures.containers.found import Resolution

_EXIF_IFD, _USER_COMMENT, _ORIENTATION = 0x8769, 0x9286, 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _UNIT = 0x011A, 0x011B, 0x0128
_INCH, _CENTIMETRE = 2, 3

TEXTS = {
    "Description": 0x010E, "Software": 0x0131, "Author": 0x013B, "Copyright": 0x8298, "Title": 0x9C9B,
    "Comment": 0x9C9C, "parameters": _USER_COMMENT,
}
"""EXIF tags of texts, by the keyword that PNG has for them.

`parameters` is the text of image generators, which is the user comment in their JPEG files. Title
and comment are the tags that Windows reads (XPTitle, XPComment).
"""

_WIDE = (0x9C9B, 0x9C9C)
"""Tags in UTF-16. The others are ASCII, except the user comment, which states its encoding."""

_ENCODINGS = {b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16-be"}
"""Encodings of the user comment, by its first eight bytes."""


def small(resolution: Resolution | None, texts: dict[str, str]) -> bytes | None:
    """Return an EXIF with the resolution and those texts that come back exactly; None if empty."""
    import PIL.Image

    exif = PIL.Image.Exif()
    if resolution is not None:
        exif[_X_RESOLUTION], exif[_Y_RESOLUTION] = resolution.x, resolution.y
        exif[_UNIT] = resolution.unit
    for keyword, text in texts.items():
        tag, content = TEXTS[keyword], _stored(TEXTS[keyword], text)
        if content is not None and tag == _USER_COMMENT:
            exif[_EXIF_IFD] = {tag: content}
        elif content is not None:
            exif[tag] = content
    return exif.tobytes().removeprefix(b"Exif\0\0") if len(exif) else None


def stated(exif: bytes) -> tuple[Resolution | None, dict[str, str]]:
    """Return the resolution and the texts of an EXIF; nothing if it cannot be read."""
    found = _tags(exif)
    resolution = None
    try:
        x, y = (_fraction(found.get(tag)) for tag in (_X_RESOLUTION, _Y_RESOLUTION))
        unit = found.get(_UNIT) or _INCH
        if unit in (_INCH, _CENTIMETRE) and min(x, y) > 0:
            resolution = Resolution(x, y, unit)
    except (TypeError, ValueError, ArithmeticError):
        pass
    texts = {keyword: _text(tag, found.get(tag)) for keyword, tag in TEXTS.items()}
    return resolution, {keyword: text for keyword, text in texts.items() if text}


def is_small(exif: bytes) -> bool:
    """Whether an EXIF holds nothing but what `small` writes."""
    known = {*TEXTS.values(), _X_RESOLUTION, _Y_RESOLUTION, _UNIT, _EXIF_IFD}
    found = _tags(exif)
    return bool(found) and found.keys() <= known


def upright(exif: bytes) -> bytes:
    """Return an EXIF whose orientation is 1. Nothing else is changed, not even its place."""
    order = "little" if exif[:2] == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(exif[at : at + length], order)  # type: ignore[arg-type]

    start = number(4, 4)
    for at in range(start + 2, min(start + 2 + 12 * number(start, 2), len(exif) - 11), 12):
        if number(at, 2) == _ORIENTATION and number(at + 2, 2) == 3 and number(at + 4, 4) == 1:
            one = (1).to_bytes(2, order)  # type: ignore[arg-type]
            return exif[: at + 8] + one + exif[at + 10 :]
    return exif


def upright_xmp(xmp: bytes) -> bytes:
    """Return XMP that states an orientation of 1, if it states one."""
    return re.sub(rb"""(tiff:Orientation(?:\s*=\s*["']|>))\s*[2-8]""", rb"\g<1>1", xmp)


def _tags(exif: bytes) -> dict[int, Any]:
    """Return the tags of IFD 0 and of the EXIF IFD."""
    import PIL.Image

    found = PIL.Image.Exif()
    try:
        found.load(exif)
        return {**dict(found), **found.get_ifd(_EXIF_IFD)}
    except Exception:  # Pillow's reader of EXIF raises many kinds of exceptions
        return {}


def _fraction(value: Any) -> fractions.Fraction:
    if hasattr(value, "numerator") and hasattr(value, "denominator"):  # Pillow's rational
        return fractions.Fraction(int(value.numerator), int(value.denominator))
    return fractions.Fraction(value).limit_denominator(1 << 16)


def _stored(tag: int, text: str) -> str | bytes | None:
    """Return the value of a tag, or None if the text would not come back exactly."""
    content: str | bytes = text
    if tag in _WIDE:
        content = text.encode("utf-16-le", "surrogatepass") + bytes(2)
    elif tag == _USER_COMMENT:
        code = b"ASCII\0\0\0" if text.isascii() else b"UNICODE\0"
        content = code + text.encode(_ENCODINGS[code])
    return content if _text(tag, content) == text and "\0" not in text else None


def _text(tag: int, value: Any) -> str:
    """Return the text of a tag, or nothing if it is none."""
    if isinstance(value, str):
        return value if value.isascii() and tag not in (*_WIDE, _USER_COMMENT) else ""
    if not isinstance(value, bytes):
        return ""
    encoding = "utf-16-le" if tag in _WIDE else None
    if tag == _USER_COMMENT:
        encoding, value = _ENCODINGS.get(value[:8]), value[8:]
    try:
        return value.decode(encoding).rstrip("\0") if encoding else ""
    except UnicodeDecodeError:
        return ""
