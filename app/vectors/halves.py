"""The two halves of a search at the same time, where no other search wants the cores."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any


class Halves:
    """A map of two items over two threads for whoever is alone; whoever is not does one after the other.

    With several searches at once every core has one already, and a second thread each only costs.

    Args:
        threads: that may be used; with one there is no second.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="descry-half") if threads > 1 else None
        self._lock = threading.Lock()
        self._running = 0

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Sequence[Any]:
        """`[function(item) for item in items]`. What the first or the second raises is raised, once both have ended."""
        with self._lock:
            self._running += 1
            alone = self._running == 1
        try:
            if self._pool is None or not alone or len(items) != 2:
                return [function(item) for item in items]
            other = self._pool.submit(function, items[1])
            try:
                first = function(items[0])
            finally:
                wait([other])  # it reads what belongs to the caller
            return [first, other.result()]
        finally:
            with self._lock:
                self._running -= 1
