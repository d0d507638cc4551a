"""The work of one encoding call: a job for each tile of each picture, batches and progress."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

from codec.coding.effort import Progress
from codec.format import tiling
from codec.format.tiling import Box
from codec.model.config import PIXELS_PER_LATENT

_T = TypeVar("_T")

_BATCH_PIXELS = 1 << 20
"""Windows of equal shape run together up to this many pixels. This bounds activation memory."""


class Job:
    """One tile of one picture and the window on which its transforms run."""

    def __init__(self, picture: int, tile: int, box: Box, window: Box) -> None:
        self.picture = picture
        self.tile = tile
        self.window = window
        self.inner = box.relative_to(window)


class Shares:
    """The finished share of each tile. Any thread reports it; the calling thread passes it on."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done: dict[Job, float] = {}
        self._told = 0.0
        self._caller = threading.get_ident()
        self._over = False

    def report(self, job: Job, share: float) -> None:
        """Record the finished share of a tile. After `stop`, raise an error to end the thread."""
        if self._over:
            raise RuntimeError("the call has ended")
        self._done[job] = share
        if threading.get_ident() == self._caller:
            self.tell()

    def tell(self) -> None:
        """Pass on the total finished share if it is larger than before."""
        done = sum(list(self._done.values())) / self._total
        if done > self._told:
            self._told = done
            self._progress(done)

    def stop(self) -> None:
        self._over = True


class Jobs:
    """Tiles of pictures, batched where their windows have the same shape."""

    def __init__(self, halo: int, tile_size: int) -> None:
        self.halo = halo
        self.tile_size = tile_size
        self.tile_counts: list[int] = []
        self.groups: dict[tuple[int, int, Box], list[Job]] = defaultdict(list)

    def add(self, picture: int, height: int, width: int) -> None:
        boxes = tiling.tiles(height, width, self.tile_size)
        self.tile_counts.append(len(boxes))
        for tile, box in enumerate(boxes):
            job = Job(picture, tile, box, tiling.window(box, self.halo, height, width))
            self.groups[job.window.height, job.window.width, job.inner].append(job)

    def batches(self) -> Iterator[list[Job]]:
        for (height, width, _), jobs in self.groups.items():
            yield from _chunks(jobs, height * width * PIXELS_PER_LATENT**2)


def _chunks(items: list[_T], pixels_each: int) -> Iterable[list[_T]]:
    size = max(1, _BATCH_PIXELS // pixels_each)
    return (items[start : start + size] for start in range(0, len(items), size))
