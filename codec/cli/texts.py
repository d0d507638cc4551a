"""Numbers, names and errors as the command line shows them."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from codec.errors import CodecError

_PACKAGE = Path(__file__).parents[1]

EXPECTED = (CodecError, OSError, ValueError, RuntimeError, MemoryError)
"""Errors of the input, the arguments or the machine. All others are errors of this package."""


def on_one_line(text: str) -> str:
    """Escape control characters, so that a file name fits on one line: \\n for a newline, …"""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: repr(match[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun: "1 shard", "2 shards"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sized(count: float) -> str:
    """Return a number of bytes with its unit: "812 B", "3.21 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:,.3g} TB"


def reason(error: BaseException, name: str = "", expected: tuple[type[Exception], ...] = EXPECTED) -> str:
    """Return what an error says, on one line, without the `name` that is shown anyway."""
    if isinstance(error, OSError) and error.strerror:
        about = str(error.filename or "")
        text = error.strerror + (f": {about}" if about not in ("", name) else "")
    elif isinstance(error, expected):
        text = str(error) or type(error).__name__
    else:
        text = f"internal error: {type(error).__name__}: {error} ({_place(error)}); please report it"
    return on_one_line(" ".join(text.split()))


def _place(error: BaseException) -> str:
    """Return the innermost line of this package that an error came from: "cli/info.py:63"."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    frame = (ours or frames)[-1]
    path = Path(frame.filename)
    return f"{path.relative_to(_PACKAGE) if ours else path.name}:{frame.lineno}"
