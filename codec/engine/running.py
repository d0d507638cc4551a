"""Running one call at a time: the lock around torch, its threads, forks, and lack of memory.

Torch's number of threads is a setting of the whole process. A call that changes it must therefore
be the only one that runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from codec.errors import LimitExceeded

_lock = threading.RLock()
"""Held by the thread whose call is running."""

_forked = False
"""Whether this process was forked from one that had loaded torch."""


def _after_fork() -> None:
    """Replace the lock: the thread that held it in the parent does not exist in this process."""
    global _lock, _forked
    _lock = threading.RLock()
    _forked = "torch" in sys.modules


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


@contextlib.contextmanager
def exclusive(threads: int | None) -> Iterator[None]:
    """Let no other call run at the same time. Torch uses `threads` CPU threads.

    None keeps torch's setting. In a forked process (see `_forked`) torch runs on one thread,
    whatever `threads` is.
    """
    with _lock, _torch_threads(threads):
        yield


@contextlib.contextmanager
def _torch_threads(count: int | None) -> Iterator[None]:
    import torch

    if _forked:
        # OpenMP would wait forever for threads that it started before the fork.
        count = 1
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)


@contextlib.contextmanager
def memory_named() -> Iterator[None]:
    """Raise `LimitExceeded` if memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch raises its own error for a GPU, and a plain RuntimeError if the CPU allocator
        # fails.
        known = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        if not known and "not enough memory" not in str(error):
            raise
        raise LimitExceeded("the picture needs more memory than is available") from None
