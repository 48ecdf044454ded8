"""How often something may happen: a bucket for each key and for each address that guesses keys."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

_MOST = 10_000
"""Buckets that are remembered; a full bucket is worth nothing, so that forgetting the oldest costs little."""


class Limiter:
    """Token buckets, in this process: with several replicas the limit holds for each of them.

    Args:
        per_minute: how many refill in a minute; 0: no limit.
        burst: how many fit.
    """

    def __init__(self, per_minute: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = per_minute / 60, max(1, burst), clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, who: Hashable) -> float:
        """Take one; 0 if there was one, else the seconds until there is."""
        if not self._rate:
            return 0.0
        with self._lock:
            left = self._left(who)
            self._keep(who, left - 1 if left >= 1 else left)
        return 0.0 if left >= 1 else (1 - left) / self._rate

    def wait(self, who: Hashable) -> float:
        """Seconds until one could be taken; nothing is."""
        if not self._rate:
            return 0.0
        with self._lock:
            left = self._left(who)
        return 0.0 if left >= 1 else (1 - left) / self._rate

    def _left(self, who: Hashable) -> float:
        left, at = self._buckets.get(who, (float(self._burst), self._clock()))
        return min(self._burst, left + (self._clock() - at) * self._rate)

    def _keep(self, who: Hashable, left: float) -> None:
        self._buckets[who] = (left, self._clock())
        self._buckets.move_to_end(who)
        while len(self._buckets) > _MOST:
            self._buckets.popitem(last=False)
