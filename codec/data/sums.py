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

NO_LOCKS = "the file system has no locks: do not pack into this folder from several processes at once"


def add_sum(folder: Path, name: str, fresh: bool) -> None:
    """Record the digest of a shard. If the shard is `fresh`, an older digest is replaced.

    Several processes may call this at the same time, if the file system has locks.
    """
    with only_one(folder / f".{SUMS}.lock", wait=True):
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
def only_one(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a lock. Raises `FormatError` if another process has it, unless told to `wait` for it.

    Yields whether there are locks at all: some file systems and systems have none, and then other
    processes are not noticed. A lock file that a killed process left behind does not block other
    processes.
    """
    while True:
        file = open(path, "wb")  # noqa: SIM115
        try:
            locks = _lock(file.fileno(), wait=wait)
        except BlockingIOError:
            file.close()
            raise FormatError(f"{path.name[1:-5]} is being written by another process") from None
        if not locks or _is_at(file.fileno(), path):
            break
        file.close()  # the process that had the lock removed the file after it was opened here
    try:
        yield locks
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        file.close()
        if os.name == "nt":  # where an open file cannot be removed
            path.unlink(missing_ok=True)


def _is_at(number: int, path: Path) -> bool:
    """Return whether an open file is still the one with this name."""
    try:
        return os.path.samestat(os.fstat(number), os.stat(path))
    except OSError:
        return False


def _lock(number: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed. Return False if there are no locks.

    Raises `BlockingIOError` if another process has the lock.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
