"""Range coding of symbols with integer tables.

This is the only module that imports constriction. The integers of a table determine every bit;
nothing is computed from floats here. Symbols outside the range of a table are escaped: the last
entry of the table is coded in their place, and the distance follows in base-128 digits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from codec.errors import FormatError

PRECISION = 24
"""Probabilities are multiples of 2^-24 and sum to 1."""

_ESCAPE_DIGITS = 4
"""Maximum number of base-128 digits of an escaped distance: 28 bits, more than any symbol needs."""

Symbols = NDArray[np.int32]

Groups = list[tuple[int, int]]
"""Runs of symbols that one table codes: (position of the table, number of symbols), in order."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Frequencies of the symbols lowest, lowest+1, …, followed by the frequency of the escape.

    `frequencies`: positive integers that sum to 2^24.
    """

    lowest: int
    frequencies: NDArray[np.int64]

    def __post_init__(self) -> None:
        f = self.frequencies
        if f.ndim != 1 or not 2 <= f.size <= 1 << 16:
            raise ValueError("a table needs 2 to 65,536 entries")
        if abs(self.lowest) > 1 << 20:
            raise ValueError("the lowest symbol of a table must be within ±2^20")
        if f.dtype != np.int64 or f.min() < 1 or int(f.sum()) != 1 << PRECISION:
            raise ValueError("frequencies must be positive int64 and sum to 2^24")

    @property
    def escape(self) -> int:
        """Position of the escape entry, equal to the number of symbols that the table covers."""
        return self.frequencies.size - 1

    def bits(self, symbols: Symbols) -> float:
        """Return the information content of `symbols` under this table, in bits.

        The digits of escaped symbols are included.
        """
        position = symbols.astype(np.int64) - self.lowest
        outside = (position < 0) | (position >= self.escape)
        distances = escaped_distance(position[outside], self.escape)
        digits = sum(int((distances >= 128**place).sum()) for place in range(1, _ESCAPE_DIGITS))
        position = np.where(outside, self.escape, position)
        bits = PRECISION * symbols.size - np.log2(self.frequencies[position]).sum()
        return float(bits + 8 * (digits + distances.size))


def escaped_distance(position: NDArray[np.int64], escape: int | Symbols) -> NDArray[np.int64]:
    """Return the distances that code positions outside 0…escape-1.

    Positions above the range give even numbers, positions below it odd numbers. `escape` may be an
    array of the shape of `position`.
    """
    distance: NDArray[np.int64] = np.where(position < 0, -2 * position - 1, 2 * (position - escape))
    return distance


def _model(frequencies: NDArray[np.int64]) -> Any:
    # constriction uses integer weights w that sum to 2^24 - n exactly: entry i gets w_i + 1.
    return constriction.stream.model.Categorical(
        (frequencies - 1).astype(np.float64), perfect=False, lazy=False
    )


_FLAG = np.array([(1 << PRECISION) - (1 << 14), 1 << 14])
_DIGIT = np.full(256, 1 << (PRECISION - 8), dtype=np.int64)


class TableSet:
    """All tables of a model, prepared for coding. Tables are addressed by their position.

    Symbols of the tables 0…`skip` are not coded. They are 0 by definition.
    """

    def __init__(self, tables: Sequence[Table], skip: int = -1) -> None:
        self.tables = tuple(tables)
        self.skip = skip
        self._models = [_model(table.frequencies) for table in self.tables]
        self._digit = _model(_DIGIT)
        self._flag = _model(_FLAG)
        self._lowest = np.array([table.lowest for table in self.tables], np.int32)
        self._escape = np.array([table.escape for table in self.tables], np.int32)

    def grouped(self, indexes: NDArray[np.uint8] | NDArray[np.uint16]) -> tuple[NDArray[np.intp], Groups]:
        """Return the order that sorts values by their table, and the groups of the sorted values.

        The sort is stable.
        """
        order = np.argsort(indexes, kind="stable")
        counts = np.bincount(indexes, minlength=len(self.tables))
        present = np.flatnonzero(counts)
        return order, list(zip(present.tolist(), counts[present].tolist(), strict=True))

    def bounds(self, groups: Groups) -> tuple[Symbols, Symbols]:
        """Return the lowest symbol and the escape of the table of every value, in groups.

        One call for all groups is much faster than one for each: a tile of a small picture has
        about a hundred groups of a few values.
        """
        tables = [table for table, _ in groups]
        counts = [count for _, count in groups]
        return np.repeat(self._lowest[tables], counts), np.repeat(self._escape[tables], counts)


class Encoder:
    """Codes groups of symbols, each with one table, into one payload."""

    def __init__(self, tables: TableSet) -> None:
        self._set = tables
        self._coder = constriction.stream.queue.RangeEncoder()

    def put_flag(self, flag: bool) -> None:
        """Append a flag, which is rarely set."""
        self._coder.encode(np.array([flag], np.int32), self._set._flag)

    def put(self, symbols: Symbols, groups: Groups) -> None:
        """Append int32 `symbols`, which are sorted by table, as `groups` states."""
        if not groups:
            return
        lowest, escape = self._set.bounds(groups)
        position = symbols - lowest
        outside = np.flatnonzero((position < 0) | (position >= escape))
        distances = escaped_distance(position[outside].astype(np.int64), escape[outside])
        position[outside] = escape[outside]
        start = 0
        for index, count in groups:
            self._coder.encode(position[start : start + count], self._set._models[index])
            start += count
        if distances.size:
            self._put_digits(distances)

    def _put_digits(self, values: NDArray[np.int64]) -> None:
        while values.size:
            more = values >= 128
            digits = (values & 127) + 128 * more
            self._coder.encode(digits.astype(np.int32), self._set._digit)
            values = values[more] >> 7

    def finish(self) -> bytes:
        """Return the payload: little-endian 32-bit words."""
        return bytes(self._coder.get_compressed().astype("<u4").tobytes())


class Decoder:
    """The inverse of `Encoder`. Damage that the CRC does not detect raises `FormatError`."""

    def __init__(self, tables: TableSet, payload: bytes | memoryview) -> None:
        if len(payload) % 4:
            raise FormatError("payload length is not a multiple of 4 bytes")
        self._set = tables
        words = np.frombuffer(payload, dtype="<u4").astype(np.uint32)
        self._coder = constriction.stream.queue.RangeDecoder(words)

    def get_flag(self) -> bool:
        """Return the next flag."""
        return bool(self._decode([(self._set._flag, 1)])[0])

    def get(self, groups: Groups) -> Symbols:
        """Return the next int32 symbols, as many as `groups` states, sorted by table."""
        if not groups:
            return np.empty(0, np.int32)
        position = self._decode([(self._set._models[index], count) for index, count in groups])
        lowest, escape = self._set.bounds(groups)
        escaped = np.flatnonzero(position == escape)
        if escaped.size:
            distance = self._get_digits(escaped.size)
            beyond = escape[escaped] + distance // 2
            position[escaped] = np.where(distance % 2, -(distance + 1) // 2, beyond)
        position += lowest
        return position

    def _get_digits(self, count: int) -> NDArray[np.int64]:
        values = np.zeros(count, dtype=np.int64)
        pending = np.arange(count)
        for place in range(_ESCAPE_DIGITS):
            digits = self._decode([(self._set._digit, pending.size)]).astype(np.int64)
            values[pending] |= (digits & 127) << (7 * place)
            if place and not digits.all():
                raise FormatError("an escaped symbol is not in its shortest form")
            pending = pending[digits >= 128]
            if not pending.size:
                return values
        raise FormatError("an escaped symbol is too large")

    def _decode(self, groups: Sequence[tuple[Any, int]]) -> Symbols:
        """Return the next values, each group of them coded with one model of constriction."""
        # constriction reports impossible codes as AssertionError, and its own bugs as
        # PanicException, which is a BaseException. Counts are bounded by the size of the tile.
        try:
            return np.concatenate([self._coder.decode(model, count) for model, count in groups])
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:
            raise FormatError(f"payload cannot be decoded: {error}") from None

    def finish(self) -> None:
        """Raise `FormatError` if the payload has words left."""
        if not self._coder.maybe_exhausted():
            raise FormatError("payload continues after its last symbol")
