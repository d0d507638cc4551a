"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# Reading it means setting it, which other threads would notice: once, at import.
_UMASK = _read_umask()


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Write `data` beside `path`, then rename the file there; on any failure nothing is left behind.

    A symbolic link is followed: the file that it points to is replaced. An existing file keeps its
    permissions. A device or pipe is not replaced but written to. Only a process that is killed outright, or
    loses power, leaves its temporary file, `.codec-*.tmp`, which may be deleted.
    """
    chunks = [data] if isinstance(data, bytes) else data
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with open(target, "wb") as file:  # a folder raises IsADirectoryError
            file.writelines(chunks)
        return
    with replacing(target, path) as file:
        file.writelines(chunks)


@contextlib.contextmanager
def replacing(
    target: Path, called: str | os.PathLike[str] | None = None, prefix: str = ".codec-"
) -> Iterator[BinaryIO]:
    """A file beside `target` that takes its place when the context ends well, and is removed otherwise.

    Errors name what it is `called`; the temporary file's name begins with `prefix`.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=target.parent)
    except OSError as error:
        error.filename = os.fspath(called or target)
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
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
