"""Small sources of datasets for tests: picture files, folder trees, tars, and their items."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import PIL.Image

from codec.data.sources import Source
from tests.support.pictures import textured


def encoded(kind: str = "PNG", seed: int = 0) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(textured(16, 20, seed)).save(out, kind)
    return out.getvalue()


PNG = encoded()


def write_tree(root: Path, *names: str) -> Path:
    """Write a picture under each name, which may have an extension that does not fit."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    return root


def write_tar(path: Path, *members: str | tuple[str, bytes]) -> Path:
    """Write a tar of these members. Those without content are pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for member in members:
            name, data = (member, PNG) if isinstance(member, str) else member
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read_tars(folder: Path) -> dict[str, bytes]:
    """Return the content of all members of the tars in a folder, by name."""
    found = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                file = tar.extractfile(info)
                assert file is not None
                found[info.name] = file.read()
    return found



def rows(source: Source) -> dict[str | None, Any]:
    """Return the columns of each item, or the text of the error of a bad one, by its name."""
    found: dict[str | None, Any] = {}
    for item in source.items(0, 1 << 40):
        try:
            item.load()
            found[item.path] = item.columns
        except Exception as error:
            found[item.path] = error.strerror if isinstance(error, OSError) else str(error)
    return found


def broken_name(text: bytes) -> str:
    """Return a file name that is not UTF-8."""
    return os.fsdecode(text)
