"""Checking a dataset: each shard against its digest, each picture against its checksums."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from codec.api import shared_codec
from codec.data.dataset import Dataset
from codec.data.sums import read_sums
from codec.engine.reading import verify as verify_file
from codec.errors import CodecError, FormatError

_BATCH = 64


def verify(
    path: str | os.PathLike[str], *, decode: bool = False, progress: Callable[[int], None] = lambda rows: None
) -> Iterator[str]:
    """Yield one line for each problem of a dataset, and nothing if the dataset is intact.

    A shard whose SHA-256 matches the one in `_SHA256SUMS` is not checked further, unless `decode`
    asks for every picture to be decoded. In other shards each row is checked: files by their CRCs,
    bare rows by decoding them.
    """
    folder = Path(path)
    sums = read_sums(folder) if folder.is_dir() else {}
    found = folder.glob("*.parquet") if folder.is_dir() else [Path()]
    names = sorted(file.name for file in found if not file.name.startswith((".", "_")))
    for name in sorted(sums.keys() - set(names)):
        yield f"{name}: missing"
    if not names:
        yield f"no .parquet files in {os.fspath(path)}"
        return
    for name in names:
        file = folder / name if name else folder
        sound = False
        if name in sums:
            with open(file, "rb") as opened:
                sound = hashlib.file_digest(opened, "sha256").hexdigest() == sums[name]
            if not sound:
                yield f"{name}: damaged: its SHA-256 does not match the recorded one"
        elif sums:
            yield f"{name}: not in the list of digests"
        yield from _check_rows(file, sound, decode, progress)
    if sums.keys() <= set(names):
        try:
            Dataset(path)
        except CodecError as error:
            yield str(error)


def _check_rows(file: Path, sound: bool, decode: bool, progress: Callable[[int], None]) -> Iterator[str]:
    try:
        dataset = Dataset(file)
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
        except (FormatError, CodecError) as error:
            yield f"{file.name}: row {index}: {error}"
        progress(1)
