"""Files do not depend on the environment of a call: threads, processes, hash seeds, locales."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import codec
from codec.coding.latents import decode_latents
from codec.engine import encoding
from codec.format import container, tiling
from tests.support import children
from tests.support.pictures import Pixels, noise, textured

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
    return digest(codec.Codec(model=model, threads=1))  # with more threads, pixels may differ by 1


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


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# With float32, the sums for the second and the last shape would differ in their last bits.
SHAPES = [(48, 80), (33, 47), (17, 150), (80, 65), (320, 256)]


def decode(worker: codec.Codec, data: bytes) -> bytes:
    """Return the latents of a file of one tile, symbols plus means, as bytes of float64."""
    file = container.read(data)
    header = file.header
    y_hat, _ = decode_latents(
        worker._loaded.networks, worker._loaded.tables, [file.payload(0)], [header.tiles[0].content_crc],
        torch.tensor([header.level]), tiling.latent_size(header.height, header.width),
    )
    return y_hat.numpy().tobytes()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("seeds", [1, pytest.param(8, marks=pytest.mark.nightly)])
def test_any_number_of_threads(seeds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding with 1 to 8 threads gives the same file, and decoding gives the same latents."""
    monkeypatch.setattr(encoding, "_store", lambda *args: None)
    worker = codec.Codec()
    for shape in SHAPES:
        for seed in range(seeds):
            picture = textured(*shape, seed)
            files, latents = set(), set()
            for count in range(1, 9):
                torch.set_num_threads(count)
                files.add(worker.compress(picture, quality=10 + 10 * seed))
                latents.add(decode(worker, min(files)))
            assert len(files) == 1
            assert len(latents) == 1
