"""What all sources share: items, the interface for packing, names as text, extensions."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from codec.api import EXTENSION
from codec.pictures.formats import picture_suffixes


@dataclasses.dataclass
class Item:
    """One picture of a source, with its name and columns."""

    path: str | None
    """Name of the picture in the source."""
    load: Callable[[], Any]
    """Returns the bytes of the picture's file, or a picture that `codec.compress` takes. Raises the
    error that makes the picture a bad one."""
    columns: dict[str, Any]


class Source(Protocol):
    """The interface of a source for packing."""

    column: str
    """Name of the column of pictures."""
    fields: list[Any] | None
    """Fields of the other columns, as pyarrow defines them; None if they are not known in
    advance."""
    features: dict[str, Any]
    """Hugging Face's description of some of these columns."""
    ignored: list[str]
    """Files that are not pictures by name, folders that are not entered, and why."""
    notes: list[str]
    """How the source was understood where this is not obvious, and what of it is not kept."""

    def count(self) -> int | None:
        """Return the total number of items; None if it is not known."""

    def digest(self, start: int, stop: int) -> str:
        """Return a digest of the names and sizes of a range of items; "" if there is none."""

    def items(self, start: int, stop: int) -> Iterator[Item]:
        """Yield a range of items, which is shorter at the end of the source."""


CAMERA_RAW = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef", ".nrw",
    ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
})
_OTHERS = frozenset({".dcm", ".exr", ".jxl", ".jxr", ".psb", ".wdp", ".xcf"})
"""Extensions of other pictures that cannot be read."""


def listed_suffixes() -> frozenset[str]:
    """Return the extensions of files that are pictures, whether or not they can be read.

    A picture that cannot be read is a bad picture, with the reason. It is not ignored.
    """
    return picture_suffixes() | CAMERA_RAW | _OTHERS | {EXTENSION}


def suffix_of(name: str) -> str:
    """Return the extension of a file name in lower case, with its dot; "" if there is none."""
    return os.path.splitext(name)[1].lower()


def as_text(name: str) -> str:
    """Return a file name as text. Bytes that are not UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def listed(names: list[str]) -> str:
    """Return the first names as one text for a message, and how many more there are."""
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
