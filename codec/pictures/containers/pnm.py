"""Netpbm (PBM, PGM and PPM): comments in the header, and in the samples of files of text."""

from __future__ import annotations

import re
from typing import Any, BinaryIO

from codec import limits
from codec.pictures.containers.found import Found, read_at, text_of

_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+\d+"
_HEADERS = {kind: re.compile(kind + count * _NUMBER) for kind, count in ((b"P4", 2), (b"P5", 3), (b"P6", 3))}
"""Width and height, and the largest sample, each after space and comments."""
_COMMENT = re.compile(rb"#([^\r\n]*)")

_MAX_HEADER = 1 << 16


def read(file: BinaryIO, image: Any, found: Found) -> None:
    """Keep the comments of a Netpbm file, one a line."""
    kind = read_at(file, 0, 2)
    header = _HEADERS.get(kind)
    data = read_at(file, 0, _MAX_HEADER if header else limits.MAX_METADATA)
    if header:
        match = header.match(data)
        data = match[0] if match else b""
    lines = [one[1].strip() for one in _COMMENT.finditer(data)]
    content = b"\n".join(line for line in lines if line)
    if content:
        found.keep_text("Comment", text_of(content), "comment")
