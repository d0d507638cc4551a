"""Exporting a dataset as WebDataset tars."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

from codec.api import EXTENSION
from codec.data.reading.dataset import Dataset
from codec.data.tars import MEMBER_KEY, add_sample, path_in
from codec.data.unpacking import Told, inner_path, plain, tolerant
from codec.pictures.atomic import replacing

SAMPLES = 10_000
"""Default number of samples per tar."""


def export(
    dataset: Dataset, out: str | os.PathLike[str], *, samples: int = SAMPLES, force: bool = False,
    progress: Told = lambda pictures, size: None,
) -> list[dict[str, str]]:
    """Write a dataset as WebDataset tars.

    For each picture a tar contains the `.cae` file, the label as `.cls` if there is one, and path
    and columns as `.json`. Columns that were members of a sample of a tar are such members again,
    byte for byte, except that a number in a `.cls` is written without spaces or leading zeros. If
    the sample had a `.json`, columns that were no members are in `.columns.json`.

    The key of a sample is the name of its picture up to the first dot of the file name. If another
    sample of the tar has this key, or the name would lead out of a folder, it is a number.

    Each tar is written completely or not at all. Returns failures as `unpack` does.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[dict[str, str]] = []
    columns_of = _members_of(dataset)
    rows = enumerate(tolerant(dataset, failures))
    for number in range(-(-len(dataset) // samples)):
        target = folder / f"{number:06d}.tar"
        if target.exists() and not force:
            raise FileExistsError(17, "already exists", os.fspath(target))
        for left in folder.glob(f".{target.name}-*.tmp"):  # written by a process that was killed
            left.unlink()
        taken: set[str] = set()
        # Only names that are long or not ASCII make this format differ from a plain USTAR file.
        with (
            replacing(target, prefix=f".{target.name}-") as file,
            tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as tar,
        ):
            for _, (index, (path, data, columns)) in zip(range(samples), rows, strict=False):
                key = _key(path, index, taken)
                add_sample(tar, key, _sample(path, key, data, columns, columns_of, dataset))
                progress(1, len(data))
    return failures


def _members_of(dataset: Dataset) -> dict[str, str]:
    """Return the extensions of the columns that were members of tars, by column."""
    return {
        field.name: field.metadata[MEMBER_KEY].decode("utf-8", "surrogateescape")
        for field in dataset.shards[0].schema
        if field.name in dataset.columns and MEMBER_KEY in (field.metadata or {})
    }


def _key(path: str | None, index: int, taken: set[str]) -> str:
    """Return a key that no other sample of the tar has."""
    pure = inner_path(path)
    base = pure.name.partition(".")[0] if pure is not None else ""
    key = (pure.parent / base).as_posix() if pure is not None and base else f"{index:09d}"
    while key in taken:
        key = f"{index:09d}" if not key.startswith(f"{index:09d}") else f"{key}_"
    taken.add(key)
    return key


def _sample(
    path: str | None, key: str, data: bytes, columns: dict[str, Any], columns_of: dict[str, str],
    dataset: Dataset,
) -> dict[str, bytes]:
    """Return the members of a sample by extension, the picture first."""
    members = {EXTENSION[1:]: data}
    label = columns.get("label")
    if type(label) is int:
        members["cls"] = str(label).encode()
    for name, extension in columns_of.items():
        value = columns.get(name)
        content = value.encode() if isinstance(value, str) else value
        if isinstance(content, bytes):
            members[extension if extension not in members else f"other.{extension}"] = content
    rest = {
        name: value for name, value in columns.items()
        if name not in columns_of or (name == "label" and "cls" in members and type(value) is int)
    }
    about = {**plain(rest, dataset, "path"), "path": path}
    if "json" not in members:
        members["json"] = json.dumps(about).encode()
    elif rest.keys() - {"label"} or not _is_named(path, key, members["json"]):
        members.setdefault("columns.json", json.dumps(about).encode())
    return members


def _is_named(path: str | None, key: str, text: bytes) -> bool:
    """Return whether the name of a picture follows from the sample's own JSON, or from its key."""
    found = path_in(text)
    return path is None or (path.partition(".")[0] == key if found is None else found == path)
