"""Files do not depend on the surroundings of a call: processes, hash seeds, locales, callers."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import codec
from tests.support import children
from tests.support.pictures import Pixels, noise, textured
from tests.support.tiles import symbols_digest, within_one_level

ROOT = Path(__file__).parent.parent


def pictures() -> list[Pixels]:
    return [textured(40, 50), textured(33, 64)[:, :, 1], textured(1, 1), noise(20, 20), textured(130, 70, 3)]


def digest(worker: codec.Codec) -> str:
    """Return the SHA-256 of the files of some pictures and of the decoded pictures."""
    result = hashlib.sha256()
    for picture in pictures():
        data = worker.compress(picture, quality=60)
        result.update(data)
        result.update(worker.decompress(data).tobytes())
    return result.hexdigest()


def digest_with(model: str) -> str:
    return digest(codec.Codec(model=model, threads=1))  # files may depend on the number of threads


@pytest.fixture(scope="module")
def expected(tiny_weights: Path) -> str:
    return digest_with(str(tiny_weights))


SURROUNDINGS = [
    {"PYTHONHASHSEED": "0", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"PYTHONHASHSEED": "2", "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"},
    {"PYTHONHASHSEED": "3", "LC_ALL": "C.utf8"},
    {"PYTHONHASHSEED": "4", "PYTHONOPTIMIZE": "2"},
    {"PYTHONHASHSEED": "5", "PYTHONDEVMODE": "1"},
    *({"PYTHONHASHSEED": str(seed)} for seed in range(6, 10)),
]
"""A locale that is not installed acts like the locale C."""


@pytest.mark.parametrize(
    "surroundings",
    [SURROUNDINGS[0], *(pytest.param(entry, marks=pytest.mark.nightly) for entry in SURROUNDINGS[1:])],
    ids=lambda entry: entry["PYTHONHASHSEED"],
)
def test_new_processes(surroundings: dict[str, str], expected: str, tiny_weights: Path) -> None:
    code = "import sys, tests.test_surroundings as t; print(t.digest_with(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_weights)], cwd=ROOT, env={**os.environ, **surroundings},
        capture_output=True, text=True, check=False,
    )
    assert done.stdout.strip() == expected, done.stderr


def test_a_forked_process(expected: str, tiny_weights: Path) -> None:
    assert children.call(digest_with, str(tiny_weights)) == expected


def test_threads_that_share_a_codec(expected: str, tiny_weights: Path) -> None:
    worker = codec.Codec(model=tiny_weights, threads=1)
    barrier = threading.Barrier(4)

    def work(_: int) -> str:
        barrier.wait()
        return digest(worker)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(work, range(4))) == {expected}


# Threads of torch, with the shipped model.

SHAPES = [(48, 80), (33, 47), (17, 150), (80, 65), (320, 256)]


@pytest.mark.usefixtures("never_stored")
@pytest.mark.parametrize(
    ("counts", "seeds"), [((1, 2, 3, 8), 1), pytest.param(range(1, 9), 8, marks=pytest.mark.nightly)]
)
def test_any_number_of_threads(counts: Sequence[int], seeds: int) -> None:
    """With each number of threads, a call returns one file. It decodes alike with all numbers."""
    workers = [codec.Codec(threads=count, precision="float32") for count in counts]
    for shape in SHAPES if seeds > 1 else SHAPES[1::3]:
        for seed in range(seeds):
            picture = textured(*shape, seed)
            files = [worker.compress(picture, quality=10 + 10 * seed) for worker in workers]
            assert files == [worker.compress(picture, quality=10 + 10 * seed) for worker in workers]
            for data in set(files):
                symbols, samples = symbols_digest(workers[0], data), workers[0].decompress(data)
                for worker in workers[1:]:
                    with worker._running():
                        assert symbols_digest(worker, data) == symbols
                    assert within_one_level(worker.decompress(data), samples)
