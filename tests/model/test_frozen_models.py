"""Shipped models never change: their tables, the coded bytes, and the proof of exact sums."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load

from codec.entropy_coder import Decoder, Encoder, TableSet
from codec.model import registry
from codec.model.exact import ACTIVATION_BITS, LIMIT
from codec.model.weights import deserialise

# For each model, the SHA-256 of its tables, and of 300,000 symbols that are coded with them. Every
# new model is added by hand. A new version of constriction, numpy or libm must not change a digest.
DIGESTS = {
    "6cbc9781ae79": (
        "0b02a09457d4aeea81fa765f947f010213629030e77d96996bc2696813d1aec4",
        "a33dc01526ba16c0e45d98b0c9a51ba339e3116010d83e236a29a6c35cf4c216",
    ),  # medium
    "3d449f05ce11": (
        "0f96ec4d3ac20a80b48eab1b7b47e5c2c82c1a831e8bcdb11cd69e4fef7dc5b0",
        "47ff93a6122c9fcd530fa31e6267f110f1f7b1a0e6798a961179e6edcad3bf3b",
    ),  # medium-0.4
    "b28b72fd0271": (
        "48f73ccdd8229aa3d1d7297588b998250ccd4c24e5b0fb4d1892eed3c0ed1998",
        "8e78cbc2fc28929b8c981c28ebf44f370e87ba0fbe5e1f390c1f34413c21790e",
    ),  # medium-0.3
    "69db4c80959a": (
        "d7de10d7298ff16c709382019713d0e754f3b0353a38429fa6fd8bb92dd15f9f",
        "6a8908a560e2e420997d29b9a6852b74846e15b4c544429ab56d205f6d07b879",
    ),  # medium-0.1
}


def tables_digest(tables: TableSet) -> str:
    digest = hashlib.sha256()
    for table in tables.tables:
        digest.update(np.array([table.lowest, table.frequencies.size], "<i8").tobytes())
        digest.update(table.frequencies.astype("<i8").tobytes())
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


def test_every_shipped_model_is_here() -> None:
    assert set(DIGESTS) == {entry.id.hex() for entry in registry.entries()}


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_tables_and_bytes_never_change(entry: registry.ModelEntry) -> None:
    _, tables = deserialise(entry.read())
    symbols, indexes = sample(tables, 300_000)
    encoder = Encoder(tables)
    encoder.put(symbols, indexes)
    data = encoder.finish()
    found = tables_digest(tables), hashlib.sha256(data).hexdigest()
    assert found == DIGESTS[entry.id.hex()]
    decoder = Decoder(tables, data)
    assert np.array_equal(decoder.get(indexes), symbols)
    decoder.finish()


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda entry: entry.name)
def test_sums_are_exact_in_float64(entry: registry.ModelEntry) -> None:
    """Check Σ|w|·|a| + |b| < 2^53, with the bits that the leaky slope adds.

    The sums are computed from the integers of the weights file, without `freeze`.
    """
    tensors = {name: value for name, value in load(entry.read()).items() if name.startswith("entropy_model.")}
    layers = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    assert len(layers) >= 16
    activation = int(LIMIT) << ACTIVATION_BITS
    for name in layers:
        weight, bias = (tensors[f"{name}.{part}"].astype(np.int64) for part in ("weight", "bias"))
        # Sum over both sides of a 3×3 kernel, or over the inputs, which are the second axis.
        sums = np.abs(weight).sum((0, 1) if weight.shape[:2] == (3, 3) else 1) * activation
        # Rounding after a leaky slope of 1/8 needs three more bits.
        assert int((sums + np.abs(bias).reshape(sums.shape)).max()) << 3 < 1 << 53
