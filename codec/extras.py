"""Libraries that are not installed with the package, and what to install for them."""

from __future__ import annotations

from codec.errors import MissingExtra


def missing(library: str, extra: str) -> MissingExtra:
    """The error to raise where `library` cannot be imported: it says in one line what to install."""
    return MissingExtra(f"{library} is not installed: pip install 'codec[{extra}]'", name=library)
