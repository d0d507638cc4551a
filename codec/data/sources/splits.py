"""Splits and partitions that the names of folders and files state.

A name is that of a split if it consists of one of the words below and, at most, digits, separators
and words such as "set" or "images": `train`, `val2017`, `test_set`, `Validation`,
`train-00000-of-00002`. Other words may be there too if they are the same in all names, of which
there is more than one split: `seg_train` and `seg_test`.
"""

from __future__ import annotations

import dataclasses
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from codec.data.layout import pyarrow
from codec.data.sources.base import as_text, listed

_SPLITS = frozenset({
    "train", "training", "trainval", "valid", "validation", "val", "dev", "test", "testing", "eval",
    "evaluation",
})
_FILLERS = frozenset({"data", "dataset", "image", "images", "img", "imgs", "of", "pictures", "set", "split"})

STRING = {"dtype": "string", "_type": "Value"}
"""Hugging Face's description of a column of text."""


def find_splits(names: Sequence[str]) -> list[str | None]:
    """Return the word that makes each name that of a split, or None."""
    found = [_words(name) for name in names]
    shared = len({word for word, _ in found}) > 1 and len({rest for _, rest in found}) == 1
    return [word if shared or not rest else None for word, rest in found]


def _words(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the only word of a split in a name, and the other words that mean something."""
    words = [word for word in re.split(r"[-._ \d]+", name.lower()) if word]
    words = [word.removesuffix("set") or word for word in words]
    found = [word for word in words if word in _SPLITS]
    rest = tuple(word for word in words if word not in _SPLITS and word not in _FILLERS)
    return found[0] if len(found) == 1 else None, rest


@dataclasses.dataclass(frozen=True)
class Levels:
    """Which folders of the names of pictures are the splits and the classes; 0 is the topmost."""

    split: int | None
    label: int
    note: str | None = None


def find_levels(names: Sequence[str]) -> Levels:
    """Return the levels of the splits and of the classes in a folder tree of pictures.

    The classes are the topmost folders, with these exceptions. If all topmost folders are splits by
    name, the classes are the folders below them. Folders above the splits that hold everything are
    passed over. If all folders of the next level are splits, and every picture is in one of them,
    they are the splits of the classes above. If some topmost folders are splits by name and others
    are not, all are classes.
    """
    folders = [name.split("/")[:-1] for name in names]

    def at(level: int) -> list[str]:
        return sorted({path[level] for path in folders if len(path) > level})

    def splits(level: int) -> bool:
        return bool(at(level)) and None not in find_splits(at(level))

    level = 0
    while not splits(level) and len(at(level)) == 1 and all(len(path) > level for path in folders):
        level += 1
    if splits(level):
        above = level > 0 and not at(level + 1)
        label = level - 1 if above else level + 1
    elif splits(level + 1) and all(len(path) > level + 1 for path in folders):
        level, label = level + 1, level
    else:
        alike = [as_text(name) for name in at(0) if _words(name)[0]]
        note = f"named like splits, but classes because of the other folders: {listed(alike)}"
        return Levels(None, 0, note if alike else None)
    note = f"folders that are splits, in the column split: {listed([as_text(name) for name in at(level)])}"
    return Levels(level, label, note)


class FileColumns:
    """Columns whose value is the same for all rows of a file, from the names of files and folders.

    These are partitions (`label=cat/0.parquet`) and splits (`train-0.parquet`, `test/0.parquet`),
    if the files have more than one split.
    """

    def __init__(self, paths: list[Path], root: Path, taken: Sequence[str]) -> None:
        pa = pyarrow()
        relative = [path.relative_to(root) if path != root else Path(path.name) for path in paths]
        pairs = [dict(_pair(part) for part in path.parts[:-1] if "=" in part) for path in relative]
        names = [name for name in dict.fromkeys(n for each in pairs for n in each) if name not in taken]
        self.fields: list[Any] = []
        self.features: dict[str, Any] = {}
        self.notes: list[str] = []
        self.values: list[dict[str, Any]] = [{} for _ in paths]
        """The columns of each file."""
        for name in names:
            found = [each.get(name) for each in pairs]
            whole = all(text is None or re.fullmatch(r"-?(0|[1-9]\d{0,17})", text) for text in found)
            self._add(name, [int(text) if whole and text is not None else text for text in found])
            self.fields.append(pa.field(name, pa.int64() if whole else pa.string()))
        splits = find_splits([path.stem for path in relative])
        for level in range(max(len(path.parts) for path in relative) - 1):
            if None in splits and all(len(path.parts) > level + 1 for path in relative):
                splits = find_splits([path.parts[level] for path in relative])
        if len(set(splits)) > 1 and None not in splits and "split" not in (*taken, *names):
            self._add("split", splits)
            self.fields.append(pa.field("split", pa.string()))
            self.features["split"] = STRING
            names = sorted(set(map(str, splits)))
            self.notes.append(f"files of different splits, in the column split: {listed(names)}")

    def _add(self, name: str, values: Sequence[Any]) -> None:
        for found, value in zip(self.values, values, strict=True):
            found[name] = value


def _pair(part: str) -> tuple[str, str | None]:
    name, _, value = part.partition("=")
    missing = value == "__HIVE_DEFAULT_PARTITION__"
    return urllib.parse.unquote(name), None if missing else urllib.parse.unquote(value)
