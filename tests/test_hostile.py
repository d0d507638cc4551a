"""Thousands of damaged and forged files give a `CodecError` or a picture of the declared shape."""

from __future__ import annotations

import functools
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import codec
from tests.support import hostile, mutants


def checked(weights: Path, kind: str, count: int | None = None, seed: int = 0) -> hostile.Report:
    """Run cases, check that none went wrong, and return the report. `pytest -s` shows it."""
    report = hostile.run(weights, kind, count, seed)
    print(report)
    assert not report.wrong, "\n".join(report.wrong)
    assert report.growth_mib < 64
    return report


def refused(report: hostile.Report) -> int:
    return sum(number for outcome, number in report.outcomes.items() if outcome.startswith("refused"))


def test_every_prefix_is_truncated(tiny_weights: Path) -> None:
    report = checked(tiny_weights, "prefixes")
    assert report.cases > 1000
    assert report.outcomes == {"refused Truncated": report.cases}


@pytest.mark.nightly
def test_prefixes_of_large_files_are_truncated(tiny_weights: Path) -> None:
    assert checked(tiny_weights, "large").outcomes == {"refused Truncated": 1000}


def test_every_bit_flip_is_refused(tiny_weights: Path) -> None:
    report = checked(tiny_weights, "flips")
    assert report.cases > 8000
    assert refused(report) == report.cases


MUTANTS = [1000, pytest.param(200_000, marks=pytest.mark.nightly)]
FORGERIES = [1000, pytest.param(250_000, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("count", MUTANTS)
def test_damage_gives_an_error_or_the_original(tiny_weights: Path, count: int) -> None:
    report = checked(tiny_weights, "mutants", count, seed=count)
    assert report.cases == count
    assert refused(report) + report.outcomes.get("original", 0) == count


@pytest.mark.parametrize("count", FORGERIES)
@pytest.mark.parametrize("kind", ["sealed", "unchecked"])
def test_forgeries_give_an_error_or_a_picture(tiny_weights: Path, kind: str, count: int) -> None:
    report = checked(tiny_weights, kind, count, seed=count)
    assert report.cases == count
    # Some cases must pass the checks, or the code behind them is not tested.
    assert report.outcomes["declared shape"] >= count / 2500
    # When all checksums match, no file may be refused because of a checksum.
    assert ("refused ChecksumMismatch" in report.outcomes) == (kind == "sealed")


RECODED = [600, pytest.param(100_000, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("count", RECODED)
def test_other_symbols_give_an_error_or_a_picture(tiny_weights: Path, count: int) -> None:
    """Hyper-latents, symbols, escapes and residuals at and beyond the limits of the format."""
    report = checked(tiny_weights, "recoded", count, seed=count)
    assert report.cases == count
    assert report.outcomes["declared shape"] > count / 10
    assert report.outcomes["refused FormatError"] > count / 10


def test_junk_is_refused(tiny_weights: Path) -> None:
    report = checked(tiny_weights, "junk")
    assert refused(report) == report.cases == 10_000


def test_what_is_wrong_is_reported(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the harness reports another kind of error, another shape and another picture."""
    worker = codec.Codec(model=tiny_weights)
    data = hostile.small_files(worker)["stored tiles"]
    assert hostile.judge(worker, data, 2)[0] == ""
    picture = worker.decompress(data)

    def panic(*args: object, **options: object) -> None:
        raise AssertionError("tried to decode")

    for replacement, message in (
        (panic, "AssertionError: tried"),
        (lambda *args, **options: picture[1:], "picture of"),
        (lambda *args, **options: 255 - picture if "region" in options else picture, "picture of"),
        (lambda *args, **options: 255 - picture[58:98, 39:79] if "region" in options else picture, "pixels"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(codec.Codec, "decompress", replacement)
            with pytest.raises(hostile.Wrong, match=message):
                hostile.judge(worker, data, 1)


def hang() -> None:
    while True:
        pass


def take_memory() -> None:
    bytearray(2 * hostile.MEMORY)


def go_wrong(how: Callable[[], None]) -> None:
    """Make `codec.verify` call `how` for the cases, but not for the genuine files."""
    genuine = codec.verify

    def verify(data: bytes) -> None:
        if not data.startswith(b"\x89"):
            how()
        genuine(data)

    codec.verify, hostile.CPU_SECONDS = verify, 0.5  # type: ignore[assignment]


@pytest.mark.parametrize(("how", "number"), [(hang, signal.SIGPROF), (os.abort, signal.SIGABRT)])
def test_a_crash_or_a_hang_shows_with_the_bytes(
    tiny_weights: Path, how: Callable[[], None], number: int
) -> None:
    junk = next(mutants.junk({}, random.Random(7)))
    with pytest.raises(AssertionError, match=rf"exit -{number:d}:(?s:.)*with {junk.hex()}$"):
        hostile.run(tiny_weights, "junk", 1, 7, before=functools.partial(go_wrong, how))


def test_too_much_memory_shows_with_the_bytes(tiny_weights: Path) -> None:
    before = functools.partial(go_wrong, take_memory)
    junk = next(mutants.junk({}, random.Random(7)))
    assert hostile.run(tiny_weights, "junk", 1, 7, before=before).wrong == [f"MemoryError: : {junk.hex()}"]
