"""The files of a folder tree, whatever the order in which the system names them.

Folders are entered by their own names first. Links to folders come afterwards, in the order of
their names, so a link never takes the place of the folder that it leads to, and circles end. A
folder that was entered before is not entered again. A link to a file is a file.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Collection
from pathlib import Path

from codec.data.sources.base import as_text, suffix_of


@dataclasses.dataclass
class Listing:
    """The files of a folder tree. Names are relative to the folder, with slashes."""

    names: list[str]
    """Names of the pictures and of what is in `problems`, in the order of their bytes."""
    problems: dict[str, str]
    """Links that lead nowhere, and folders (with a slash at the end) that cannot be read; why."""
    ignored: list[str]
    """Everything else, as text, with the reason if it is not the extension or a hidden name."""
    linked: list[str]
    """Links to folders that are not followed, because the folder is entered anyway."""


def list_tree(root: Path, suffixes: Collection[str]) -> Listing:
    """List a folder tree. Files with one of these extensions are pictures.

    Hidden files and folders are ignored. Raises `OSError` if the folder itself cannot be read.
    """
    walk = _Walk(root, suffixes)
    walk.enter("")
    while walk.links:
        links, walk.links = sorted(walk.links, key=os.fsencode), []
        for name in links:
            walk.enter(f"{name}/")
    walk.found.names.sort(key=os.fsencode)
    walk.found.ignored.sort()
    return walk.found


class _Walk:
    def __init__(self, root: Path, suffixes: Collection[str]) -> None:
        self.found = Listing([], {}, [], [])
        self.links: list[str] = []
        """Links to folders that were found and not yet followed."""
        self._root, self._suffixes = os.fspath(root), suffixes
        self._seen: dict[tuple[int, int], str] = {}
        """Device and number of every folder that was entered, and its name."""

    def enter(self, start: str) -> None:
        """Walk through a folder and its subfolders. Links to folders are only noted.

        `start` is "" for the root, else the name of a link with a slash at the end.
        """
        waiting = [start]
        while waiting:
            folder = waiting.pop()
            try:
                about = os.stat(os.path.join(self._root, folder))
                known = self._seen.get((about.st_dev, about.st_ino))
                if known is not None and start:
                    what = "a link to" if folder == start else "the same folder as"
                    self._ignore(folder, f"{what} {as_text(known) or 'the source itself'}")
                    self.found.linked.append(folder)
                    continue
                with os.scandir(os.path.join(self._root, folder)) as entries:
                    inside = list(entries)
            except OSError as error:
                if not folder:
                    raise
                self._refuse(folder, f"the folder cannot be read: {error.strerror}")
                continue
            self._seen.setdefault((about.st_dev, about.st_ino), folder)
            waiting += [f"{folder}{entry.name}/" for entry in inside if self._take(folder, entry)]

    def _take(self, folder: str, entry: os.DirEntry[str]) -> bool:
        """Note an entry of a folder. Return True if it is a folder to enter."""
        name = f"{folder}{entry.name}"
        try:
            linked = entry.is_symlink() or getattr(entry, "is_junction", bool)()
            kind = entry.stat(follow_symlinks=True).st_mode if linked else 0
            is_folder = stat.S_ISDIR(kind) if linked else entry.is_dir(follow_symlinks=False)
            is_file = stat.S_ISREG(kind) if linked else entry.is_file(follow_symlinks=False)
        except OSError as error:
            self._broken(name, error)
            return False
        if entry.name.startswith("."):
            self._ignore(f"{name}/" if is_folder else name)
        elif is_folder and linked:
            self.links.append(name)
        elif is_folder:
            return True
        elif not is_file:
            self._ignore(name, "not a regular file")
        elif suffix_of(name) in self._suffixes:
            self.found.names.append(name)
        else:
            self._ignore(name)
        return False

    def _broken(self, name: str, error: OSError) -> None:
        try:
            reason = f"a link to {as_text(os.readlink(os.path.join(self._root, name)))}: {error.strerror}"
        except OSError:
            reason = str(error.strerror)
        base = os.path.basename(name)
        # Without an extension it may be a link to a folder of pictures.
        if not base.startswith(".") and suffix_of(name) in {"", *self._suffixes}:
            self._refuse(name, reason)
        else:
            self._ignore(name, reason)

    def _refuse(self, name: str, reason: str) -> None:
        self.found.names.append(name)
        self.found.problems[name] = reason

    def _ignore(self, name: str, reason: str | None = None) -> None:
        self.found.ignored.append(as_text(name) + (f": {reason}" if reason else ""))
