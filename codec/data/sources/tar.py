"""WebDataset tars as a source."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from codec.data.layout import pyarrow
from codec.data.sources.base import Item, as_text, listed, listed_suffixes, suffix_of
from codec.data.sources.members import choose
from codec.data.sources.splits import FileColumns
from codec.data.tars import MEMBER_KEY, Sample, TarIndex, path_in
from codec.errors import FormatError

_SAMPLES_OF_LABELS = 100
"""Labels are whole numbers if at most one in this number of samples has something else."""


class TarSource:
    """Samples of WebDataset tars. A sample consists of the members that share a key.

    One member is the picture (see `members.py`). The others become columns: `.cls` is `label`,
    `.txt` and `.json` are text, everything else is bytes. The metadata of a column's field holds
    the extension, so that `export` can write the member again.

    Labels are whole numbers. If more than one in a hundred is something else, they are all text.
    """

    column = "image"

    def __init__(self, paths: list[Path], root: Path, image: str | None) -> None:
        pa = pyarrow()
        self._index = TarIndex(paths)
        self.ignored = self._index.ignored
        self.notes: list[str] = []
        self._image = None if image is None else image.lower().removeprefix(".")
        self._find_samples(paths)
        extensions = {one for sample, shown in self._samples for one in sample.members if one != shown}
        label = self._label_type() if "cls" in extensions else None
        kinds = {"cls": ("label", label), "txt": ("txt", pa.string()), "json": ("json", pa.string())}
        taken = {self.column, *(kinds[one][0] for one in extensions if one in kinds)}
        self._columns: dict[str, tuple[str, Any]] = {}
        for extension in sorted(extensions):
            name, kind = kinds.get(extension, (as_text(extension).replace(".", "_"), pa.binary()))
            while extension not in kinds and name in taken:
                name += "_"
            taken.add(name)
            self._columns[extension] = (name, kind)
        self._fixed = FileColumns(paths, root, sorted(taken))
        others = [
            pa.field(name, kind, metadata={MEMBER_KEY: extension.encode("utf-8", "surrogateescape")})
            for extension, (name, kind) in self._columns.items()
        ]
        self.fields: list[Any] | None = others + self._fixed.fields
        self.features: dict[str, Any] = dict(self._fixed.features)
        self.notes += self._fixed.notes

    def _find_samples(self, paths: list[Path]) -> None:
        """Set the samples with pictures, each with the extension of its picture or None.

        Raises `FormatError` if no sample shows which of its pictures is meant.
        """
        suffixes = listed_suffixes()
        self._samples: list[tuple[Sample, str | None]] = []
        compressed, kept = set[str](), set[str]()
        for sample in self._index.samples:
            shown, problem = None, None
            try:
                shown = self._choose(sample, suffixes)
            except FormatError as error:
                problem = str(error)
            if shown is None and problem is None:
                self.ignored.append(as_text(f"{paths[sample.tar].name}: {sample.key}"))
                continue
            sample.problem = as_text(sample.problem) if sample.problem else problem
            self._samples.append((sample, shown))
            if shown is not None:
                others = [one for one in sample.members if suffix_of(f"x.{one}") in suffixes and one != shown]
                compressed |= {shown} if others else set()
                kept |= set(others)
        if kept:
            about = f"{listed(sorted(compressed))} is compressed, {listed(sorted(kept))} kept unchanged"
            self.notes.append(as_text(f"samples with several pictures: {about}"))
        if any(shown for _, shown in self._samples):
            return
        if self._image is not None and self._index.samples:
            found = sorted({as_text(one) for each in self._index.samples for one in each.members})
            raise FormatError(f"no sample has a member {self._image!r} (there are: {listed(found)})")
        if self._samples:
            sample = self._samples[0][0]
            raise FormatError(as_text(f"{paths[sample.tar].name}: {sample.key}: {sample.problem}"))

    def _choose(self, sample: Sample, suffixes: frozenset[str]) -> str | None:
        """Return the extension of the picture of a sample, or None if the sample has no picture."""
        if self._image in sample.members:
            return self._image
        if self._image is None:
            return choose(sample.members, suffixes)
        if any(suffix_of(f"x.{extension}") in suffixes for extension in sample.members):
            raise FormatError(f"it has no member {self._image!r}")
        return None

    def _label_type(self) -> Any:
        """Return the type of the column of labels, from all of them."""
        labels, others, first = 0, 0, ""
        for sample, shown in self._samples:
            if "cls" in sample.members and shown != "cls" and sample.problem is None:
                labels += 1
                text = self._index.read(sample, "cls")["cls"]
                if text.strip() and not _is_whole(text):
                    others += 1
                    first = first or as_text(sample.key)
        if others * _SAMPLES_OF_LABELS <= labels:
            return pyarrow().int64()
        self.notes.append(f"labels are text: {others} of {labels} .cls are no whole numbers, first {first}")
        return pyarrow().string()

    def count(self) -> int:
        return len(self._samples)

    def digest(self, start: int, stop: int) -> str:
        return self.digest_of(range(start, min(stop, len(self._samples))))

    def digest_of(self, places: Sequence[int]) -> str:
        """Return a digest of these samples."""
        return self._index.digest([self._samples[place][0] for place in places])

    def items(self, start: int, stop: int) -> Iterator[Item]:
        for sample, shown in self._samples[start:stop]:
            columns: dict[str, Any] = dict(self._fixed.values[sample.tar])
            problem = sample.problem
            picture, path = b"", None
            try:
                found = {} if problem else self._index.read(sample)
                picture = found.pop(shown) if shown in found else b""
                if shown == "cae":  # of our own tars; others have anything under "path"
                    path = path_in(found.get("columns.json")) or path_in(found.get("json"))
                for extension, data in found.items():
                    name, kind = self._columns[extension]
                    columns[name] = _value(extension, data, kind)
            except FormatError as error:
                problem = str(error)
            name = path or as_text(sample.key if shown is None else f"{sample.key}.{shown}")
            yield Item(name, functools.partial(_load, picture, problem), columns)


def _is_whole(text: bytes) -> bool:
    return re.fullmatch(rb"[-+]?[0-9]{1,4000}", text.strip()) is not None


def _value(extension: str, data: bytes, kind: Any) -> Any:
    """Return the value of a column from the content of a member."""
    if str(kind) == "binary":
        return data
    try:
        text = data.decode()
    except ValueError:
        raise FormatError(f"its .{extension} is not text") from None
    if str(kind) != "int64":
        return text
    if not _is_whole(data):
        raise FormatError(f"its .{extension} is not a whole number")
    return int(text)


def _load(picture: bytes, problem: str | None) -> bytes:
    if problem is not None:
        raise FormatError(problem)
    return picture
