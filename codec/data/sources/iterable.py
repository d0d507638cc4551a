"""Iterables of dicts as a source."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from codec.data.sources.base import Item, as_text
from codec.data.sources.values import find_picture, read_local
from codec.errors import FormatError

WAY_OUT = 'give dicts: {"image": picture, "label": label}'


class IterableSource:
    """Dicts with a picture under `column`, optionally "path", and columns of plain values.

    The picture may be the path of a file, a file object, or a dict with "bytes" or "path". The
    types of the columns are found by the writer, because later items may have other columns.
    """

    fields: list[Any] | None = None

    def __init__(self, items: Iterable[Any], column: str = "image") -> None:
        self.column = column
        self.features: dict[str, Any] = {}
        self.ignored: list[str] = []
        self.notes: list[str] = []
        self._rest = iter(items)
        self._position = 0
        start = list(itertools.islice(self._rest, 1))
        self._rest = itertools.chain(start, self._rest)
        if not start:
            return
        first = start[0]
        if not isinstance(first, Mapping):
            raise TypeError(f"items must be dicts, not {named(first)}: {WAY_OUT}")
        if column not in first:
            names = ", ".join(map(str, first)) or "nothing"
            raise TypeError(
                f'items must be dicts with a picture under "{column}", and the first has {names}: '
                "rename one, or name it with column"
            )

    def count(self) -> None:
        return None

    def digest(self, start: int, stop: int) -> str:
        return ""

    def items(self, start: int, stop: int) -> Iterator[Item]:
        if start < self._position:
            raise ValueError("an iterable can be read only once")
        for _ in itertools.islice(self._rest, start - self._position):
            pass
        self._position = start
        for fields in itertools.islice(self._rest, stop - start):
            yield self._item(fields, self._position)
            self._position += 1

    def _item(self, fields: Any, number: int) -> Item:
        if not isinstance(fields, Mapping):
            return Item(f"{number:08d}", _refuse(f"item {number} is {named(fields)}: {WAY_OUT}"), {})
        columns = {name: value for name, value in fields.items() if name not in (self.column, "path")}
        path, load = as_loader(fields.get(self.column), f"item {number}")
        given = fields.get("path")
        name = _name(given) or path or f"{number:08d}"
        wrong = [key for key in columns if not isinstance(key, str)]
        if wrong:
            load, columns = _refuse(f"item {number} has a column whose name is {named(wrong[0])}"), {}
        elif self.column not in fields:
            load = _refuse(f"item {number} has no picture under {self.column!r}")
        return Item(name, load, columns)


def as_loader(value: Any, what: str) -> tuple[str | None, Callable[[], Any]]:
    """Return the name of a picture, if it has one, and a function that loads it."""
    if isinstance(value, (str, os.PathLike)):
        path = os.fsdecode(value)
        return _name(path), functools.partial(_read_file, path)
    if isinstance(value, Mapping):
        return find_picture(value, Path(), what)
    if hasattr(value, "read") and hasattr(value, "seek"):
        return None, value.read
    return None, lambda: value


def _read_file(path: str) -> bytes:
    if "://" in path:
        return read_local(path, Path())
    with open(path, "rb") as file:
        return file.read()


def _name(value: Any) -> str | None:
    """Return the text of a path. Names that are not UTF-8 are escaped."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        return None if value is None else str(value)
    text = os.fsdecode(value)
    try:
        return as_text(text)
    except UnicodeEncodeError:
        return text


def named(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _refuse(message: str) -> Callable[[], Any]:
    def load() -> Any:
        raise FormatError(message)

    return load
