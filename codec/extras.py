"""The error for an optional library that is not installed. It says what to install."""

from __future__ import annotations

from codec.errors import MissingExtra


def missing(library: str, extra: str) -> MissingExtra:
    """Return the error to raise if `library` cannot be imported.

    Its message says in one line what to install.
    """
    return MissingExtra(f"{library} is not installed: pip install 'codec[{extra}]'", name=library)
