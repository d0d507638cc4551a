"""What processes that pack into one folder have to agree on: who writes a shard, and the shards' digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from codec.errors import FormatError
from codec.pictures.atomic import write_atomically

SUMS = "_SHA256SUMS"
"""Digests of the shards, as `sha256sum -c` reads them. To most readers a name with _ in front is no data."""


def add_sum(folder: Path, name: str, fresh: bool) -> None:
    """Note a shard's digest, in place of an older one if it is `fresh`; other processes may do the same."""
    with _locked(folder):
        sums = read_sums(folder)
        if name in sums and not fresh:
            return
        with open(folder / name, "rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
        lines = "".join(f"{digest}  {shard}\n" for shard, digest in sorted(sums.items()))
        write_atomically(folder / SUMS, lines.encode())


def read_sums(folder: Path) -> dict[str, str]:
    """Digest of each shard that has one."""
    try:
        lines = (folder / SUMS).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock; `FormatError` if another process has it. What a killed process leaves does not lock."""
    with open(path, "wb") as file:
        # Who had the lock may have removed the file since it was opened here.
        held = _lock(file.fileno(), wait=False) and path.exists()
        if not held or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise FormatError(f"{path.name[1:-5]} is being written by another process")
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for the lock of a folder, and hold it."""
    number = os.open(folder, os.O_RDONLY)
    try:
        _lock(number, wait=True)
        yield
    finally:
        os.close(number)


def _lock(number: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed; whether that could be done."""
    try:
        import fcntl
    except ImportError:  # not on this system, where two at once are not noticed
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
