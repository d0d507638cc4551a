"""AVIF and HEIC: items and their properties. Pillow reads the items with EXIF and XMP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from codec.pictures.containers.boxes import boxes, keep_code_points
from codec.pictures.containers.found import Found, printable, read_at, size_of

_LAYOUT = {
    b"ispe", b"pixi", b"irot", b"imir", b"clap", b"av1C", b"hvcC", b"avcC", b"vvcC", b"j2kH", b"jpgC",
    b"a1op", b"a1lx", b"lsel", b"lhvC", b"tols", b"oinf", b"rref", b"rloc", b"uncC", b"cmpd", b"cmpC",
}
"""Properties that describe the pixels or how they are decoded."""

_NAMES = {
    b"clli": "light levels (clli)", b"mdcv": "mastering display (mdcv)", b"amve": "viewing conditions (amve)",
    b"cclv": "colour volume (cclv)", b"ndwt": "nominal diffuse white (ndwt)",
    b"reve": "reference viewing conditions (reve)", b"udes": "description (udes)", b"altt": "text (altt)",
    b"crtt": "creation time (crtt)", b"mdft": "modification time (mdft)",
}

_ALPHA = (
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1",
    b"urn:mpeg:avc:2015:auxid:1",
)
_AUXILIARY = {
    b"urn:mpeg:hevc:2015:auxid:2": "depth map",
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:depth": "depth map",
    b"urn:com:apple:photo:2020:aux:hdrgainmap": "gain map",
}

_PICTURES = {
    b"av01", b"hvc1", b"grid", b"avc1", b"jpeg", b"j2k1", b"iden", b"iovl", b"unci", b"vvc1", b"lhv1",
}
_EXIF, _MIME, _XMP = b"Exif", b"mime", b"application/rdf+xml"


def read(file: BinaryIO, image: Any, found: Found) -> None:
    found.keep("exif", image.info.get("exif"), "EXIF")
    found.keep("xmp", image.info.get("xmp"), "XMP")
    for kind, start, end in boxes(file, 0, size_of(file)):
        if kind == b"meta":
            _meta(file, start + 4, end, found)
        elif kind == b"uuid":
            found.say(f"UUID box {read_at(file, start, 16).hex()}")
        elif kind == b"mpvd":
            found.say("motion photo (video)")
        elif kind not in (b"ftyp", b"mdat", b"moov", b"free", b"skip", b"mini", b"moof", b"sidx"):
            found.say(f"box {printable(kind)!r}")


def _meta(file: BinaryIO, at: int, end: int, found: Found) -> None:
    parts = {kind: (start, stop) for kind, start, stop in boxes(file, at, end)}
    items = dict(_items(file, *parts[b"iinf"])) if b"iinf" in parts else {}
    primary = None
    if b"pitm" in parts:
        data = read_at(file, parts[b"pitm"][0], 8)
        primary = int.from_bytes(data[4 : 8 if data[:1] == b"\1" else 6], "big")
    properties: list[tuple[bytes, bytes]] = []
    owners: dict[int, set[int]] = {}
    if b"iprp" in parts:
        for kind, start, stop in boxes(file, *parts[b"iprp"]):
            if kind == b"ipco":
                places = boxes(file, start, stop)
                properties = [(name, read_at(file, first, last - first)) for name, first, last in places]
            elif kind == b"ipma":
                owners = _owners(read_at(file, start, stop - start))
    for number, (name, data) in enumerate(properties, 1):
        mine = primary in owners.get(number, ()) or number not in owners
        _property(name, data, mine, found)
    _name_items(file, parts, items, found)


def _property(name: bytes, data: bytes, mine: bool, found: Found) -> None:
    if name == b"auxC":
        kind = data[4:].split(b"\0")[0]
        if kind not in _ALPHA:
            found.say(_AUXILIARY.get(kind) or f"auxiliary picture {printable(kind)!r}")
    elif not mine:
        return
    elif name == b"colr" and data[:4] == b"nclx":
        keep_code_points(data[4:], found)
    elif name == b"colr" and data[:4] in (b"prof", b"rICC"):
        found.keep("icc", data[4:], "ICC profile")
    elif name == b"pasp":
        if data[:4] != data[4:8]:
            x, y = (int.from_bytes(data[start : start + 4], "big") for start in (0, 4))
            found.say(f"pixels of the aspect ratio {x}:{y} (pasp)")
    elif name not in _LAYOUT:
        found.say(_NAMES.get(name) or f"property {printable(name)!r}")


def _name_items(
    file: BinaryIO, parts: dict[bytes, tuple[int, int]], items: dict[int, tuple[bytes, bytes]], found: Found
) -> None:
    """Say which items are not kept, apart from the pictures, which `reading` counts."""
    for kind, content in items.values():
        if kind == b"tmap":
            found.say("gain map")
        elif kind == _EXIF:
            if not found.exif:
                found.say("EXIF that cannot be read")
        elif kind == _MIME and content == _XMP:
            if not found.xmp:
                found.say("XMP that cannot be read")
        elif kind not in _PICTURES:
            found.say(f"item {printable(content or kind)!r}")
    if b"iref" in parts:
        start, end = parts[b"iref"]
        if any(kind == b"thmb" for kind, _, _ in boxes(file, start + 4, end)):
            found.say("thumbnail")


def _items(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """Yield number, type and content type of each item."""
    version = (read_at(file, at, 1) or b"\0")[0]
    for kind, start, stop in boxes(file, at + (6 if version == 0 else 8), end):
        data = read_at(file, start, min(stop - start, 1 << 12))
        if kind == b"infe" and data[:1] in (b"\2", b"\3"):
            wide = 4 if data[0] == 3 else 2
            names = data[10 + wide :].split(b"\0")
            content = names[1] if len(names) > 1 and data[6 + wide : 10 + wide] == _MIME else b""
            yield int.from_bytes(data[4 : 4 + wide], "big"), (data[6 + wide : 10 + wide], content)


def _owners(data: bytes) -> dict[int, set[int]]:
    """Return the items that each property, counted from 1, belongs to."""
    found: dict[int, set[int]] = {}
    wide_item, wide_property = data[:1] != b"\0", bool(data[3:4] and data[3] & 1)
    at = 8
    for _ in range(int.from_bytes(data[4:8], "big")):
        size = 4 if wide_item else 2
        if at + size >= len(data):
            break
        item = int.from_bytes(data[at : at + size], "big")
        count, at = data[at + size], at + size + 1
        for _ in range(count):
            entry = data[at : at + 1 + wide_property]
            number = int.from_bytes(entry, "big") & (0x7FFF if wide_property else 0x7F)
            found.setdefault(number, set()).add(item)
            at += 1 + wide_property
    return found
