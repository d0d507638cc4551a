"""WebDataset tars.

The files of a sample are consecutive and share a key, which is the name up to the first dot. Tars
are written with the standard library, in the format that `webdataset` reads. They are read with an
index of the members, so any sample can be read without the samples before it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from codec.errors import FormatError


@dataclasses.dataclass
class Sample:
    """One picture, its name, and the other members of the sample by extension."""

    path: str
    picture: bytes
    others: dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class _Member:
    extension: str
    start: int
    size: int


class TarIndex:
    """Index of the members of tars. Raises `FormatError` if a file is not an uncompressed tar."""

    def __init__(self, paths: list[Path], picture_suffixes: Collection[str]) -> None:
        self._suffixes = picture_suffixes
        self._samples: list[tuple[Path, str, _Member, list[_Member]]] = []
        self.ignored: list[str] = []
        for path in paths:
            for key, members in self._groups(path):
                shown = self._picture_of(members)
                if shown is None:
                    self.ignored.append(f"{path.name}: {key}")
                else:
                    self._samples.append((path, key, shown, [m for m in members if m is not shown]))
        self.extensions = sorted({member.extension for *_, others in self._samples for member in others})

    def __len__(self) -> int:
        return len(self._samples)

    def _groups(self, path: Path) -> list[tuple[str, list[_Member]]]:
        """Return the key and the members of each sample. These members are consecutive."""
        groups: list[tuple[str, list[_Member]]] = []
        try:
            with tarfile.open(path, "r:") as tar:
                for info in tar:
                    folder, _, name = info.name.rpartition("/")
                    base, dot, extension = name.partition(".")
                    if info.isdir():
                        continue
                    if not info.isfile() or not dot or not base:
                        self.ignored.append(f"{path.name}: {info.name}")
                        continue
                    key = f"{folder}/{base}" if folder else base
                    if not groups or groups[-1][0] != key:
                        groups.append((key, []))
                    groups[-1][1].append(_Member(extension.lower(), info.offset_data, info.size))
                end = tar.offset
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise FormatError(f"{path.name} is not an uncompressed tar file: {error}") from None
        _check_end(path, end)
        return groups

    def _picture_of(self, members: list[_Member]) -> _Member | None:
        """Return the first member that is a picture by name; arrays only if there is no other."""
        found = [m for m in members if f".{m.extension.rpartition('.')[2]}" in self._suffixes]
        return min(found, key=lambda member: member.extension.endswith("npy"), default=None)

    def digest(self, start: int, stop: int) -> str:
        """Return a digest of the keys and of the positions of the members of a range of samples."""
        sha = hashlib.sha256()
        for path, key, *members in self._samples[start:stop]:
            sha.update(repr((path.name, key, members)).encode())
        return sha.hexdigest()

    def read(self, number: int) -> Sample:
        path, key, shown, others = self._samples[number]
        with open(path, "rb") as file:

            def content(member: _Member) -> bytes:
                file.seek(member.start)
                return file.read(member.size)

            found = {member.extension: content(member) for member in others}
            picture = content(shown)
        return Sample(_path_in(found) or f"{key}.{shown.extension}", picture, found)


def _check_end(path: Path, end: int) -> None:
    """Raise `FormatError` unless all bytes from `end` on are zero.

    `tarfile` stops at damage without an error.
    """
    with open(path, "rb") as file:
        file.seek(end)
        block = file.read(tarfile.BLOCKSIZE)
        sound = len(block) == tarfile.BLOCKSIZE
        while sound and block:
            sound = not block.strip(b"\0")
            block = file.read(1 << 20)
    if not sound:
        raise FormatError(f"{path.name} is damaged, truncated, or more than one tar (at byte {end})")


def _path_in(others: dict[str, bytes]) -> str | None:
    """Return the name of the picture from the sample's JSON, or None.

    The tars of this package contain the name there.
    """
    try:
        path = json.loads(others["json"])["path"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return path if isinstance(path, str) else None


def add_sample(tar: tarfile.TarFile, key: str, members: dict[str, bytes]) -> None:
    """Write the members of a sample, given by extension. The output is reproducible."""
    for extension, data in members.items():
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        info.mode = 0o644
        tar.addfile(info, io.BytesIO(data))


def open_tar(file: BinaryIO) -> tarfile.TarFile:
    """Open a tar to which samples can be written."""
    return tarfile.open(fileobj=file, mode="w:", format=tarfile.USTAR_FORMAT)
