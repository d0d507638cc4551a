"""What a picture file says beside its pixels: what is kept of it, and what is not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, BinaryIO

from codec.errors import NotKept
from codec.format.metadata import Metadata


def describe(image: Any, file: BinaryIO, kind: str) -> tuple[Metadata, list[str]]:
    """Return the metadata to keep of an opened PIL image, and names of what is not kept.

    `file` is the open file, and `kind` Pillow's name of its format.
    """
    return Metadata.of(image), []


def warn_not_kept(items: Sequence[str]) -> None:
    """Warn with one `NotKept` that lists all items. Without items, do nothing."""
    if items:
        warnings.warn(NotKept(f"not kept: {', '.join(items)}"), stacklevel=3)
