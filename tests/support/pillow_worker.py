"""Tests that `test_pillow` runs in separate processes.

    python -m tests.support.pillow_worker FILE fork|spawn|forkserver|locked
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from pathlib import Path

import numpy as np
import torch
import torch.utils.data
from PIL import Image, UnidentifiedImageError

import codec
from codec.engine import running
from codec.pictures.picture import Samples


class Pictures(torch.utils.data.Dataset[torch.Tensor]):
    """A dataset of four copies of the same picture."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.path) as image:
            return torch.from_numpy(np.array(image))


def load(path: str, context: str) -> None:
    """Read the picture in workers of a `DataLoader`. Without `worker_init`, they must fail."""
    expected = torch.from_numpy(codec.decompress(Path(path).read_bytes()))

    def pictures(workers: int, **options: object) -> list[torch.Tensor]:
        loader = torch.utils.data.DataLoader(
            Pictures(path), num_workers=workers, batch_size=None, multiprocessing_context=context,
            timeout=100, **options,  # type: ignore[arg-type]
        )
        return list(loader)

    multiprocessing.set_forkserver_preload(["torch"])  # once instead of in each worker
    try:
        pictures(1)
    except UnidentifiedImageError:
        pass
    else:
        raise AssertionError("the control works")
    found = pictures(2, worker_init_fn=codec.worker_init)
    assert len(found) == 4
    assert all(torch.equal(picture, expected) for picture in found)


def decode_in_child(path: str, worker: codec.Codec, expected: Samples, data: bytes) -> None:
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), expected)
    assert np.array_equal(worker.decompress(data), expected)
    assert np.array_equal(codec.Codec(threads=2).decompress(data), expected)
    assert torch.get_num_threads() == 3


def fork_while_locked(path: str) -> None:
    """Decode in a child that forks while its parent is in a call and has used OpenMP threads."""
    codec.register_pillow()
    torch.set_num_threads(3)
    worker = codec.Codec(threads=2)
    data = Path(path).read_bytes()
    expected = worker.decompress(data)
    a = torch.ones(1000, 1000)
    (a @ a + a).sum()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with running.exclusive(None):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(
        target=decode_in_child, args=(path, worker, expected, data)
    )
    child.start()
    child.join(40)
    hangs = child.is_alive()
    if hangs:
        child.kill()
        child.join()
    done.set()
    thread.join()
    assert not hangs
    assert child.exitcode == 0


if __name__ == "__main__":
    if sys.argv[2] == "locked":
        fork_while_locked(sys.argv[1])
    else:
        load(sys.argv[1], sys.argv[2])
    print("done")
