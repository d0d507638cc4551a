"""WebDataset tars: files of a sample follow one another and share a key, the name up to the first dot.

Written with the standard library, as what `webdataset` reads; read by an index of the members, so that any
sample can be had without those before it.
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
    """One picture, its name, and the members beside it by their extension."""

    path: str
    picture: bytes
    others: dict[str, bytes]


@dataclasses.dataclass(frozen=True)
class _Member:
    extension: str
    start: int
    size: int


class TarIndex:
    """Where the members of tars lie. Raises `FormatError` for a file that is no uncompressed tar."""

    def __init__(self, paths: list[Path], picture_suffixes: Collection[str]) -> None:
        self._samples: list[tuple[Path, str, list[_Member]]] = []
        self._suffixes = picture_suffixes
        self.ignored: list[str] = []
        for path in paths:
            self._add(path)
        others = (member for _, _, members in self._samples for member in members if not self._shows(member))
        self.extensions = sorted({member.extension for member in others})

    def __len__(self) -> int:
        return len(self._samples)

    def _shows(self, member: _Member) -> bool:
        return f".{member.extension.rsplit('.', 1)[-1]}" in self._suffixes

    def _add(self, path: Path) -> None:
        last = None
        try:
            with tarfile.open(path, "r:") as tar:
                for info in tar:
                    if not info.isfile():
                        continue
                    folder, _, name = info.name.rpartition("/")
                    base, dot, extension = name.partition(".")
                    if not dot or not base:
                        self.ignored.append(f"{path.name}: {info.name}")
                        continue
                    key = f"{folder}/{base}" if folder else base
                    if key != last:
                        self._samples.append((path, key, []))
                        last = key
                    self._samples[-1][2].append(_Member(extension.lower(), info.offset_data, info.size))
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise FormatError(f"{path.name} is not an uncompressed tar file: {error}") from None
        self.ignored += [f"{path.name}: {key}" for file, key, members in self._samples
                         if file == path and not any(map(self._shows, members))]
        self._samples = [sample for sample in self._samples if any(map(self._shows, sample[2]))]

    def digest(self, start: int, stop: int) -> str:
        """Names a stretch of samples by their keys and the places of their members."""
        sha = hashlib.sha256()
        for path, key, members in self._samples[start:stop]:
            sha.update(repr((path.name, path.stat().st_mtime_ns, key, members)).encode())
        return sha.hexdigest()

    def read(self, number: int) -> Sample:
        path, key, members = self._samples[number]
        picture, extension = None, ""
        others: dict[str, bytes] = {}
        with open(path, "rb") as file:
            for member in members:
                file.seek(member.start)
                data = file.read(member.size)
                if self._shows(member) and picture is None:
                    picture, extension = data, member.extension
                elif not self._shows(member):
                    others[member.extension] = data
        assert picture is not None  # others are not in the index
        return Sample(_path_in(others) or f"{key}.{extension}", picture, others)


def _path_in(others: dict[str, bytes]) -> str | None:
    """The picture's name that a sample's JSON tells, as our own tars do."""
    try:
        path = json.loads(others["json"])["path"]
    except (KeyError, ValueError, TypeError):
        return None
    return path if isinstance(path, str) else None


def add_sample(tar: tarfile.TarFile, key: str, members: dict[str, bytes]) -> None:
    """Write the members of a sample by their extension; the same bytes each time."""
    for extension, data in members.items():
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        info.mode = 0o644
        tar.addfile(info, io.BytesIO(data))


def open_tar(file: BinaryIO) -> tarfile.TarFile:
    """A tar to write samples to."""
    return tarfile.open(fileobj=file, mode="w:", format=tarfile.USTAR_FORMAT)
