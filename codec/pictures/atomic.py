"""Atomic writing: a file is replaced completely or left unchanged."""

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


# The umask can only be read by setting it, which affects other threads. So it is read at import.
_UMASK = _read_umask()


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Write `data` to a temporary file in the folder of `path`, then rename that file to `path`.

    If this fails, no file is left behind. A symbolic link is followed: the file that it points to
    is replaced. An existing file keeps its permissions. A device or pipe is written to directly.
    A temporary file, `.codec-*.tmp`, is left only if the process is killed outright or the power
    fails. It may be deleted.
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
    """Context manager that yields a temporary file in the folder of `target`.

    If the context ends without an exception, the file replaces `target`. Otherwise it is removed.
    If the file cannot be created, the error names `called`, or `target` if that is None. The name
    of the temporary file begins with `prefix`.
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
