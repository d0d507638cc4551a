"""WebDataset tars.

The files of a sample share a key, which is the name up to the first dot. Tars are written with the
standard library, in the format that `webdataset` reads. They are read with an index of the members,
so any sample can be read without the samples before it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import posixpath
import tarfile
from pathlib import Path

from codec.errors import FormatError

MEMBER_KEY = b"codec.member"
"""Key in the metadata of the field of a column that was a member of a sample. Its value is the
extension of the member."""

_PACKED = {
    b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd",
    b"\x04\x22\x4d\x18": "unlz4", b"PK\x03\x04": "unzip", b"7z\xbc\xaf": "7z x", b"Rar!": "unrar x",
}
"""First bytes of compressed files, and the program that decompresses them."""

_Member = tuple[int, int]
"""Offset and size of the content of a member in its tar."""


@dataclasses.dataclass(slots=True)
class Sample:
    """The members that share a key, by extension in lower case."""

    tar: int
    """Number of the tar."""
    key: str
    members: dict[str, _Member]
    problem: str | None = None
    """What is wrong with the sample: two members with one extension, a link that leads nowhere."""


class TarIndex:
    """Index of the members of tars. Raises `FormatError` if a file is not an uncompressed tar."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.samples: list[Sample] = []
        self.ignored: list[str] = []
        for number, path in enumerate(paths):
            self.samples += self._samples_of(number, path)

    def _samples_of(self, number: int, path: Path) -> list[Sample]:
        """Return the samples of a tar.

        Their members may lie apart. A key that comes again with an extension that its sample has is
        another sample, unless the sample has just been read: then the sample has a member twice.
        A link to an earlier file of the tar, as GNU tar writes for hard links, is that file.
        """
        samples: list[Sample] = []
        last: dict[str, int] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for info in tar:
                    tar.members = []  # type: ignore[attr-defined]  # otherwise it keeps every member
                    folder, _, name = info.name.rpartition("/")
                    base, dot, extension = name.partition(".")
                    extension = extension.lower()
                    if info.isdir():
                        continue
                    linked = info.islnk() or info.issym()
                    if not (linked or info.isfile()) or info.issparse() or not dot or not base:
                        self.ignored.append(f"{path.name}: {info.name}")
                        continue
                    key = f"{folder}/{base}" if folder else base
                    at = last.get(key)
                    if at is not None and extension in samples[at].members and at == len(samples) - 1:
                        samples[at].problem = f"it has two members .{extension}"
                        continue
                    if at is None or extension in samples[at].members:
                        last[key] = at = len(samples)
                        samples.append(Sample(number, key, {}))
                    member: _Member | None = (info.offset_data, info.size)
                    if linked:
                        target = info.linkname if info.islnk() else f"{folder}/{info.linkname}"
                        member = _find(posixpath.normpath(target), samples, last)
                        if member is None:
                            what = f"its .{extension} is a link to {info.linkname}"
                            samples[at].problem = f"{what}, which is no earlier file of the tar"
                    samples[at].members[extension] = member or (0, 0)
                end = tar.offset
        except (tarfile.TarError, EOFError, ValueError) as error:
            reason = _reason(path, error)
            raise FormatError(f"{path.name} is not an uncompressed tar file: {reason}") from None
        _check_end(path, end)
        return samples

    def digest(self, samples: list[Sample]) -> str:
        """Return a digest of the keys and of the positions of the members of samples."""
        sha = hashlib.sha256()
        for sample in samples:
            about = [(name, *member) for name, member in sample.members.items()]
            sha.update(repr((self.paths[sample.tar].name, sample.key, about)).encode("utf-8", "replace"))
        return sha.hexdigest()

    def read(self, sample: Sample, only: str | None = None) -> dict[str, bytes]:
        """Return the content of the members of a sample. Raises `FormatError` if the tar is cut."""
        found = {}
        path = self.paths[sample.tar]
        with open(path, "rb") as file:
            for extension, (start, size) in sample.members.items():
                if only is not None and extension != only:
                    continue
                file.seek(start)
                found[extension] = file.read(size)
                if len(found[extension]) != size:
                    raise FormatError(f"{path.name} has become shorter since it was listed")
        return found


def _find(name: str, samples: list[Sample], last: dict[str, int]) -> _Member | None:
    """Return the member with a name, or None if there is none yet."""
    folder, _, rest = name.rpartition("/")
    base, _, extension = rest.partition(".")
    inside = f"{folder}/{base}" if folder else base
    for key in (inside, f"./{inside}"):
        if key in last:
            return samples[last[key]].members.get(extension.lower())
    return None


def _reason(path: Path, error: Exception) -> str:
    with open(path, "rb") as file:
        start = file.read(8)
    program = next((program for magic, program in _PACKED.items() if start.startswith(magic)), None)
    return f"it is compressed, decompress it first ({program})" if program else str(error)


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


def path_in(text: bytes | None) -> str | None:
    """Return the name of the picture from a sample's JSON, or None.

    The tars of this package have the name there, or in `.columns.json`.
    """
    try:
        path = json.loads(text or b"")["path"]
        path.encode()
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return path if isinstance(path, str) else None


def add_sample(tar: tarfile.TarFile, key: str, members: dict[str, bytes]) -> None:
    """Write the members of a sample, given by extension. The output is reproducible."""
    for extension, data in members.items():
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        info.mode = 0o644
        tar.addfile(info, io.BytesIO(data))
