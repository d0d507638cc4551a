"""The models that ship in the package, by name and by id; no torch."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from codec.errors import UnknownModel


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """One shipped weights file."""

    name: str
    file: str
    sha256: str
    """Of the file, hexadecimal. Its first twelve digits are the id that files carry."""
    default: bool

    @property
    def id(self) -> bytes:
        """The six bytes that files carry."""
        return bytes.fromhex(self.sha256)[:6]

    def read(self) -> bytes:
        """The weights file; `UnknownModel` if it is missing or is not the registered one."""
        try:
            data = (resources.files("codec") / "weights" / self.file).read_bytes()
        except OSError as error:
            raise UnknownModel(f"weights of model {self.name!r} cannot be read: {error}") from None
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UnknownModel(f"weights of model {self.name!r} are damaged: SHA-256 differs")
        return data


@functools.cache
def entries() -> tuple[ModelEntry, ...]:
    """All shipped models, from `codec/weights/models.toml`."""
    text = (resources.files("codec") / "weights" / "models.toml").read_text(encoding="utf-8")
    return tuple(ModelEntry(name=name, **fields) for name, fields in tomllib.loads(text).items())


def by_id(model_id: bytes) -> ModelEntry:
    """The shipped model that a file names; raises `UnknownModel`."""
    for entry in entries():
        if entry.id == model_id:
            return entry
    raise UnknownModel(
        f"the file needs model {model_id.hex()}, which is not installed "
        f"(installed: {', '.join(f'{e.id.hex()} {e.name}' for e in entries()) or 'none'})"
    )


def named(model: str | None) -> ModelEntry:
    """The shipped model of a name or id, or the default one; raises `UnknownModel`."""
    for entry in entries():
        if entry.default if model is None else model in (entry.name, entry.id.hex()):
            return entry
    names = ", ".join(entry.name for entry in entries())
    raise UnknownModel(f"no model named {model!r} (shipped: {names})")


def find(model: str | Path | None) -> tuple[str, bytes]:
    """Name and weights of a shipped model (by name or id), the default one, or a `.safetensors` file.

    Raises `UnknownModel` for a name that does not ship, `OSError` if a file cannot be read.
    """
    path = Path(model or "")
    if path.suffix == ".safetensors":
        return path.stem, path.read_bytes()
    entry = named(None if model is None else str(model))
    return entry.name, entry.read()


def describe(entry: ModelEntry) -> dict[str, Any]:
    """An entry as plain values, for `codec models`."""
    size = (resources.files("codec") / "weights" / entry.file).stat().st_size  # type: ignore[attr-defined]
    return {
        "name": entry.name,
        "id": entry.id.hex(),
        "default": entry.default,
        "bytes": size,
        "sha256": entry.sha256,
    }
