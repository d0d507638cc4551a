"""Cells of single rows, and rows in order, of the columns that pyarrow reads.

pyarrow can read a row group only from its beginning. A row group of light columns is read as a
whole and cached. Of a row group of heavy columns, parts of about 4 MB are cached. If its parts are
asked for in order, reading continues where it stopped.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Hashable, Iterator
from typing import Any, Protocol

from codec.data.layout import pyarrow, refused_by_name
from codec.data.reading.cache import ByteCache
from codec.errors import FormatError

_PART = 1 << 22
"""Number of bytes of cells of a heavy row group that are read and cached together."""

_LIGHT = 2 * _PART
"""Maximum number of bytes of a row group that is read as a whole."""

_ROWS = 1024
"""Maximum number of rows of a batch. The rows of a part are a multiple of it, or fewer."""

_CURSORS = 4
"""Number of row groups that are kept open for the part that follows the last one."""

cache = ByteCache(1 << 25)


class Groups(Protocol):
    """What is needed of a shard to read columns of its row groups."""

    part_rows: dict[tuple[int, tuple[str, ...]], int]
    """Number of rows of a part, by row group and columns."""

    @property
    def name(self) -> str: ...

    def group_of(self, row: int) -> int: ...

    def group_rows(self, group: int) -> range: ...

    def weight(self, group: int, columns: tuple[str, ...]) -> int: ...

    def batches(self, group: int, columns: tuple[str, ...], rows: int) -> Generator[Any, None, None]: ...


def cells(shard: Groups, row: int, columns: tuple[str, ...]) -> dict[str, Any]:
    """Return the cells of a row. `columns` may be parts of a struct, such as "image.path"."""
    if not columns:
        return {}
    group = shard.group_of(row)
    arrays: dict[str, Any] | None = None
    while arrays is None:
        count = _rows_per_part(shard, group, columns)
        part, at = divmod(row - shard.group_rows(group).start, count)
        key = (shard, group, columns, count, part)
        arrays = cache.get(key, functools.partial(_read, *key))
    with refused_by_name(shard.name):
        return {name: array[at].as_py() for name, array in arrays.items()}


def rows_in_order(shard: Groups, group: int, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the cells of all rows of a row group. Only a few of them are in memory at a time."""
    rows = len(shard.group_rows(group))
    if not columns or not rows:
        yield from ({} for _ in range(rows))
        return
    seen = 0
    for batch in shard.batches(group, columns, min(_rows_per_part(shard, group, columns), _ROWS)):
        with refused_by_name(shard.name):
            found = batch.to_pylist()
        seen += len(found)
        yield from found
    check_rows(shard, seen, rows)


def _rows_per_part(shard: Groups, group: int, columns: tuple[str, ...]) -> int:
    """Return the number of rows of a part: all rows of a group whose columns are light."""
    count = shard.part_rows.get((group, columns))
    if count is None:
        weight = shard.weight(group, columns)
        rows = len(shard.group_rows(group))
        count = rows if weight <= _LIGHT else _rounded(rows * _PART // weight)
        shard.part_rows[group, columns] = count
    return count


def _rounded(count: int) -> int:
    return max(1, count if count < _ROWS else count - count % _ROWS)


def _read(
    shard: Groups, group: int, columns: tuple[str, ...], count: int, part: int
) -> tuple[dict[str, Any] | None, int]:
    """Return the cells of a part of a row group by column, and their size in bytes.

    Returns None if the cells are much heavier than in the file, where equal values may be stored
    once. The parts then have fewer rows.
    """
    rows = len(shard.group_rows(group))
    wanted = min(count, rows - part * count)
    key = (shard, group, columns, count)
    batches, at = _cursors.take(key, part) or (shard.batches(group, columns, min(count, _ROWS)), 0)
    before = (part - at) * count
    found: list[Any] = []
    seen = size = 0
    for batch in batches:
        if before > 0:
            before -= batch.num_rows
            continue
        found.append(batch)
        seen += batch.num_rows
        size += batch.nbytes
        if size > 2 * _LIGHT and seen > 1:
            batches.close()
            shard.part_rows[group, columns] = min(_rounded(seen * _PART // size), count - 1)
            return None, 0
        if seen >= wanted:
            break
    check_rows(shard, seen, wanted)
    if wanted == rows or not _cursors.keep(key, part + 1, batches):
        batches.close()
        if wanted < rows or size > _PART:  # pyarrow would keep the memory of a large page
            pyarrow().default_memory_pool().release_unused()
    with refused_by_name(shard.name):
        table = pyarrow().Table.from_batches(found).combine_chunks()
        return {name: table[name].chunk(0) for name in table.column_names}, size


def check_rows(shard: Groups, seen: int, wanted: int) -> None:
    """Raise `FormatError` if a row group has fewer or more rows than its footer states."""
    if seen != wanted:
        raise FormatError(f"{shard.name}: a row group has a wrong number of rows: {seen}, not {wanted}")


_Batches = Generator[Any, None, None]


class _Cursors:
    """Row groups that are being read part after part.

    A row group is kept open only after two parts in order, because it may hold a large page in
    memory. A forked process begins without any.
    """

    def __init__(self) -> None:
        self._clear()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._clear)

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[Hashable, tuple[_Batches, int]] = OrderedDict()
        self._next: OrderedDict[Hashable, int] = OrderedDict()

    def take(self, key: Hashable, part: int) -> tuple[_Batches, int] | None:
        """Return an open row group and the part that it continues with, if not after `part`."""
        with self._lock:
            found = self._open.pop(key, None)
        return found if found is not None and found[1] <= part else None

    def keep(self, key: Hashable, after: int, batches: _Batches) -> bool:
        """Keep an open row group that continues with part `after`, if its parts come in order."""
        with self._lock:
            ordered = self._next.pop(key, None) == after - 1
            self._next[key] = after
            if len(self._next) > 16 * _CURSORS:
                self._next.popitem(last=False)
            if ordered:
                self._open[key] = batches, after
                if len(self._open) > _CURSORS:
                    self._open.popitem(last=False)
        return ordered


_cursors = _Cursors()
