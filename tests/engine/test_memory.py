"""Peak memory of a call, without the picture or file that is passed to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import codec
from tests.support import children
from tests.support.pictures import textured

# Height, width, and megabytes for encoding and decoding, without the memory that grows with the
# picture. Encoding needs a batch of windows. Decoding needs one window, and the latents of three
# rows of tiles.
CASES = [
    (16_384, 256, 75, 40),
    (256, 16_384, 75, 60),
    pytest.param(4096, 4096, 180, 150, marks=pytest.mark.nightly),  # windows have a halo all around
    pytest.param(16_384, 16_384, 230, 200, marks=pytest.mark.nightly),
]
DECODING = 3
"""Bytes per pixel of the decoded picture."""


@pytest.mark.parametrize(("height", "width", "encoding", "decoding"), CASES)
def test_peaks(
    tiny_weights: Path, tmp_path: Path, height: int, width: int, encoding: int, decoding: int
) -> None:
    path = tmp_path / "packed.cae"
    taken = children.call(encoding_peak, str(tiny_weights), height, width, path)
    assert taken < 1_000_000 * encoding
    taken = children.call(decoding_peak, str(tiny_weights), path)
    assert taken < 1_000_000 * decoding + DECODING * height * width


def encoding_peak(model: str, height: int, width: int, path: Path) -> int:
    worker = codec.Codec(model=model, threads=1)
    worker.compress(textured(64, 64))
    image = np.tile(textured(256, 256), (height // 256, width // 256, 1))
    before = start_of_peak()
    path.write_bytes(worker.compress(image))
    return high_water() - before


def decoding_peak(model: str, path: Path) -> int:
    worker = codec.Codec(model=model, threads=1)
    worker.decompress(worker.compress(textured(64, 64)))
    data = path.read_bytes()
    before = start_of_peak()
    worker.decompress(data)
    return high_water() - before


def start_of_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    return high_water()


def high_water() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
