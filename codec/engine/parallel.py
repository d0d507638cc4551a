"""Tiles side by side, one to a thread.

Torch's own threads split every operation, and wait for one another after each: on a machine that does
anything else they stall. Threads that have a tile each do not wait, and what comes out does not depend on how
many there are. The entropy coder holds Python's lock, but that is 4 % of the time that a tile takes,
a quarter with a residual layer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TypeVar

import torch

_MOST = 8
"""Tiles at once: to encode one takes up to 0.9 GB."""

_TICK = 0.1
"""Seconds between two calls of `tick`."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads for as long as the context lasts, as many as torch would use; each runs torch on one.

    They start when first needed, and stay: what memory a thread leaves behind serves its next tile. While
    the calling thread waits for them it calls `tick`. At the end, and so after an error or Ctrl-C, `stop` is
    called; the context waits for what has begun.
    """

    def __init__(
        self, stop: Callable[[], None] = lambda: None, tick: Callable[[], None] = lambda: None
    ) -> None:
        self._stop = stop
        self._tick = tick
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, alone: bool = False
    ) -> Iterable[Result]:
        """`function` of each item, in order. A single item leaves the threads to torch, unless it is to run
        `alone` on one."""
        if len(items) < 2 and not alone:
            return map(function, items)
        if self._executor is None:
            self._executor = _start(min(torch.get_num_threads(), _MOST))
        return self._results([self._executor.submit(function, item) for item in items])

    def _results(self, futures: list[Future[Result]]) -> Iterator[Result]:
        for future in futures:
            while not wait([future], _TICK).done:
                self._tick()
            self._tick()
            yield future.result()


def _start(threads: int) -> ThreadPoolExecutor:
    """An executor whose threads have started, each with one thread of torch's."""
    # What a thread sets last is also what threads that are new to torch begin with: put that right at once.
    before = torch.get_num_threads()
    executor = ThreadPoolExecutor(threads, initializer=_on_one_thread)
    together = threading.Barrier(threads + 1)
    for _ in range(threads):
        executor.submit(together.wait)
    together.wait()
    torch.set_num_threads(before)
    return executor


def _on_one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread's first look takes over what was set last: let that be this
