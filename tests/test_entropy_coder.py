"""Tests of the range coder: exact tables, escapes, permanent bytes and detected damage."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from codec.entropy_coder import PRECISION, Decoder, Encoder, Table, TableSet
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


def sample(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    # Only integers are drawn: random normals may differ between versions of numpy.
    rng = np.random.default_rng(seed)
    indexes = rng.integers(0, 4, size).astype(np.uint16)
    symbols = (rng.integers(-9, 10, size) * (indexes + 1) // 3).astype(np.int32)
    return symbols, indexes


@pytest.mark.parametrize("size", [0, 1, 2, 1000, 50_000])
def test_round_trip(tables: TableSet, size: int) -> None:
    symbols, indexes = sample(size)
    encoder = Encoder(tables)
    encoder.put(symbols, indexes)
    encoder.put(symbols[::-1].copy(), indexes[::-1].copy())
    decoder = Decoder(tables, encoder.finish())
    assert np.array_equal(decoder.get(indexes), symbols)
    assert np.array_equal(decoder.get(indexes[::-1].copy()), symbols[::-1])
    decoder.finish()


def test_escapes_at_and_beyond_the_ends(tables: TableSet) -> None:
    for index, table in enumerate(tables.tables):
        low, high = table.lowest, table.lowest + table.escape - 1
        edges = [low, high, low - 1, high + 1, low - 64, high + 64, low - 65, high + 65]
        symbols = np.array([*edges, -SYMBOL_LIMIT, SYMBOL_LIMIT, 0], np.int32)
        indexes = np.full(symbols.size, index, np.uint16)
        encoder = Encoder(tables)
        encoder.put(symbols, indexes)
        decoder = Decoder(tables, encoder.finish())
        assert np.array_equal(decoder.get(indexes), symbols)
        decoder.finish()


def test_size_meets_the_information_content(tables: TableSet) -> None:
    rng = np.random.default_rng(0)
    table = tables.tables[2]
    position = rng.choice(table.escape, 100_000, p=table.frequencies[:-1] / table.frequencies[:-1].sum())
    symbols = (position + table.lowest).astype(np.int32)
    symbols[:300] = rng.integers(-20_000, 20_000, 300)  # escapes of one to three digits
    encoder = Encoder(tables)
    encoder.put(symbols, np.full(symbols.size, 2, np.uint16))
    assert abs(8 * len(encoder.finish()) - table.bits(symbols)) < 64


def test_bytes_never_change() -> None:
    """Fails if a new version of constriction, numpy or libm would change the files."""
    symbols, indexes = sample(300_000)
    made = []
    for lowest, frequencies in ((-2, [1 << 20, 1 << 22, 1 << 23]), (0, [(1 << 24) - 2, 1])):
        rest = (1 << PRECISION) - sum(frequencies)
        made.append(Table(lowest, np.array([*frequencies, rest], np.int64)))
    encoder = Encoder(TableSet([*made, *made]))
    encoder.put(symbols, indexes)
    digest = hashlib.sha256(encoder.finish()).hexdigest()
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
        Decoder(tables, encoder.finish()).get(np.zeros(5, np.uint16))


def test_an_escape_has_one_form(tables: TableSet) -> None:
    encoder = Encoder(tables)
    encoder._coder.encode(np.array([tables.tables[0].escape], np.int32), tables._models[0])
    for digit in (129, 0):
        encoder._coder.encode(np.array([digit], np.int32), tables._digit)
    with pytest.raises(FormatError, match="shortest"):
        Decoder(tables, encoder.finish()).get(np.zeros(1, np.uint16))


def test_damage(tables: TableSet) -> None:
    symbols, indexes = sample(1000)
    encoder = Encoder(tables)
    encoder.put(symbols, indexes)
    data = encoder.finish()
    with pytest.raises(FormatError):
        Decoder(tables, data[:-1])
    decoder = Decoder(tables, data + bytes(8) + b"\x01\x02\x03\x04")
    decoder.get(indexes)
    with pytest.raises(FormatError, match="after its last"):
        decoder.finish()
