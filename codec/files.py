"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# Reading it means setting it, which other threads would notice: once, at import.
_UMASK = _read_umask()


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` beside `path`, then rename it there; on any failure nothing is left behind.

    A symbolic link is followed: the file that it points to is replaced. An existing file keeps its
    permissions. A device or pipe is not replaced but written to. Only a process that is killed outright, or
    loses power, leaves its temporary file, `.codec-*.tmp`, which may be deleted.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        target.write_bytes(data)  # a folder raises IsADirectoryError
        return
    try:
        handle, name = tempfile.mkstemp(prefix=".codec-", suffix=".tmp", dir=target.parent)
    except OSError as error:
        error.filename = os.fspath(path)  # the name that the caller knows
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode_for(target))
        os.replace(name, target)
    except BaseException:  # also Ctrl-C
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _mode_for(target: Path) -> int:
    with contextlib.suppress(OSError):
        return target.stat().st_mode & 0o7777
    return 0o666 & ~_UMASK
