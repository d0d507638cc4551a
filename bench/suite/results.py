"""The records of a benchmark, one JSON object per line. A killed run can continue from them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = "records.jsonl"

Record = dict[str, Any]
"""A measurement.

Every record has `codec`, `version`, `machine`, `setting` and `picture` (a digest of the pixels). In
addition it has one of these: `bytes`, `encode_s`, `decode_s` (seconds by number of cores), `mse`,
`psnr_rgb`, `psnr_y`, `ms_ssim`, `ms_ssim_db` and `ssimulacra2`; or `memory` (MiB to encode and
decode); or `error`."""

Key = tuple[Any, ...]

_IDENTITY = ("codec", "version", "machine", "setting", "picture")


def key(record: Record) -> Key:
    """Key of a record. Records with equal keys are the same measurement."""
    return (*(record[name] for name in _IDENTITY), record.get("measures", 1), "memory" in record)


def _whole(record: Any) -> bool:
    """Whether a record has the fields that the summary needs."""
    if not isinstance(record, dict) or not all(name in record for name in _IDENTITY):
        return False
    if "error" in record:
        return isinstance(record["error"], str)
    if "memory" in record:
        return isinstance(record["memory"], dict)
    times = [record.get("encode_s"), record.get("decode_s")]
    numbers = [record.get("bytes"), record.get("mse")]
    for part in times:
        if not isinstance(part, dict) or not part:
            return False
        numbers += part.values()
    return all(isinstance(number, int | float) and number >= 0 for number in numbers)


class Store:
    """The records in a folder. A later record replaces an earlier one with the same key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self.records: dict[Key, Record] = {}
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        """Read the records. Lines that are cut off or are not records are dropped."""
        data = self.path.read_bytes()
        for line in data.decode("utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                if _whole(record):
                    self.records[key(record)] = record
            except (ValueError, TypeError, RecursionError):
                continue
        if data and not data.endswith(b"\n"):  # so that the next record starts on a new line
            with self.path.open("ab") as file:
                file.write(b"\n")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this run. Raises `ValueError` if another run holds the lock.

        Two runs at once would disturb each other's times and measure everything twice.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with self.path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ValueError(f"another benchmark is writing to {self.path.parent}") from None
            yield

    def done(self, identity: Record) -> bool:
        """Whether this was measured. A failure does not count, so it is tried again."""
        record = self.records.get(key(identity))
        return record is not None and "error" not in record

    def add(self, record: Record) -> None:
        """Add a record and write it to the file immediately."""
        self.records[key(record)] = record
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def get(self, identity: Record) -> Record | None:
        """The record of a measurement, or None."""
        return self.records.get(key(identity))
