"""Atomic writing: a file is replaced completely or left unchanged.

Some file systems and permissions do not allow that. The data is written nevertheless:

- No permissions (chmod fails, as on CIFS and FAT): the file has those that the file system gives.
- No fsync: if the power fails within the next seconds, the new file may be incomplete.
- No second file in the folder, or no renaming over the target (as in a folder that may not be
  written to, for a file that is mounted alone, or on an object store): the data is completed
  elsewhere and then copied into the target. A reader can see an incomplete file meanwhile, and if
  the copying is stopped or fails, the old content is lost.

Where the result differs from what was asked for, the warning is `FileSystemWarning`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from codec.errors import FileSystemWarning

_UNSUPPORTED = {
    errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY,
    errno.EXDEV, errno.EBUSY, errno.EROFS,
}
"""What an operation fails with that is not allowed or not known here. Others, such as EIO, ENOSPC
and EDQUOT, mean that the data is not there."""


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[bytes]) -> None:
    """Write `data` to a temporary file in the folder of `path`, then rename that file to `path`.

    If this fails, no file is left behind. A symbolic link is followed: the file that it points to
    is replaced. An existing file keeps its permissions, but not its other hard links, and also a
    read-only file is replaced, as by `mv -f`. A device, a pipe or a standard stream (/dev/stdout)
    is written to directly. A temporary file, `.codec-*.tmp`, is left only if the process is killed
    outright, the power fails or the file system does not let it be deleted. It may be deleted.
    """
    chunks = [data] if isinstance(data, bytes) else data
    path = os.fsdecode(path)
    if is_stream(path):
        number = _descriptor(path)
        with open(path if number is None else os.dup(number), "wb") as file:
            file.writelines(chunks)
        return
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if os.path.basename(path) in ("", os.curdir, os.pardir) or os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    with replacing(Path(os.path.realpath(path)), path) as file:
        file.writelines(chunks)


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is written to and not replaced: a device, a pipe or a standard stream.

    Raises `OSError` if that cannot be determined, for example for a link to itself.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) or _descriptor(path) is not None


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """Return the open descriptor that the name stands for: 1 for /dev/stdout and /dev/fd/1.

    To open such a name again would start at the beginning of the file that it leads to.
    """
    folder, name = os.path.split(os.fsdecode(path))
    folder = os.path.realpath(folder)
    if folder == "/dev":
        return {"stdout": 1, "stderr": 2}.get(name)
    ours = folder in ("/dev/fd", f"/proc/{os.getpid()}/fd")
    return int(name) if ours and name.isdecimal() else None


@contextlib.contextmanager
def replacing(
    target: Path, called: str | os.PathLike[str] | None = None, prefix: str = ".codec-"
) -> Iterator[BinaryIO]:
    """Context manager that yields a temporary file in the folder of `target`.

    If the context ends without an exception, the file replaces `target`. Otherwise it is removed.
    If the file cannot be created, the error names `called`, or `target` if that is None. The name
    of the temporary file begins with `prefix`.
    """
    shown = os.fspath(called or target)
    before: int | None = None  # permissions of an existing file
    refused: OSError | None = None
    try:
        with contextlib.suppress(FileNotFoundError):
            before = stat.S_IMODE(target.stat().st_mode)
        handle, name = _create(target.parent, prefix, 0o666 if before is None else before | 0o600)
    except OSError as error:
        refused = _named(error, shown)
        # In /proc and /sys, ENOENT means that no file can be created.
        if error.errno not in _UNSUPPORTED and not (error.errno == errno.ENOENT and before is not None):
            raise
    if refused is not None:
        with _in_place(target, refused) as file:
            yield file
        return
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            _sync(file)
        if before is not None:
            _set_mode(name, before)
        refused = _rename(name, target)
    except BaseException:  # also Ctrl-C
        _remove(name)
        raise
    if refused is not None:
        _copy_over(name, target, _named(refused, shown))


def _named(error: OSError, path: str) -> OSError:
    error.filename, error.filename2 = path, None
    return error


def _create(folder: Path, prefix: str, mode: int) -> tuple[int, str]:
    """Create a file with a new name. The system applies the umask, or the ACL of the folder."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        name = os.path.join(folder, f"{prefix}{os.urandom(6).hex()}.tmp")
        with contextlib.suppress(FileExistsError):
            return os.open(name, flags, mode), name


def _sync(file: BinaryIO) -> None:
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _set_mode(name: str, wanted: int) -> None:
    given = stat.S_IMODE(os.stat(name).st_mode)
    if given == wanted:
        return
    try:
        os.chmod(name, wanted)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _warn(f"permissions are {given:04o}: the file system refuses those of the old file, {wanted:04o}")


def _remove(name: str | os.PathLike[str]) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name)


def _rename(name: str, target: Path) -> OSError | None:
    """Rename the file, or return the reason for which it must be copied."""
    try:
        os.replace(name, target)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return error
        raise
    return None


def _copy_over(name: str, target: Path, refused: OSError) -> None:
    """Copy the complete temporary file into `target`. Delete it unless it alone holds the data."""
    try:
        out, new = _open_target(target, refused, os.O_TRUNC)
    except BaseException:
        _remove(name)
        raise
    try:
        with out, open(name, "rb") as file:
            _copy(file, out)
    except BaseException as error:
        if new:
            _remove(target)
            _remove(name)
        elif isinstance(error, OSError):
            about = f"{error.strerror}; the file is incomplete, its new content is in {name}"
            raise OSError(error.errno, about, refused.filename) from None
        raise
    try:
        os.unlink(name)
    except OSError:
        _warn(f"{_IN_PLACE}; it does not let the temporary file be deleted either: {name}")
    else:
        _warn(_IN_PLACE)


@contextlib.contextmanager
def _in_place(target: Path, refused: OSError) -> Iterator[BinaryIO]:
    """Yield a file elsewhere, whose content is copied into `target` when it is complete.

    Raises `refused`, the reason for this, if `target` cannot be written to either.
    """
    out, new = _open_target(target, refused)
    copying = False
    try:
        with out, _elsewhere(refused) as file:
            yield file
            file.seek(0)
            copying = True
            _copy(file, out)
    except BaseException as error:
        if new:
            _remove(target)
        elif copying and isinstance(error, OSError):
            about = f"{error.strerror}; the file is incomplete, its old content is lost"
            raise OSError(error.errno, about, refused.filename) from None
        raise
    _warn(_IN_PLACE)


def _elsewhere(refused: OSError) -> BinaryIO:
    try:
        return cast(BinaryIO, tempfile.TemporaryFile())
    except OSError:
        raise refused from None


def _open_target(target: Path, refused: OSError, flags: int = 0) -> tuple[BinaryIO, bool]:
    """Open `target` for writing, and tell whether it is new."""
    new = not os.path.exists(target)
    # In a folder such as /tmp, O_CREAT would be refused for the file of another user.
    flags |= os.O_WRONLY | (os.O_CREAT if new else 0) | getattr(os, "O_BINARY", 0)
    try:
        return open(os.open(target, flags, 0o666), "wb"), new
    except OSError:
        raise refused from None


def _copy(file: BinaryIO, out: BinaryIO) -> None:
    if os.fstat(out.fileno()).st_size:
        out.truncate(0)
    shutil.copyfileobj(file, out, 1 << 20)
    _sync(out)


_IN_PLACE = "written in place: the file system does not let the file be replaced"


def _warn(text: str) -> None:
    warnings.warn(text, FileSystemWarning, stacklevel=2)
