"""PNG: chunks, and the profiles that ImageMagick writes as text."""

from __future__ import annotations

import fractions
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from codec.pictures import colour
from codec.pictures.containers import photoshop
from codec.pictures.containers.found import Found, inflated, printable, read_at, say_rest, size_of
from codec.pictures.exif import TEXTS

_LAYOUT = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT",
    b"iDOT",  # offsets that speed up decoding
}
"""Chunks that describe pixels or frames."""

_NAMES = {
    b"mDCV": "mastering display (mDCV)", b"cLLI": "light levels (cLLI)", b"mDCv": "mastering display (mDCv)",
    b"cLLi": "light levels (cLLi)", b"bKGD": "background colour (bKGD)", b"hIST": "histogram (hIST)",
    b"sPLT": "suggested palette (sPLT)", b"tIME": "time of the last change (tIME)", b"oFFs": "offset (oFFs)",
    b"pCAL": "calibration (pCAL)", b"sCAL": "physical scale (sCAL)", b"sTER": "stereo layout (sTER)",
    b"caBX": "content credentials (caBX)",
}

_INTENTS = ("perceptual", "relative colorimetric", "saturation", "absolute colorimetric")

_XMP, _PROFILE = "XML:com.adobe.xmp", "Raw profile type "
_MAX_CHUNKS = 1 << 18


def read(file: BinaryIO, image: Any, found: Found) -> None:
    colours: dict[bytes, bytes] = {}
    for kind, start, length in _chunks(file):
        if kind == b"IEND":
            say_rest(file, start + length + 4, found)
        elif kind in _LAYOUT:
            continue
        elif kind in (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"pHYs"):
            colours.setdefault(kind, read_at(file, start, min(length, 64)))
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            _text(kind, read_at(file, start, length), found)
        elif kind == b"iCCP":
            _profile(read_at(file, start, length), found)
        elif kind == b"eXIf":
            found.keep("exif", read_at(file, start, length), "EXIF")
        else:
            found.say(_NAMES.get(kind) or f"PNG chunk {printable(kind)!r}")
    _colour(colours, read_at(file, 25, 1) in (b"\0", b"\4"), found)
    _resolution(colours.get(b"pHYs"), found)
    bits = colours.get(b"sBIT", b"")
    depth = 8 if image.mode == "P" else read_at(file, 24, 1)[0]
    if any(value != depth for value in bits):
        found.say("significant bits (sBIT)")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk, and the position and length of its data."""
    end, at = size_of(file), 8
    for _ in range(_MAX_CHUNKS):
        head = read_at(file, at, 8)
        if len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        if at + 8 + length > end:
            return
        yield head[4:], at + 8, length
        at += 12 + length
        if head[4:] == b"IEND":
            return
    raise ValueError(f"more than {_MAX_CHUNKS} chunks")


def _colour(chunks: dict[bytes, bytes], gray: bool, found: Found) -> None:
    """Keep what the third edition of PNG prefers: cICP and iCCP, then sRGB, then gAMA and cHRM."""
    cicp = chunks.get(b"cICP")
    if cicp is not None:
        if len(cicp) == 4 and cicp[2] == 0 and cicp[3] <= 1:
            found.keep("cicp", cicp, "cICP")
        else:
            found.say("cICP that is not valid")
    if found.cicp or found.icc:
        return
    if b"sRGB" in chunks:
        found.cicp = colour.SRGB
        intent = (chunks[b"sRGB"] or b"\0")[0]
        if 0 < intent < len(_INTENTS):
            found.say(f"rendering intent {_INTENTS[intent]}")
        return
    curve: colour.Curve = colour.SRGB_CURVE
    white, primaries = colour.D65, colour.SRGB_PRIMARIES
    try:
        if b"gAMA" in chunks:
            (value,) = struct.unpack(">I", chunks[b"gAMA"])
            curve = 1e5 / value
        if b"cHRM" in chunks:
            values = [value / 1e5 for value in struct.unpack(">8I", chunks[b"cHRM"])]
            white, *primaries = zip(values[::2], values[1::2], strict=True)
        if b"gAMA" in chunks or b"cHRM" in chunks:
            found.keep(*colour.measured(white, primaries, [curve], gray=gray), "colour")
    except (struct.error, ValueError, ArithmeticError):
        found.say("colour (gAMA, cHRM) that is not valid")


def _profile(data: bytes, found: Found) -> None:
    _, _, rest = data.partition(b"\0")
    try:
        found.keep("icc", inflated(rest[1:]), "ICC profile")
    except ValueError:
        found.say("ICC profile that cannot be read")


def _resolution(chunk: bytes | None, found: Found) -> None:
    if chunk is None:
        return
    if len(chunk) != 9 or chunk[8] > 1:
        found.say("resolution (pHYs) that is not valid")
        return
    x, y = struct.unpack(">II", chunk[:8])
    if chunk[8] == 1:
        found.keep_resolution(fractions.Fraction(x, 100), fractions.Fraction(y, 100), 3)
    elif x != y:
        found.say(f"pixels of the aspect ratio {y}:{x} (pHYs)")


def _text(kind: bytes, data: bytes, found: Found) -> None:
    """Keep a text that EXIF has a place for, and metadata that was written as text."""
    keyword, _, rest = data.partition(b"\0")
    key = keyword.decode("latin-1")
    name = f"PNG text {printable(key)!r}"
    if key != _XMP and key not in TEXTS and not key.startswith(_PROFILE):
        found.say(name)
        return
    try:
        if kind == b"iTXt":
            packed, (language, translated, text) = rest[0], rest[2:].split(b"\0", 2)
            content = (inflated(text) if packed else text).decode()
            if language or translated:
                found.say(f"language of {name}")
        else:
            content = (inflated(rest[1:]) if kind == b"zTXt" else rest).decode("latin-1")
    except (ValueError, IndexError):
        found.say(f"{name} that cannot be read")
        return
    if key == _XMP:
        found.keep("xmp", content.encode(), "XMP")
    elif key.startswith(_PROFILE):
        _raw_profile(key.removeprefix(_PROFILE).lower(), content, name, found)
    else:
        found.keep_text(key, content, name)


def _raw_profile(kind: str, content: str, name: str, found: Found) -> None:
    """Keep a profile that is a text of its name, its length and hexadecimal digits."""
    match = re.fullmatch(r"\s*(\S+)\s+(\d+)\s+([0-9a-fA-F\s]*)", content)
    data = bytes.fromhex(match[3]) if match and len("".join(match[3].split())) % 2 == 0 else b""
    if not match or len(data) != int(match[2][:12]):
        found.say(f"{name} that cannot be read")
    elif kind in ("exif", "app1") and not data.startswith(b"http://"):
        found.keep("exif", data, "EXIF")
    elif kind in ("xmp", "app1"):
        found.keep("xmp", data.removeprefix(b"http://ns.adobe.com/xap/1.0/\0"), "XMP")
    elif kind in ("icc", "icm"):
        found.keep("icc", data, "ICC profile")
    elif kind in ("iptc", "8bim"):
        found.lost += [item for item in photoshop.names(data) or ["IPTC"] if item not in found.lost]
    else:
        found.say(name)
