"""Appending to a dataset: which items of a source are not packed yet, and the shards for them.

Items are recognized by their names. Shards that exist are never changed. Classes that are new come
behind the others, so that labels keep their meaning.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from codec.data.layout import class_names
from codec.data.reading.shards import Shard
from codec.data.sources import Item, Source
from codec.errors import FormatError

_ALONE = "append without --part first"


@dataclasses.dataclass
class Addition:
    """What appending has to do."""

    source: Source
    """The new items."""
    numbers: list[int]
    """Numbers of the new shards: some may be empty, none may exist."""
    total: int
    """Number of all shards afterwards."""
    notes: dict[str, int]
    retried: set[str]
    """Names of bad pictures that have been packed since, or are in `source` again."""


def plan(shards: dict[int, Shard], source: Source, shard_rows: int, *, several: bool) -> Addition:
    """Return what to append to these shards, by number, so that they hold all items of a source.

    `several` says whether other processes append at the same time. All of them must then derive the
    same shards, so the shards of the last append that exist already are taken into account by
    number only.

    Raises `FormatError` if the items have no names, or columns that the shards lack.
    """
    totals = sorted({shard.settings.shards or 0 for shard in shards.values() if shard.settings})
    total = max([0, *totals])
    missing = [number for number in range(total) if number not in shards]
    base = dict(shards)
    if several and missing:
        begun = next((each for each in reversed(totals) if each < total), 0)
        base = {number: shard for number, shard in shards.items() if number < begun}
        if len(base) < begun:
            raise FormatError(f"shard {missing[0]} of an earlier call is missing: {_ALONE}")
    names = list(_names(source))
    new, notes, retried = _compared(base.values(), names, source)
    fields, features, relabel = _extended(base, source)
    added = _Selection(source, new, fields, features, relabel)
    chunks = -(-len(new) // shard_rows)
    if several and missing:
        numbers = list(range(len(base), len(base) + chunks))
        begun_so = all(
            (account := shards[number].account) is not None
            and account.source == added.digest(place * shard_rows, (place + 1) * shard_rows)
            for place, number in enumerate(numbers) if number in shards
        )
        if len(base) + chunks != total or not begun_so:
            raise FormatError(f"the source has changed since appending began: {_ALONE}")
    else:
        numbers = list(itertools.islice(itertools.chain(missing, itertools.count(total)), chunks))
        numbers += missing[chunks:]  # their pictures are gone, and their numbers must not be missing
    total = max([total, *(number + 1 for number in numbers)])
    return Addition(source=added, numbers=numbers, total=total, notes=notes, retried=retried)


def _names(source: Source) -> Iterator[str]:
    for number, item in enumerate(source.items(0, source.count() or 0)):
        if item.path is None or item.path == f"{number:08d}":
            raise FormatError(
                f"item {number} of the source has no name, so it is not known whether it is packed already: "
                "append needs names, or pack into another folder"
            )
        yield item.path


def _compared(
    shards: Iterable[Shard], names: list[str], source: Source
) -> tuple[list[int], dict[str, int], set[str]]:
    """Compare the names of the items of a source with those in existing shards.

    Returns the positions of the items that are not packed, notes on the shards, and the names of
    bad pictures that have been packed since or are not packed. Bad pictures count as packed, unless
    their shard shows that its source has changed.
    """
    packed, bad = collections.Counter[str](), collections.Counter[str]()
    inside: list[tuple[Shard, list[str], list[str]]] = []
    for shard in shards:
        assert shard.account is not None
        paths = [path or "" for group in range(shard.groups) for path in shard.paths_in_order(group)]
        failed = [failure["path"] for failure in shard.account.failures]
        packed.update(paths)
        bad.update(failed)
        inside.append((shard, paths, failed))
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    gone = (packed - collections.Counter(names)).total()
    notes = {"no longer in the source, kept as packed": gone} if gone else {}
    done = packed + bad
    for shard, paths, failed in inside:
        if _is_unchanged(shard, [places.get(name, []) for name in paths + failed], source):
            continue
        if shard.rows:
            notes[f"files of {shard.name} have changed in the source, its pictures are kept as packed"] = 0
        done.subtract(failed)
    new = []
    for place, name in enumerate(names):
        if done[name] > 0:
            done[name] -= 1
        else:
            new.append(place)
    return new, notes, bad.keys() & (packed.keys() | {names[place] for place in new})


def _is_unchanged(shard: Shard, places: list[list[int]], source: Source) -> bool:
    """Return whether the items of a shard, by their places, are in the source as they were.

    If this is not known, return True.
    """
    digest_of: Callable[[Sequence[int]], str] | None = getattr(source, "digest_of", None)
    if digest_of is None or shard.account is None or not shard.account.source:
        return True
    if any(len(each) != 1 for each in places):
        return True  # some are gone, which is noted, or share a name
    return digest_of(sorted(each[0] for each in places)) == shard.account.source


_Relabel = dict[str, list[int]]
"""New numbers of the classes of a column, by their numbers in the source."""


def _extended(shards: dict[int, Shard], source: Source) -> tuple[Any, dict[str, Any], _Relabel]:
    """Return fields and features for the new shards, and the new numbers of classes."""
    if not shards:
        return source.fields, source.features, {}
    shard = shards[max(shards)]  # the one with all classes
    fields = [field for field in shard.schema if field.name != shard.column]
    there = {field.name: field.type for field in fields}
    for field in source.fields or []:
        if there.get(field.name) != field.type:
            found = there.get(field.name, "no such column")
            raise FormatError(
                f"the source has a column {field.name!r} of {field.type}, and the dataset {found}: "
                "pack into another folder"
            )
    if "split" in there and "split" not in {field.name for field in source.fields or []}:
        raise FormatError(
            "the dataset has a column 'split', and the source does not state the splits (there are other "
            "folders beside them, or only one): pack into another folder"
        )
    features = {name: about for name, about in shard.features.items() if name != shard.column}
    relabel: _Relabel = {}
    for name, about in source.features.items():
        names, old = class_names(about), class_names(features.get(name))
        if names is None or old is None:
            if features.get(name) != about:
                raise FormatError(
                    f"column {name!r} is described differently in the dataset: pack into another folder"
                )
            continue
        every = [*old, *(each for each in names if each not in old)]
        features[name] = {**features[name], "names": every}
        relabel[name] = [every.index(each) for each in names]
    return fields, features, relabel


class _Selection:
    """Some items of a source, in its order."""

    def __init__(
        self, source: Source, places: list[int], fields: Any, features: dict[str, Any], relabel: _Relabel
    ) -> None:
        self.column = source.column
        self.fields: list[Any] | None = fields
        self.features = features
        self.ignored = source.ignored
        self.notes = source.notes
        self._source = source
        self._places = places
        self._relabel = relabel

    def count(self) -> int:
        return len(self._places)

    def digest(self, start: int, stop: int) -> str:
        digest_of: Callable[[Sequence[int]], str] | None = getattr(self._source, "digest_of", None)
        if digest_of is not None:
            return digest_of(self._places[start:stop])
        parts = [self._source.digest(first, after) for first, after in _runs(self._places[start:stop])]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def items(self, start: int, stop: int) -> Iterator[Item]:
        for first, after in _runs(self._places[start:stop]):
            for item in self._source.items(first, after):
                for name, numbers in self._relabel.items():
                    label = item.columns.get(name)
                    if isinstance(label, int) and 0 <= label < len(numbers):
                        item.columns[name] = numbers[label]
                yield item


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of consecutive numbers."""
    for _, run in itertools.groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        found = [place for _, place in run]
        yield found[0], found[-1] + 1
