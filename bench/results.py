"""The records of a benchmark, one JSON object a line, so that a killed run goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = "records.jsonl"

Record = dict[str, Any]
"""A measurement: `codec`, `version`, `machine`, `setting`, `picture` (a digest of its pixels), and either
`bytes`, `encode_s`, `decode_s` (seconds by number of cores), `mse`, `psnr_rgb`, `psnr_y`, `ms_ssim`,
`ms_ssim_db`, `ssimulacra2`; or `memory` (MiB to encode and decode); or `error`."""

Key = tuple[Any, ...]

_IDENTITY = ("codec", "version", "machine", "setting", "picture")


def key(record: Record) -> Key:
    """What makes two records the same measurement."""
    return (*(record[name] for name in _IDENTITY), "memory" in record)


class Store:
    """The records in a folder. Later records replace earlier ones of the same key."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        self.records: dict[Key, Record] = {}
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        """Lines that a kill cut short are dropped; the file is ended so that the next line is whole."""
        data = self.path.read_bytes()
        for line in data.decode("utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                self.records[key(record)] = record
            except (ValueError, TypeError, KeyError):
                continue
        if data and not data.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")

    def done(self, identity: Record) -> bool:
        """Whether this was measured; a failure is tried again."""
        record = self.records.get(key(identity))
        return record is not None and "error" not in record

    def add(self, record: Record) -> None:
        """Keep a record and write it out at once."""
        self.records[key(record)] = record
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def get(self, identity: Record) -> Record | None:
        """The record of a measurement, if there is one."""
        return self.records.get(key(identity))
