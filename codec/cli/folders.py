"""Files in the folders that a command is given."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from codec.cli.texts import counted


@dataclasses.dataclass
class Walk:
    """The files below a folder whose extension is one of `suffixes`, and what is left out.

    Hidden files and folders and the folder `leave_out` are not read. A link to a folder is
    followed, but no folder is read twice, so loops end.
    """

    root: str
    suffixes: frozenset[str]
    leave_out: str | None = None
    others: int = 0
    """Number of files that have another extension or are no regular files."""
    hidden: int = 0
    links: int = 0
    """Number of links to folders that are read under another name."""
    problems: list[OSError] = dataclasses.field(default_factory=list)
    """Errors of folders that cannot be read."""

    def files(self) -> Iterator[str]:
        """Yield the paths, in the order of their names; files behind links last."""
        # A link to a folder above would lead out of the tree.
        seen = {_identity(os.fspath(above)) for above in Path(os.path.realpath(self.root)).parents}
        if self.leave_out is not None:
            seen.add(_identity(self.leave_out))
        seen.discard(_identity(self.root))
        starts = [self.root]
        for start in starts:  # the links that are found meanwhile are added at the end
            yield from self._below(start, seen, starts)

    def _below(self, start: str, seen: set[object], links: list[str]) -> Iterator[str]:
        folders = [start]
        while folders:
            folder = folders.pop()
            identity = _identity(folder)
            if identity in seen:
                self.links += folder == start
                continue
            seen.add(identity)
            try:
                with os.scandir(folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
            except OSError as error:
                self.problems.append(error)
                continue
            inner: list[str] = []
            for entry in entries:
                if entry.name.startswith("."):
                    self.hidden += 1
                elif _is_folder(entry):
                    (links if entry.is_symlink() else inner).append(entry.path)
                elif os.path.splitext(entry.name)[1].lower() in self.suffixes and _may_be_read(entry):
                    yield entry.path
                else:
                    self.others += 1
            folders += reversed(inner)

    def left_out(self) -> str:
        """Return what is left out, for example "3 other files, 1 hidden"; "" if nothing is."""
        parts = [counted(self.others, "other file")] if self.others else []
        parts += [f"{self.hidden} hidden"] if self.hidden else []
        parts += [f"{counted(self.links, 'link')} to folders above or read already"] if self.links else []
        return ", ".join(parts)


def _identity(folder: str) -> object:
    try:
        about = os.stat(folder)
    except OSError:
        return os.path.abspath(folder)
    return (about.st_dev, about.st_ino) if about.st_ino else os.path.realpath(folder)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """False for pipes and devices, which might block. A broken link is read, to report it."""
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True


def expand(paths: Sequence[str], suffix: str) -> list[str | OSError]:
    """Return the paths with each folder replaced by its files with the extension `suffix`.

    A folder that cannot be read, or has no such files, is an error in the list.
    """
    result: list[str | OSError] = []
    for path in paths:
        if path == "-" or not os.path.isdir(path):
            result.append(path)
            continue
        walk = Walk(path, frozenset((suffix,)))
        found = list(walk.files())
        result += found
        result += walk.problems
        if not found and not walk.problems:
            shards = any(name.endswith(".parquet") for name in os.listdir(path))
            hint = "; for a dataset, use codec dataset info or verify" if shards else ""
            result.append(nothing_in(path, f"no {suffix} files in this folder{hint}"))
    return result


def nothing_in(folder: str, text: str) -> OSError:
    return FileNotFoundError(errno.ENOENT, text, folder)
