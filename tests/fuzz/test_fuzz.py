"""Run the targets of the fuzzers on their corpus, without a fuzzer."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

import codec
from tests.fuzz import targets
from tests.support import hostile, layout

FILES = sorted(targets.CORPUS.iterdir())


@pytest.fixture(autouse=True)
def no_checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zlib, "crc32", hostile.any_crc)


def test_the_corpus_is_small() -> None:
    assert len(FILES) >= 8
    assert sum(path.stat().st_size for path in FILES) < 32 << 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_inspect(path: Path) -> None:
    targets.inspect(path.read_bytes())


def test_decompress(tiny_weights: Path) -> None:
    decompress = targets.decompressor(codec.Codec(model=tiny_weights))
    for path in FILES:
        decompress(path.read_bytes())


def test_targets_notice(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the targets report a function that fails."""
    data = (targets.CORPUS / "stored.cae").read_bytes()
    decompress = targets.decompressor(codec.Codec(model=tiny_weights))
    monkeypatch.setattr(codec, "verify", lambda data: {}[data])
    for target in (targets.inspect, decompress):
        with pytest.raises(hostile.Wrong, match="KeyError"):
            target(data)


def test_mutations_keep_files_whole() -> None:
    data = (targets.CORPUS / "stored-tiles.cae").read_bytes()
    mutate = targets.mutator(lambda data, size: b"usual")
    made = [mutate(data, 4096, seed) for seed in range(400)]
    whole = 0
    for changed in made:
        try:
            layout.parse(changed)
            whole += 1
        except layout.Refused:
            pass
    assert made.count(b"usual") > 100
    assert whole > 50
    assert mutate(b"", 4096, 1) == b"usual"


def test_mutations_code_other_symbols(tiny_weights: Path) -> None:
    worker = codec.Codec(model=tiny_weights)
    decompress = targets.decompressor(worker)
    mutate = targets.mutator(lambda data, size: b"usual", worker)
    data = (targets.CORPUS / "latents.cae").read_bytes()
    fields, (payload,) = layout.parse(data)
    other = 0
    for seed in range(200):
        changed = mutate(data, 1 << 16, seed)
        decompress(changed)
        try:
            again, payloads = layout.parse(changed)
        except layout.Refused:
            continue
        same_header = (again.mode, again.width, again.level) == (fields.mode, fields.width, fields.level)
        other += same_header and payloads != [payload]
    assert other > 20
    stored = (targets.CORPUS / "stored.cae").read_bytes()
    assert b"usual" in {mutate(b"no file", 4096, seed) for seed in range(9)}
    assert mutate(stored, 4096, 0) != stored
