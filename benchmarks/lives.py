"""Memory of processes that are killed and started again: samples, and what they say of each life."""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from benchmarks.fleet import Fleet
from benchmarks.served import resident_bytes
from benchmarks.soak import slope

_SAMPLE_S, _MIB = 1.0, 2**20
_LONG_S = 60.0
"""A life that is shorter says nothing of a slope."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory of a process: seconds since the watch began, MiB, and its id."""

    second: float
    mib: float
    pid: int


class MemoryWatch:
    """Samples what works for each name of a fleet until the block ends."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._ended = fleet, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: dict[str, list[Sample]] = {name: [] for name in (*fleet.replicas, *fleet.workers)}
        """Of several processes of one replica the samples are those of their lives, one beside the other."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(_SAMPLE_S):
            for name, found in self.samples.items():
                with contextlib.suppress(OSError, IndexError):  # it was killed just now
                    for pid in self._fleet.working(name):
                        if size := resident_bytes(pid):
                            found.append(Sample(time.monotonic() - began, size / _MIB, pid))


def told(samples: Sequence[Sample]) -> dict[str, Any]:
    """What samples of one name say: its lives with the most that each had, and the slope of the longest one.

    `slope` and `error` are MiB an hour, of the second half of that life; absent if no life was long.
    """
    by_life = sorted(samples, key=lambda sample: sample.pid)
    lives = [list(life) for _, life in groupby(by_life, key=lambda sample: sample.pid)]
    lives.sort(key=lambda life: life[0].second)
    found: dict[str, Any] = {
        "lives": [
            {"from_s": life[0].second, "to_s": life[-1].second, "peak_mib": max(sample.mib for sample in life)}
            for life in lives
        ],
        "samples": [[(round(sample.second, 1), round(sample.mib, 1)) for sample in life] for life in lives],
    }
    longest = max(lives, key=lambda life: life[-1].second - life[0].second, default=[])
    if longest and longest[-1].second - longest[0].second >= _LONG_S:
        found["longest_s"] = longest[-1].second - longest[0].second
        found |= slope([(sample.second, sample.mib) for sample in longest])
    return found
