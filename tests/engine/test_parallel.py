"""Tiles in parallel give the same pixels as one after another, and calls end cleanly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import codec
from codec.engine.parallel import Workers
from tests.support.pictures import textured
from tests.support.tiles import encode


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def results(function: Callable[[int], Any], items: Sequence[int], **options: bool) -> list[Any]:
    with Workers() as workers:
        return list(workers.run(function, items, **options))


def test_results_come_in_order(four_threads: None) -> None:
    def slow_first(item: int) -> tuple[int, int]:
        time.sleep(0.02 if item < 2 else 0)
        return item, torch.get_num_threads()

    assert results(slow_first, range(20)) == [(item, 1) for item in range(20)]
    assert torch.get_num_threads() == 4
    assert results(slow_first, []) == []


def test_one_item_leaves_the_threads_to_torch(four_threads: None) -> None:
    def threads(item: int) -> int:
        return torch.get_num_threads()

    assert results(threads, [0]) == [4]
    assert results(threads, [0], alone=True) == [1]
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("allowed", [0, 2])
def test_a_system_that_starts_no_more_threads(
    allowed: int, four_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, as every lack of resources, and the threads that have started do not stay."""
    start, began = threading.Thread.start, threading.active_count()
    started: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(codec.LimitExceeded, match="cannot start 4 threads"):
        results(lambda item: item, range(20))
    assert len(started) == allowed
    assert threading.active_count() == began
    assert torch.get_num_threads() == 4


def test_an_error_starts_nothing_more(four_threads: None) -> None:
    begun: list[int] = []
    stopped = threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise codec.FormatError("one")
        # The other items are not finished until the workers are stopped.
        assert item == 0 or stopped.wait(10)
        return item

    done: list[int] = []

    def collect() -> None:
        with Workers(stopped.set) as workers:
            for result in workers.run(work, range(100)):
                done.append(result)  # noqa: PERF402

    with pytest.raises(codec.FormatError, match="one"):
        collect()
    assert done == [0]
    assert stopped.is_set()
    assert len(begun) < 10
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_do_not_change_pixels(
    tiny: codec.Codec, tiny_weights: Path, never_stored: None, threads: int
) -> None:
    """The pixels of a picture of several tiles, and of its parts, are the same exactly."""
    image = textured(330, 410)
    alone, together = (codec.Codec(model=tiny_weights, threads=number) for number in (1, threads))
    with together._running():
        data = encode(together, image, 500)
        assert encode(together, image, 500) == data
    whole = alone.decompress(data)
    assert np.array_equal(together.decompress(data), whole)
    for region in ((0, 0, 1, 1), (70, 100, 40, 30), (100, 0, 230, 410)):
        top, left, height, width = region
        part = together.decompress(data, region=region)
        assert np.array_equal(part, whole[top : top + height, left : left + width])


def test_damaged_tiles_are_found_by_all_threads(
    tiny_weights: Path, never_stored: None, tiny: codec.Codec
) -> None:
    data = bytearray(encode(tiny, textured(256, 256), 500))
    data[-1] ^= 1
    worker = codec.Codec(model=tiny_weights, threads=4)
    with pytest.raises(codec.ChecksumMismatch, match="tile 15 of 16"):
        worker.decompress(bytes(data))
    _, mask = worker.decompress(bytes(data), on_error="conceal")
    assert mask[192:, 192:].all()
    assert not mask[:100].any()


class Enough(Exception):
    """Raised by the progress function of a caller to cancel the call."""


@pytest.mark.parametrize("effort", [3, 5])
def test_progress_can_end_a_call(tiny_weights: Path, never_stored: None, effort: int) -> None:
    """The error of the progress function is raised promptly, and the codec remains usable."""
    worker = codec.Codec(model=tiny_weights, threads=4)
    shares: list[float] = []

    def progress(share: float) -> None:
        shares.append(share)
        if share > 0.3:
            raise Enough

    image = textured(1100, 1100)[:, :, 0]
    with pytest.raises(Enough):
        worker.compress(image, effort=effort, progress=progress)
    assert shares == sorted(shares)
    assert 0.3 < shares[-1] <= 1
    small = textured(40, 40)
    assert worker.compress(small) == codec.Codec(model=tiny_weights).compress(small)


def test_progress_may_use_the_codec(tiny: codec.Codec, tiny_weights: Path, never_stored: None) -> None:
    """The progress function runs in the calling thread, which already holds the codec."""
    worker = codec.Codec(model=tiny_weights, threads=4)
    data, seen = tiny.compress(textured(40, 40)), []

    def progress(share: float) -> None:
        seen.append((threading.current_thread(), worker.decompress(data).shape))

    encode(worker, textured(200, 200), 500, progress=progress)
    assert set(seen) == {(threading.current_thread(), (40, 40, 3))}


def test_others_may_call_between_two_bands(tmp_path: Path) -> None:
    """A slow consumer of a decoded file does not block other callers."""
    from codec import convert

    shared = codec.Codec()
    data = encode(shared, textured(200, 100), 500)
    chunks = convert.decode_to_chunks(
        data, ".npy", lambda: shared, region=None, strip=False, limits=codec.Limits()
    )
    first = [next(chunks), next(chunks)]  # the header and a band
    results: list[object] = []
    other = threading.Thread(target=lambda: results.append(shared.decompress(data)))
    other.start()
    other.join(60)
    assert not other.is_alive()
    assert np.array_equal(results[0], shared.decompress(data))  # type: ignore[arg-type]
    closing = threading.Thread(target=chunks.close)
    closing.start()
    closing.join(60)
    assert shared.decompress(data).shape == (200, 100, 3)
    assert len(first) == 2
