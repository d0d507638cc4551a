"""Tests of the range coder: exact tables, escapes, permanent bytes and detected damage."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from codec.entropy_coder import PRECISION, Decoder, Encoder, Groups, Table, TableSet
from codec.errors import FormatError
from codec.model.quantization import SYMBOL_LIMIT
from codec.training.tables import gaussian_prior, to_frequencies


@pytest.fixture(scope="module")
def tables() -> TableSet:
    made = []
    for scale in (0.2, 1.0, 7.0):
        reach = int(4 * scale) + 1
        prior = gaussian_prior(scale, 0.0, -reach, reach)
        made.append(Table(-reach, to_frequencies(np.append(prior, 1e-4))))
    made.append(Table(5, to_frequencies(np.array([0.5, 0.5, 1e-9]))))
    return TableSet(made)


def sample(tables: TableSet, size: int, seed: int = 0) -> tuple[np.ndarray, Groups]:
    """Return symbols that are sorted by table, and their groups."""
    # Only integers are drawn: random normals may differ between versions of numpy.
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, 4, size).astype(np.uint16)
    symbols = (rng.integers(-9, 10, size) * (indexes + 1) // 3).astype(np.int32)
    order, groups = tables.grouped(indexes)
    return symbols[order], groups


def coded(tables: TableSet, *calls: tuple[np.ndarray, Groups]) -> bytes:
    """Return the payload of group calls."""
    encoder = Encoder(tables)
    for symbols, groups in calls:
        encoder.put(symbols, groups)
    return encoder.finish()


def test_groups(tables: TableSet) -> None:
    """Values are sorted by table; those of one table keep their order."""
    numbers = [3, 0, 3, 2, 0, 0, 3]
    for indexes in (np.array(numbers, np.uint8), np.array(numbers, np.uint16)):
        order, groups = tables.grouped(indexes)
        assert order.tolist() == [1, 4, 5, 3, 0, 2, 6]
        assert groups == [(0, 3), (2, 1), (3, 3)]
        order, groups = tables.grouped(indexes[:0])
        assert (order.size, groups) == (0, [])


@pytest.mark.parametrize("size", [0, 1, 2, 1000, 50_000])
def test_round_trip(tables: TableSet, size: int) -> None:
    symbols, groups = sample(tables, size)
    again = (symbols[::-1].copy(), groups[::-1])  # the coder accepts groups in any order
    decoder = Decoder(tables, coded(tables, (symbols, groups), again, (symbols, groups)))
    for expected, runs in ((symbols, groups), again, (symbols, groups)):
        found = decoder.get(runs)
        assert found.dtype == np.int32
        assert np.array_equal(found, expected)
    decoder.finish()


def test_calls_and_groups_may_be_split(tables: TableSet) -> None:
    """Without escapes, only the order of the symbols determines the payload."""
    symbols = np.array([1, 0, -1, 1, 1, 0], np.int32)
    whole = coded(tables, (symbols, [(1, 2), (2, 4)]))
    assert coded(tables, (symbols, [(1, 1), (1, 1), (2, 3), (2, 1)])) == whole
    assert coded(tables, (symbols[:2], [(1, 2)]), (symbols[2:], [(2, 4)])) == whole
    decoder = Decoder(tables, whole)
    assert np.array_equal(np.concatenate([decoder.get([(1, 2)]), decoder.get([(2, 4)])]), symbols)


def test_escapes_follow_their_call(tables: TableSet) -> None:
    """Escapes of all groups of a call come after its last group, in coding order."""
    far = np.array([100, -100, 0, 5000, -7], np.int32)
    groups: Groups = [(0, 2), (1, 3)]
    rest = (np.array([7, 6], np.int32), [(3, 2)])
    payload = coded(tables, (far, groups), rest)
    decoder = Decoder(tables, payload)
    escapes = [tables.tables[index].escape for index in range(2)]
    positions = [decoder._decode([(tables._models[index], count)]).tolist() for index, count in groups]
    assert positions == [[escapes[0]] * 2, [-tables.tables[1].lowest, escapes[1], escapes[1]]]
    digits = decoder._get_digits(4).tolist()
    lowest = [table.lowest for table in tables.tables]
    beyond = [table.lowest + table.escape for table in tables.tables]
    assert digits == [
        2 * (100 - beyond[0]), 2 * (lowest[0] + 100) - 1, 2 * (5000 - beyond[1]), 2 * (lowest[1] + 7) - 1
    ]
    assert np.array_equal(decoder.get(rest[1]), rest[0])
    decoder.finish()


def test_escapes_at_and_beyond_the_ends(tables: TableSet) -> None:
    for index, table in enumerate(tables.tables):
        low, high = table.lowest, table.lowest + table.escape - 1
        edges = [low, high, low - 1, high + 1, low - 64, high + 64, low - 65, high + 65]
        symbols = np.array([*edges, -SYMBOL_LIMIT, SYMBOL_LIMIT, 0], np.int32)
        groups = [(index, symbols.size)]
        decoder = Decoder(tables, coded(tables, (symbols, groups)))
        assert np.array_equal(decoder.get(groups), symbols)
        decoder.finish()


def test_size_meets_the_information_content(tables: TableSet) -> None:
    rng = np.random.default_rng(0)
    table = tables.tables[2]
    position = rng.choice(table.escape, 100_000, p=table.frequencies[:-1] / table.frequencies[:-1].sum())
    symbols = (position + table.lowest).astype(np.int32)
    symbols[:300] = rng.integers(-20_000, 20_000, 300)  # escapes of one to three digits
    assert abs(8 * len(coded(tables, (symbols, [(2, symbols.size)]))) - table.bits(symbols)) < 64


def test_bytes_never_change() -> None:
    """Fails if a new version of constriction, numpy or libm would change the files."""
    made = []
    for lowest, frequencies in ((-2, [1 << 20, 1 << 22, 1 << 23]), (0, [(1 << 24) - 2, 1])):
        rest = (1 << PRECISION) - sum(frequencies)
        made.append(Table(lowest, np.array([*frequencies, rest], np.int64)))
    tables = TableSet([*made, *made])
    digest = hashlib.sha256(coded(tables, sample(tables, 300_000))).hexdigest()
    assert digest == "f1c0afd93e97bc2463c962fb0f5b10851ac3b3f50aa9121fc923713521d14c55"


@pytest.mark.parametrize(
    "frequencies",
    [[1], [1 << 24], [1] * (1 << 16) + [255 << 16], [0, 1 << 24], [-1, (1 << 24) + 1], [5, 5],
     [1 << 23, (1 << 23) + 1]],
)
def test_tables_are_checked(frequencies: list[int]) -> None:
    with pytest.raises(ValueError, match=r"table|frequencies"):
        Table(0, np.array(frequencies, np.int64))


@pytest.mark.parametrize("last", [1, 255])
def test_an_escape_without_end(tables: TableSet, last: int) -> None:
    encoder = Encoder(tables)
    symbols = np.full(5, tables.tables[0].escape, np.int32)
    encoder._coder.encode(symbols, tables._models[0])
    for digit in (255, 255, 255, 255, last):
        encoder._coder.encode(np.full(5, digit, np.int32), tables._digit)
    with pytest.raises(FormatError, match="too large"):
        Decoder(tables, encoder.finish()).get([(0, 5)])


def test_an_escape_has_one_form(tables: TableSet) -> None:
    encoder = Encoder(tables)
    encoder._coder.encode(np.array([tables.tables[0].escape], np.int32), tables._models[0])
    for digit in (129, 0):
        encoder._coder.encode(np.array([digit], np.int32), tables._digit)
    with pytest.raises(FormatError, match="shortest"):
        Decoder(tables, encoder.finish()).get([(0, 1)])


def test_damage(tables: TableSet) -> None:
    symbols, groups = sample(tables, 1000)
    data = coded(tables, (symbols, groups))
    with pytest.raises(FormatError):
        Decoder(tables, data[:-1])
    decoder = Decoder(tables, data + bytes(8) + b"\x01\x02\x03\x04")
    assert np.array_equal(decoder.get(groups), symbols)
    with pytest.raises(FormatError, match="after its last"):
        decoder.finish()
