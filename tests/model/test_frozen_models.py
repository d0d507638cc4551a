"""Shipped models never change: their tables, the coded bytes, and the proof of exact sums.

    python -m tests.model.test_frozen_models

adds the digests of new models to `digests.json`, and removes those of models that no longer ship.
It changes none.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from codec.entropy_coder import Decoder, Encoder, TableSet
from codec.model import registry
from codec.model.exact import ACTIVATION_BITS, LIMIT
from codec.model.weights import deserialise

DIGESTS = Path(__file__).with_name("digests.json")
"""For each model, the SHA-256 of its tables, and of 300,000 symbols that are coded with them.

A new version of constriction, numpy or libm must not change a digest.
"""


def tables_digest(tables: TableSet) -> str:
    digest = hashlib.sha256()
    for table in tables.tables:
        digest.update(np.array([table.lowest, table.frequencies.size], "<i8").tobytes())
        digest.update(table.frequencies.astype("<i8").tobytes())
    digest.update(bytes([tables.skip]))
    return digest.hexdigest()


def sample(tables: TableSet, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return symbols in and around the range of each table.

    They do not use the random generators of numpy, which may change.
    """
    numbers = np.arange(1, 2 * size + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ numbers >> np.uint64(31)) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(33)
    first, second = numbers.astype(np.int64).reshape(2, size)
    indexes = (first % len(tables.tables)).astype(np.uint16)
    lowest = np.array([table.lowest for table in tables.tables])[indexes]
    count = np.array([table.escape for table in tables.tables])[indexes]
    symbols = lowest + second % (count + 1 + count // 16) - count // 32
    return symbols.astype(np.int32), indexes


def digests(entry: registry.ModelEntry) -> list[str]:
    """Return the digests of a model. The coded symbols are also decoded."""
    _, tables = deserialise(entry.read())
    symbols, indexes = sample(tables, 300_000)
    order, groups = tables.grouped(indexes)
    encoder = Encoder(tables)
    encoder.put(symbols[order], groups)
    data = encoder.finish()
    decoder = Decoder(tables, data)
    assert np.array_equal(decoder.get(groups), symbols[order])
    decoder.finish()
    return [tables_digest(tables), hashlib.sha256(data).hexdigest()]


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_tables_and_bytes_never_change(entry: registry.ModelEntry) -> None:
    assert digests(entry) == json.loads(DIGESTS.read_text())[entry.id.hex()]


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_sums_are_exact_in_float32(entry: registry.ModelEntry) -> None:
    """Check that all sums are below 2^24 units of their grids.

    The sums are computed from the integers of the weights file, without `freeze`.
    """
    tensors = {
        name.removeprefix("scale_model."): value.astype(np.int64)
        for name, value in load(entry.read()).items() if name.startswith("scale_model.")
    }
    # Tables are in units of 2^-4. After interpolation, their grid is 2^-11.
    added = {"spatial": "quality.table", "index": "offset.table"}
    assert set(tensors) == {
        f"{layer}.{part}" for layer in ("spatial", "hidden", "index") for part in ("weight", "bias")
    } | set(added.values())
    for layer in ("spatial", "hidden", "index"):
        activation = int(LIMIT) << ACTIVATION_BITS
        sums = np.abs(tensors[f"{layer}.weight"]).sum(1) * activation + np.abs(tensors[f"{layer}.bias"])
        largest = int(sums.max())  # in units of 2^-12
        table = int(np.abs(tensors[added[layer]]).max()) if layer in added else 0
        if layer == "index":  # in units of 2^-11 of a scale index; the sums are multiplied by 8
            largest = 4 * largest + (table << 7)
        else:
            largest += table << 8
        assert largest < 1 << 24


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_probabilities_rise_smoothly_with_the_scale(entry: registry.ModelEntry) -> None:
    """Also at the skip index: tables below it are for dense tiles, where symbols are not all 0.

    The table of index 0 is also that of all smaller scales.
    """
    _, tables = deserialise(entry.read())
    ones = [table.frequencies[1 - table.lowest] for table in tables.tables[1 : tables.skip + 8]]
    ratios = [after / before for before, after in itertools.pairwise(ones)]
    assert min(ratios) > 1
    assert max(ratios) < 6


def main() -> None:
    """Write the digests of the shipped models. Those that are known are kept."""
    known = json.loads(DIGESTS.read_text())
    shipped = {entry.id.hex(): known.get(entry.id.hex()) or digests(entry) for entry in registry.entries()}
    DIGESTS.write_text(json.dumps(shipped, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
