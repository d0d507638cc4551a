"""The work of one encoding call: a job for each tile of each picture, batches and progress."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from codec.coding.effort import Progress
from codec.engine.parallel import alike
from codec.format import tiling
from codec.format.tiling import Box
from codec.pictures.picture import Picture

_BATCH_PIXELS = 1 << 20
"""Windows of equal shape run together up to this many pixels. This bounds activation memory."""


class Job:
    """One tile of one picture and the window on which its transforms run."""

    def __init__(self, picture: int, tile: int, box: Box, window: Box) -> None:
        self.picture = picture
        self.tile = tile
        self.window = window
        self.inner = box.relative_to(window)


def batches_of(pictures: Sequence[Picture], halo: int, tile_size: int) -> list[list[Job]]:
    """Return a job for each tile of the pictures, batched where windows have the same shape."""
    jobs = [
        Job(number, tile, box, tiling.window(box, halo, picture.height, picture.width))
        for number, picture in enumerate(pictures)
        for tile, box in enumerate(tiling.tiles(picture.height, picture.width, tile_size))
    ]
    return alike(jobs, lambda job: (job.window.height, job.window.width, job.inner), _BATCH_PIXELS)


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
