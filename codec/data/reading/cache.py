"""A cache whose size is limited in bytes, for all datasets of a process together."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

_ENTRY = 4096
"""Bytes that an entry takes besides its values: the objects of Python and of pyarrow."""


class ByteCache:
    """The values that were used last, up to a number of bytes.

    Threads may use it at the same time. A forked process begins with an empty cache, because
    another thread may hold the lock at the moment of the fork.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._clear()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._clear)

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.size = 0

    def get(self, key: Hashable, make: Callable[[], tuple[Any, int]]) -> Any:
        """Return the value of a key. If it is not there, `make` returns it with its size in bytes.

        A value that is larger than the whole cache is not kept.
        """
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value, size = make()
        size += _ENTRY
        with self._lock:
            if size <= self.limit and key not in self._values:
                self._values[key] = value, size
                self.size += size
                while self.size > self.limit:
                    self.size -= self._values.popitem(last=False)[1][1]
        return value
