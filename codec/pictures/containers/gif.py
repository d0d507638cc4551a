"""GIF: comments and application extensions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from codec.pictures.containers.found import Found, printable, read_at, say_rest, size_of, text_of

_LAYOUT = {b"NETSCAPE2.0", b"ANIMEXTS1.0"}
"""Application extensions with the number of repetitions of an animation."""

_MAGIC = b"\1\xff\xfe\xfd"
"""Begin of the bytes after an XMP packet that make it a chain of sub-blocks."""

_END = -1
"""Label of what follows the last block."""

_MAX_BLOCKS = 1 << 18


def read(file: BinaryIO, image: Any, found: Found) -> None:
    for label, start, end in _extensions(file):
        if label == _END:
            say_rest(file, start, found)
        elif label == 0xFE:
            content = _joined(file, start, end).removesuffix(b"\0")
            found.keep_text("Comment", text_of(content), "GIF comment")
        elif label == 0x01:
            found.say("GIF plain text")
        elif label == 0xFF:
            _application(file, start, end, found)
        elif label != 0xF9:  # duration and transparency
            found.say(f"GIF extension {label}")
    aspect = read_at(file, 12, 1)
    if aspect not in (b"", b"\0", b"\x31"):  # 0x31 is 1:1
        found.say(f"pixels of the aspect ratio {(aspect[0] + 15) / 64:.3g} (GIF)")


def _extensions(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Yield the label of each extension, and where its sub-blocks begin and end; at last `_END`."""
    size = size_of(file)
    flags = (read_at(file, 10, 1) or b"\0")[0]
    at = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    for _ in range(_MAX_BLOCKS):
        head = read_at(file, at, 10)
        if head[:1] == b"\0":  # the second end of an XMP packet
            at += 1
        elif head[:1] == b"!" and len(head) > 2:
            end = _after_blocks(file, at + 2, size)
            yield head[1], at + 2, end
            at = end
        elif head[:1] == b"," and len(head) == 10:
            palette = 3 << (head[9] & 7) + 1 if head[9] & 128 else 0
            at = _after_blocks(file, at + 11 + palette, size)
        else:
            if head[:1] == b";":
                yield _END, at + 1, size
            return
    raise ValueError(f"more than {_MAX_BLOCKS} blocks")


def _after_blocks(file: BinaryIO, at: int, size: int) -> int:
    """Return the position after a chain of sub-blocks."""
    while at < size:
        piece = read_at(file, at, 1 << 16)
        inside = 0
        while inside < len(piece):
            length = piece[inside]
            inside += 1 + length
            if length == 0:
                return at + inside
        at += inside
    return size


def _joined(file: BinaryIO, start: int, end: int) -> bytes:
    """Return the contents of a chain of sub-blocks."""
    data, at, parts = read_at(file, start, end - start), 0, []
    while at < len(data) and data[at]:
        parts.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(parts)


def _application(file: BinaryIO, start: int, end: int, found: Found) -> None:
    head = read_at(file, start, 12)
    name = head[1 : 1 + head[0]] if head else b""
    if name == b"ICCRGBG1012":
        found.keep("icc", _joined(file, start + 12, end), "ICC profile")
    elif name == b"XMP DataXMP":
        packet, magic, _ = read_at(file, start + 12, end - start - 12).rpartition(_MAGIC)
        found.keep("xmp", packet if magic else _joined(file, start + 12, end), "XMP")
    elif name in (b"MGK8BIM0000", b"MGKIPTC0000"):
        found.say("IPTC")
    elif name not in _LAYOUT:
        found.say(f"GIF application {printable(name)!r}")
