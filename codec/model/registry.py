"""The models shipped in the package, by name and by id. This module does not import torch."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, TypeGuard

from codec.errors import UnknownModel


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """One shipped weights file."""

    name: str
    file: str
    sha256: str
    """SHA-256 of the weights file, in hexadecimal. Its first twelve digits are the model id."""
    default: bool

    @property
    def id(self) -> bytes:
        """The model id: six bytes, as stored in `.cae` files."""
        return bytes.fromhex(self.sha256)[:6]

    def read(self) -> bytes:
        """Return the bytes of the weights file.

        Raises `UnknownModel` if the file is missing or is not the registered one.
        """
        try:
            data = (resources.files("codec") / "weights" / self.file).read_bytes()
        except OSError as error:
            raise UnknownModel(f"weights of model {self.name!r} cannot be read: {error}") from None
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UnknownModel(f"weights of model {self.name!r} are damaged: SHA-256 differs")
        return data


@functools.cache
def entries() -> tuple[ModelEntry, ...]:
    """Return all shipped models, from `codec/weights/models.toml`."""
    text = (resources.files("codec") / "weights" / "models.toml").read_text(encoding="utf-8")
    return tuple(ModelEntry(name=name, **fields) for name, fields in tomllib.loads(text).items())


def by_id(model_id: bytes) -> ModelEntry:
    """Return the shipped model with the id that a file stores. Raises `UnknownModel`."""
    for entry in entries():
        if entry.id == model_id:
            return entry
    raise UnknownModel(
        f"the file needs model {model_id.hex()}, which is not installed "
        f"(installed: {', '.join(f'{e.id.hex()} {e.name}' for e in entries()) or 'none'})"
    )


def named(model: str | None) -> ModelEntry:
    """Return the shipped model with a name or id, or the default model if `model` is None.

    Raises `UnknownModel`.
    """
    for entry in entries():
        if entry.default if model is None else model in (entry.name, entry.id.hex()):
            return entry
    names = ", ".join(entry.name for entry in entries())
    raise UnknownModel(f"no model named {model!r} (shipped: {names})")


def is_path(model: str | Path | None) -> TypeGuard[str | Path]:
    """Return whether `model` is the path of a weights file, and not the name of a shipped model."""
    return model is not None and Path(model).suffix == ".safetensors"


def find(model: str | Path | None) -> tuple[str, bytes]:
    """Return name and weights of a model.

    `model` is the name or id of a shipped model, None for the default model, or the path of a
    `.safetensors` file. Raises `UnknownModel` if no shipped model has this name or id, and
    `OSError` if a file cannot be read.
    """
    if is_path(model):
        path = Path(model)
        return path.stem, path.read_bytes()
    entry = named(None if model is None else str(model))
    return entry.name, entry.read()


def describe(entry: ModelEntry) -> dict[str, Any]:
    """Return an entry as plain values, for `codec models`."""
    size = (resources.files("codec") / "weights" / entry.file).stat().st_size  # type: ignore[attr-defined]
    return {
        "name": entry.name,
        "id": entry.id.hex(),
        "default": entry.default,
        "bytes": size,
        "sha256": entry.sha256,
    }
