"""Atomic writing on file systems that lack an operation. The functions of `os` are replaced."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codec.errors import FileSystemWarning
from codec.pictures import atomic
from tests.support import children

Patch = pytest.MonkeyPatch


def failing(number: int, when: Callable[..., bool] = lambda *_: True, function: Any = None) -> Any:
    """Return a function that fails with the errno if `when` is true, and else calls `function`."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        if when(*args):
            raise OSError(number, os.strerror(number), args[0] if isinstance(args[0], str) else None)
        return function(*args, **kwargs)

    return fail


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EACCES, errno.ENOSYS, errno.EINVAL])
def test_permissions_are_refused(tmp_path: Path, monkeypatch: Patch, number: int) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"old")
    old.chmod(0o777)
    monkeypatch.setattr(os, "chmod", failing(number))
    monkeypatch.setattr(os, "fchmod", failing(number))
    atomic.write_atomically(new, b"1")  # needs no chmod
    assert new.read_bytes() == b"1"
    with pytest.warns(FileSystemWarning, match="refuses those of the old file, 0777"):
        atomic.write_atomically(old, b"2")
    assert old.read_bytes() == b"2"
    assert names(tmp_path) == ["new", "old"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EROFS])
def test_fsync_is_refused(tmp_path: Path, monkeypatch: Patch, number: int) -> None:
    monkeypatch.setattr(os, "fsync", failing(number))
    atomic.write_atomically(tmp_path / "new", b"1")
    assert (tmp_path / "new").read_bytes() == b"1"


@pytest.mark.parametrize("function", ["fsync", "replace", "open"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_errors_of_the_disk_are_raised(
    tmp_path: Path, monkeypatch: Patch, number: int, function: str
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, failing(number))
        with pytest.raises(OSError, match=os.strerror(number)):
            atomic.write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("old", [b"", b"old and longer than the new", None])
@pytest.mark.parametrize("number", [errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES, errno.ENOSYS])
def test_renaming_is_refused(
    tmp_path: Path, monkeypatch: Patch, number: int, old: bytes | None
) -> None:
    target = tmp_path / "target"
    if old is not None:
        target.write_bytes(old)
    monkeypatch.setattr(os, "replace", failing(number))
    with pytest.warns(FileSystemWarning, match="in place"):
        atomic.write_atomically(target, [b"new", b"er"])
    assert target.read_bytes() == b"newer"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("old", [b"old and longer than the new", None])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.ENOTSUP, errno.EINVAL, errno.EROFS])
def test_temporary_files_are_refused(
    tmp_path: Path, monkeypatch: Patch, number: int, old: bytes | None
) -> None:
    target = tmp_path / "target"
    if old is not None:
        target.write_bytes(old)

    def in_the_folder(path: Any, *_: Any) -> bool:
        return str(path).startswith(f"{tmp_path}/.codec-")

    monkeypatch.setattr(os, "open", failing(number, in_the_folder, os.open))
    with pytest.warns(FileSystemWarning, match="in place"):
        atomic.write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["target"]

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        atomic.write_atomically(target, broken())
    assert target.read_bytes() == b"new"
    with pytest.raises(ValueError, match="broken"):
        atomic.write_atomically(tmp_path / "other", broken())
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("old", [True, False])
def test_a_copy_that_fails_keeps_the_data(tmp_path: Path, monkeypatch: Patch, old: bool) -> None:
    """If the old content is lost, the error says where the new one is."""
    target = tmp_path / "target"
    if old:
        target.write_bytes(b"old")
    calls: list[int] = []

    def second(*_: Any) -> bool:
        calls.append(1)
        return len(calls) == 2

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(errno.EXDEV))
        patch.setattr(os, "fsync", failing(errno.ENOSPC, second, os.fsync))
        with pytest.raises(OSError, match="No space left") as caught:
            atomic.write_atomically(target, b"new")
    assert caught.value.errno == errno.ENOSPC
    if old:
        assert caught.value.filename == str(target)
        (left,) = [name for name in names(tmp_path) if name != "target"]
        assert left in str(caught.value)
        assert (tmp_path / left).read_bytes() == b"new"
    else:
        assert names(tmp_path) == []


def test_a_target_that_cannot_be_opened_either(tmp_path: Path, monkeypatch: Patch) -> None:
    """The first reason is raised, and the old content stays."""
    target = tmp_path / "target"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "replace", failing(errno.EXDEV))

    def is_target(path: Any, *_: Any) -> bool:
        return str(path) == str(target)

    monkeypatch.setattr(os, "open", failing(errno.EACCES, is_target, os.open))
    with pytest.raises(OSError, match="cross-device") as caught:
        atomic.write_atomically(target, b"new")
    assert caught.value.filename == str(target)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["target"]


def test_deleting_is_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    """An object store may refuse to rename and to delete. The user is told what remains."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(errno.ENOSYS))
        patch.setattr(os, "unlink", failing(errno.EPERM))
        with pytest.warns(FileSystemWarning, match=r"deleted either: .*\.codec-"):
            atomic.write_atomically(tmp_path / "target", b"new")
    assert (tmp_path / "target").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["", "folder/", "new/", "new/.", "..", "."])
def test_names_that_are_no_files(tmp_path: Path, monkeypatch: Patch, name: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError if not name else IsADirectoryError):
        atomic.write_atomically(name, b"new")
    assert names(tmp_path) == ["folder"]


def test_links(tmp_path: Path) -> None:
    """A link to itself is an error, a link to a missing file creates it, a hard link is cut."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        atomic.write_atomically(tmp_path / "loop", b"new")
    (tmp_path / "link").symlink_to("missing")
    atomic.write_atomically(tmp_path / "link", b"1")
    os.link(tmp_path / "missing", tmp_path / "hard")
    atomic.write_atomically(os.fsencode(tmp_path / "hard"), b"2")  # type: ignore[arg-type]
    assert (tmp_path / "missing").read_bytes() == b"1"
    assert (tmp_path / "hard").read_bytes() == b"2"
    assert names(tmp_path) == ["hard", "link", "loop", "missing"]


def write_between_lines(path: str, target: str) -> None:
    with open(target, "wb") as file:
        os.dup2(file.fileno(), 1)
    os.write(1, b"before\n")
    atomic.write_atomically(path, b"new\n")
    os.write(1, b"after\n")


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_not_replaced(tmp_path: Path, path: str) -> None:
    children.call(write_between_lines, path, str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == b"before\nnew\nafter\n"


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full", "/proc/version"])
def test_files_of_the_system(path: str) -> None:
    """A device is written to. An error has the true reason."""
    if path == "/dev/null":
        atomic.write_atomically(path, b"new")
        return
    with pytest.raises(OSError, match=r"No space left|denied|Input/output|not permitted"):
        children.call(atomic.write_atomically, path, b"new")
