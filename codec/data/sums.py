"""Coordination of processes that pack into one folder: locks on shards, and digests of shards."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from codec.errors import FormatError
from codec.pictures.atomic import write_atomically

SUMS = "_SHA256SUMS"
"""File with the digests of the shards, in the format of `sha256sum -c`. Most readers ignore files
whose names start with _."""


def add_sum(folder: Path, name: str, fresh: bool) -> None:
    """Record the digest of a shard. If the shard is `fresh`, an older digest is replaced.

    Several processes may call this at the same time.
    """
    with _locked(folder):
        sums = read_sums(folder)
        if name in sums and not fresh:
            return
        with open(folder / name, "rb") as file:
            sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
        lines = "".join(f"{digest}  {shard}\n" for shard, digest in sorted(sums.items()))
        write_atomically(folder / SUMS, lines.encode())


def read_sums(folder: Path) -> dict[str, str]:
    """Return the recorded digest of each shard, by name."""
    try:
        lines = (folder / SUMS).read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a lock. Raises `FormatError` if another process has it.

    A lock file that a killed process left behind does not block other processes.
    """
    with open(path, "wb") as file:
        # The process that had the lock may have removed the file after it was opened here.
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
    """Wait for the lock on a folder, and hold it."""
    number = os.open(folder, os.O_RDONLY)
    try:
        _lock(number, wait=True)
        yield
    finally:
        os.close(number)


def _lock(number: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed. Return whether this succeeded."""
    try:
        import fcntl
    except ImportError:  # not on this system: simultaneous processes are not detected
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
