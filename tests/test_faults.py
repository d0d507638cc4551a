"""A failure inside a call raises the documented error and leaves the codec unchanged."""

from __future__ import annotations

import errno
import functools
import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.coding import latents
from codec.engine import encoding, reading, tile_decoding
from codec.entropy_coder import Decoder, Encoder
from codec.format import tiling
from codec.model.mean_model import MeanModel
from codec.model.scale_model import ScaleModel
from codec.model.transforms import AnalysisTransform, SynthesisTransform
from codec.pictures.reading import read_image
from tests.support import children
from tests.support.pictures import noise, textured
from tests.support.tiles import encode

PICTURE = textured(80, 140)


class Fault:
    """Replacement for a function that fails in its n-th call, counted from 0.

    With -1, it never fails and only counts the calls.
    """

    def __init__(self, original: Any, number: int, error: BaseException) -> None:
        self.original = original
        self.number = number
        self.error = error
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self.number + 1:
            raise self.error
        return self.original(*args, **kwargs)

    def __get__(self, instance: object, owner: type) -> Any:  # for replaced methods
        return (lambda *args, **kwargs: self(instance, *args, **kwargs)) if instance is not None else self


def calls(where: Any, name: str, work: Callable[[], object]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        counter = Fault(getattr(where, name), -1, OSError())
        patch.setattr(where, name, counter)
        work()
    return counter.calls


def fail(where: Any, name: str, number: int, error: BaseException, work: Callable[[], object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, Fault(getattr(where, name), number, error))
        work()


ENCODING: list[tuple[Any, str]] = [
    (tiling, "tiles"), (tiling, "window"), (np, "stack"), (np, "pad"), (encoding, "encode_latents"),
    (AnalysisTransform, "forward"), (ScaleModel, "indexes"), (MeanModel, "run"), (latents, "quantize"),
    (Encoder, "put"), (Encoder, "finish"), (zstandard, "ZstdCompressor"), (zlib, "crc32"),
]
DECODING: list[tuple[Any, str]] = [
    (reading, "check_region"), (tiling, "tiles"), (np, "empty"), (np, "frombuffer"), (Decoder, "get"),
    (Decoder, "finish"), (ScaleModel, "indexes"), (MeanModel, "run"), (tile_decoding, "decode_symbols"),
    (tile_decoding, "reconstruct"), (SynthesisTransform, "patches"), (zlib, "crc32"),
]
STORED_DO_WITHOUT = DECODING[4:11]
"""Functions that are not called to decode a file of stored pixels."""


@pytest.fixture(scope="module")
def files_and_pictures(tiny: codec.Codec) -> list[tuple[bytes, NDArray[np.uint8]]]:
    """A file of latents in several tiles and a file of stored pixels, with the decoded pictures."""
    made = [encode(tiny, PICTURE, 700, 64), tiny.compress(noise(2, 2))]
    assert [codec.inspect(data).lossless for data in made] == [False, True]
    return [(data, tiny.decompress(data)) for data in made]


@pytest.mark.parametrize(("where", "name"), ENCODING)
def test_memory_that_runs_out_while_encoding(tiny: codec.Codec, where: Any, name: str) -> None:
    def work() -> bytes:
        return tiny.compress(PICTURE, quality=70)

    expected = work()
    count = calls(where, name, work)
    assert count
    for number in sorted({0, count // 2, count - 1}):
        with pytest.raises(codec.LimitExceeded, match="memory"):
            fail(where, name, number, MemoryError(), work)
        assert work() == expected


@pytest.mark.parametrize("index", [0, 1], ids=["latents", "pixels"])
@pytest.mark.parametrize(("where", "name"), DECODING)
def test_memory_that_runs_out_while_decoding(
    tiny: codec.Codec, files_and_pictures: list[tuple[bytes, NDArray[np.uint8]]],
    where: Any, name: str, index: int,
) -> None:
    data, expected = files_and_pictures[index]
    functions: list[Callable[[bytes], Any]]
    functions = [tiny.decompress, lambda data: tiny.decompress_batch([data])[0]]
    if index:
        functions.append(codec.decompress)
    for function in functions:
        work = functools.partial(function, data)
        count = calls(where, name, work)
        assert count or (where, name) in STORED_DO_WITHOUT
        for number in sorted({0, count // 2, count - 1}) if count else []:
            with pytest.raises(codec.LimitExceeded, match="memory"):
                fail(where, name, number, MemoryError(), work)
            assert np.array_equal(work(), expected)


@pytest.mark.parametrize("step", ["fdopen", "fsync", "chmod", "replace"])
def test_a_write_that_fails(tmp_path: Path, tiny_weights: Path, step: str) -> None:
    source, target = tmp_path / "a.png", tmp_path / "a.cae"
    Image.fromarray(PICTURE).save(source)
    target.write_bytes(b"old")
    target.chmod(0o777)  # permissions that a new file does not have

    def work() -> None:
        codec.encode(source, target, model=tiny_weights)

    with pytest.raises(OSError, match="broken") as caught:
        fail(os, step, 0, OSError(errno.EIO, "broken"), work)
    assert caught.value.errno == errno.EIO
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2
    work()
    codec.verify(target.read_bytes())


class Failing(io.BytesIO):
    """A file whose n-th read fails, counted from 0.

    With -1, no read fails and the reads are only counted.
    """

    def __init__(self, data: bytes, number: int) -> None:
        super().__init__(data)
        self.number = number
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads == self.number + 1:
            raise OSError(errno.EIO, "broken")
        return super().read(size)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "gif", "bmp", "ppm"])
def test_a_read_that_fails(kind: str) -> None:
    """A disk error keeps its errno and is not reported as an error of the picture.

    TIFF is not tested, because Pillow does not pass the error on.
    """
    out = io.BytesIO()
    Image.fromarray(noise(60, 60)).save(out, kind)
    whole = Failing(out.getvalue(), -1)
    read_image(whole)
    assert whole.reads
    for number in range(whole.reads):
        with pytest.raises(OSError, match="broken") as caught:
            read_image(Failing(out.getvalue(), number))
        assert caught.value.errno == errno.EIO


# No memory or open file remains after a call.


def grow(model: Path, warm_up: int, rounds: int) -> tuple[int, int]:
    """Return the bytes of memory and the open files that `rounds` calls add after a warm-up."""
    worker = codec.Codec(model=model)
    pictures = [textured(100, 140, 1), textured(64, 200), noise(30, 30), textured(90, 90)[:, :, 0]]
    counts = []
    for number in range(warm_up + rounds + 1):
        if number in (warm_up, warm_up + rounds):
            counts.append((resident(), len(os.listdir("/proc/self/fd"))))
        data = worker.compress(pictures[number % len(pictures)], quality=number % 101)
        worker.decompress(data)
        with pytest.raises(codec.FormatError):
            worker.decompress(data[:-1])
    return counts[1][0] - counts[0][0], counts[1][1] - counts[0][1]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("rounds", "limit"), [(60, 2_000_000), pytest.param(1000, 5_000_000, marks=pytest.mark.nightly)]
)
def test_memory_and_open_files_do_not_grow(tiny_weights: Path, rounds: int, limit: int) -> None:
    memory, opened = children.call(grow, tiny_weights, 20, rounds)
    assert memory < limit
    assert opened == 0
