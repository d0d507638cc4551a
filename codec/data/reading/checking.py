"""Checking a dataset: each shard against its digest, each picture against its checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from codec.api import shared_codec
from codec.data.reading.dataset import Dataset
from codec.data.reading.files import Local, Stored, stored
from codec.data.reading.opening import SUFFIX, find_files
from codec.data.sums import read_sums
from codec.engine.reading import verify as verify_file
from codec.errors import CodecError


def verify(
    path: str | os.PathLike[str], *, decode: bool = False, column: str | None = None,
    progress: Callable[[int], None] = lambda rows: None,
) -> Iterator[str]:
    """Yield one line for each problem of a dataset, and nothing if the dataset is intact.

    A shard whose SHA-256 matches the one in `_SHA256SUMS` is not checked further, unless `decode`
    asks for every picture to be decoded. In other shards each row is checked: files by their CRCs,
    bare rows by decoding them. `column` is as for `codec.Dataset`. Raises `FileNotFoundError` if
    there is nothing at the path.
    """
    try:
        found = find_files(path)
    except FileNotFoundError as error:
        if not stored(path).exists():
            raise
        for name in sorted(read_sums(Path(path))) if os.path.isdir(path) else ():
            yield f"{name}: missing"
        yield f"no {SUFFIX} files in {os.fspath(path)}: {error.strerror}"
        return
    except CodecError as error:
        yield str(error)
        return
    sums = read_sums(found.folder.path) if isinstance(found.folder, Local) else {}
    names = {file.name for file in found.files}
    for name in sorted(sums.keys() - names):
        yield f"{name}: missing"
    for file in found.files:
        sound = False
        if file.name in sums:
            with open(file, "rb") as opened:
                sound = hashlib.file_digest(opened, "sha256").hexdigest() == sums[file.name]
            if not sound:
                yield f"{file.name}: damaged: its SHA-256 does not match the recorded one"
        elif sums:
            yield f"{file.name}: not in the list of digests"
        yield from _check_rows(file, sound, decode, column, progress)
    if sums.keys() <= names:
        try:
            Dataset(path, column=column)
        except CodecError as error:
            yield str(error)


def _check_rows(
    file: Stored, sound: bool, decode: bool, column: str | None, progress: Callable[[int], None]
) -> Iterator[str]:
    try:
        dataset = Dataset(os.fspath(file), column=column)
    except CodecError as error:
        yield f"{file.name}: {error}"
        return
    if sound and not decode:
        progress(len(dataset))
        return
    bare = bool(dataset.settings and dataset.settings.rows)
    for index in range(len(dataset)):
        try:
            data = dataset.read(index)
            dataset.values(index)
            verify_file(data)
            if bare or decode:
                shared_codec(None, None).decompress(data)
        except CodecError as error:
            yield f"{file.name}: row {index}: {error}"
        progress(1)
