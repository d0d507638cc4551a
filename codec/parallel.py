"""Tiles side by side, one to a thread.

Torch's own threads split every operation, and wait for one another after each: on a machine that does
anything else they stall. Threads that have a tile each do not wait, and what comes out does not depend on how
many there are. The entropy coder holds Python's lock, but that is 4 % of the time that a tile takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

import torch

_MOST = 8
"""Tiles at once: to encode one takes up to 0.6 GB."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads for as long as the context lasts, as many as torch would use; each runs torch on one.

    They start when first needed, and stay: what memory a thread leaves behind serves its next tile.
    At the end, and so after an error or Ctrl-C, `stop` is called; the context waits for what has begun.
    """

    def __init__(self, stop: Callable[[], None] = lambda: None) -> None:
        self._stop = stop
        self._threads = torch.get_num_threads()
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            torch.set_num_threads(self._threads)  # which is also what new threads start with

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, alone: bool = False
    ) -> Iterable[Result]:
        """`function` of each item, in order. A single item leaves the threads to torch, unless it is to run
        `alone` on one."""
        if len(items) < 2 and not alone:
            return map(function, items)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(
                min(self._threads, _MOST), initializer=lambda: torch.set_num_threads(1)
            )
        return self._executor.map(function, items)
