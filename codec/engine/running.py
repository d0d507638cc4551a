"""Running one call at a time: the lock around torch, its state, its threads, forks, lack of memory.

Torch's number of threads is a setting of the whole process. A call that changes it must therefore
be the only one that runs.

A call does not depend on what the caller has set in torch. Settings of the calling thread are
replaced during the call. Torch's default dtype belongs to the whole process, and other threads
would see a change. It is left as it is, and the code states every dtype. Worker threads begin with
torch's own settings.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

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
def one_thread() -> Iterator[None]:
    """Let one thread run at a time, without torch."""
    with _lock:
        yield


@contextlib.contextmanager
def exclusive(threads: int | None) -> Iterator[None]:
    """Let no other call run at the same time. Torch uses `threads` CPU threads.

    None keeps torch's setting. In a forked process (see `_forked`) torch runs on one thread,
    whatever `threads` is. The call runs as if the caller had changed no setting of torch.
    """
    with _lock, _own_settings(), _full_precision(), _torch_threads(threads):
        yield


@contextlib.contextmanager
def _own_settings() -> Iterator[None]:
    """Replace the settings of the calling thread that change what torch computes."""
    import torch

    with contextlib.ExitStack() as stack:
        # Modes of the caller: a default device, fake tensors, counters of operations, …
        if torch._C._len_torch_function_stack():
            stack.enter_context(torch._C.DisableTorchFunction())
        if torch._C._len_torch_dispatch_stack():
            stack.enter_context(torch._C._DisableTorchDispatch())
        # In inference mode the search would have no gradients, and later calls could not use the
        # tensors that were created in it.
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Compute products of float32 in float32.

    The setting belongs to the process. Other threads may compute more exactly meanwhile.
    """
    import torch

    backends = torch.backends
    # Torch has one setting for all products and, since 2.9, one for each backend and kind.
    convolutions: Any = getattr(backends.mkldnn, "conv", None)
    holders: list[Any] = [getattr(backends.mkldnn, "matmul", None), convolutions, backends.cuda.matmul]
    each = [(holder, value) for holder in holders if (value := getattr(holder, "fp32_precision", None))]
    products: str | None = None
    with contextlib.suppress(RuntimeError):  # the settings differ
        products = torch.get_float32_matmul_precision()
    if products == "highest" and all(value in ("none", "ieee") for _, value in each):
        yield
        return
    torch.set_float32_matmul_precision("highest")
    if convolutions is not None:
        convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        for holder, value in each:
            holder.fp32_precision = value


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


def keep_freed_memory() -> None:
    """Make the allocator of glibc keep up to 62 MB of freed memory for the next allocation.

    By default it returns memory to the system as soon as a few megabytes are free, and every layer
    of a network gets new pages, which took a fourth of the time of the synthesis transform. The
    largest block that was freed so far determines how much is kept. Other allocators ignore this.
    """
    import torch

    torch.empty(31 << 20, dtype=torch.uint8)


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
