"""TGA: the identification and the extension area."""

from __future__ import annotations

from typing import Any, BinaryIO

from codec.pictures.containers.found import Found, read_at, size_of

_TEXTS = {"author": (2, 41), "comments": (43, 324), "job": (379, 41), "software": (426, 41)}
"""Start and length of texts in the extension area."""

_NUMBERS = {
    "time": (367, 12), "working time": (420, 6), "key colour": (470, 4), "aspect ratio": (474, 4),
    "gamma": (478, 4), "colour correction": (482, 4),
}


def read(file: BinaryIO, image: Any, found: Found) -> None:
    if image.info.get("id_section", b"").strip(b"\0 "):
        found.say("TGA identification")
    footer = read_at(file, size_of(file) - 26, 26)
    if footer[8:24] != b"TRUEVISION-XFILE":
        return
    at, developer = (int.from_bytes(footer[start : start + 4], "little") for start in (0, 4))
    if developer:
        found.say("TGA developer area")
    area = read_at(file, at, 495) if at else b""
    for name, (start, length) in (_TEXTS | _NUMBERS).items():
        content = area[start : start + length]
        if name in ("gamma", "aspect ratio") and content[:2] == content[2:]:
            continue  # 1, or not stated
        if content.strip(b"\0 "):
            found.say(f"TGA {name}")
