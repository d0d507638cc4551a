"""What packing has done: counts, bad pictures, what was not kept."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from codec.data.layout import Account
from codec.pictures.atomic import write_atomically


@dataclasses.dataclass
class Report:
    """The results of packing: totals, and for speed and time left the counts of this call."""

    pictures: int = 0
    """Number of pictures in the shards, without bad pictures."""
    shards: int = 0
    skipped: int = 0
    """Number of these shards that existed before."""
    pixels: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    failures: list[dict[str, str]] = dataclasses.field(default_factory=list)
    """`path` and `error` of each bad picture."""
    notes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Notes on what was not kept, with the number of pictures for each note; 0 for a note on the
    whole source or folder."""
    ignored: list[str] = dataclasses.field(default_factory=list)
    """Files that are not pictures by name."""
    done: int = 0
    """Number of items of the source that this call has processed."""
    to_do: int | None = None
    """Number of items that this call will process; None if it is not known."""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def add(self, account: Account) -> None:
        self.shards += 1
        self.pictures += account.items - len(account.failures)
        self.pixels += account.pixels
        self.bytes_in += account.bytes_in
        self.bytes_out += account.bytes_out
        self.failures += account.failures
        for note, count in account.notes.items():
            self.notes[note] = self.notes.get(note, 0) + count


def write_report(report: Report, path: str | os.PathLike[str]) -> None:
    """Write the report as JSON."""
    write_atomically(path, (json.dumps(report.as_dict(), indent=1) + "\n").encode())
