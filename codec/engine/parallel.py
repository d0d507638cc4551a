"""Parallel processing of tiles, one tile per thread.

Torch's own threads split every operation and wait for each other after each of them. On a machine
that runs other work, they stall. Threads that process one tile each do not wait, and the result of
a tile does not depend on their number. The entropy coder holds Python's global lock: while it codes
one tile, the networks of other tiles run.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

import torch

from codec.errors import LimitExceeded
from codec.model.config import PIXELS_PER_LATENT

_MOST = 8
"""Maximum number of tiles at once. Each takes memory, most of all in the search for its latents."""

_TICK = 0.1
"""Time between two calls of `tick` in seconds."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A context that provides as many threads as torch would use, at most eight.

    Each of them runs torch on one thread. The threads start when they are first needed and stay
    until the end of the context, so that the next tile of a thread reuses its memory. While the
    calling thread waits for them, it calls `tick`. At the end of the context, also after an error
    or Ctrl-C, `stop` is called. The context then waits for calls that have started.
    """

    def __init__(
        self, stop: Callable[[], None] = lambda: None, tick: Callable[[], None] = lambda: None
    ) -> None:
        self._stop = stop
        self._tick = tick
        self._executor: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, alone: bool = False
    ) -> Iterable[Result]:
        """Return the result of `function` for each item, in order.

        A single item runs with torch's own threads, unless `alone` requests a single thread.
        """
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


def alike(items: Iterable[Item], key: Callable[[Item], tuple[Any, ...]], pixels: int) -> list[list[Item]]:
    """Return batches of the items with equal keys, each of one item or of at most `pixels` pixels.

    A key begins with the height and width of an item in latents.
    """
    groups: dict[tuple[Any, ...], list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    batches = []
    for (height, width, *_), members in groups.items():
        count = max(1, pixels // (height * width * PIXELS_PER_LATENT**2))
        batches += [members[start : start + count] for start in range(0, len(members), count)]
    return batches


def _start(threads: int) -> ThreadPoolExecutor:
    """Return an executor whose threads have started. Each of them runs torch on one thread.

    Raises `LimitExceeded` if the system refuses to start that many.
    """
    # The last setting of any thread is also the initial setting of threads that are new to torch:
    # restore it at once.
    before = torch.get_num_threads()
    executor = ThreadPoolExecutor(threads, initializer=_on_one_thread)
    together = threading.Barrier(threads + 1)
    try:
        for _ in range(threads):
            executor.submit(together.wait)
        together.wait()
    except BaseException as error:
        together.abort()  # those that have started would wait for ever
        executor.shutdown(cancel_futures=True)
        if not isinstance(error, RuntimeError):
            raise
        raise LimitExceeded(f"the system cannot start {threads} threads: ask for fewer") from None
    finally:
        torch.set_num_threads(before)
    return executor


def _on_one_thread() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first query of a thread adopts the last setting: adopt this one
