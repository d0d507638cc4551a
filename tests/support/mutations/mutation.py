"""What a mutation is, and how the modules of this package list them."""

from __future__ import annotations

import dataclasses

NEVER = "if False:"
"""Replaces the condition of a check."""


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One edit of one file that makes the package worse."""

    name: str
    file: str
    """Path below `codec/`."""
    old: str
    """Text to replace. It occurs exactly once in the file."""
    new: str
    targets: tuple[str, ...]
    """Tests below `tests/`, one of which must fail."""


def of(file: str, *rows: tuple[str, str, str, str]) -> list[Mutation]:
    """Mutations of one file, from rows of name, old text, new text and targets with spaces."""
    return [Mutation(name, file, old, new, tuple(targets.split())) for name, old, new, targets in rows]
