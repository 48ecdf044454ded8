"""Memory of processes over time, also of those that are killed and started again: samples, and what they say.

The slope is that of the second half of a life, by least squares; its error takes into account that neighbouring samples
are alike (the mean of each of 20 pieces counts as one observation).
"""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from benchmarks.served import resident_bytes

MIB = 2**20
_SAMPLE_S, _PIECES = 1.0, 20
_LONG_S = 60.0
"""A life that is shorter says nothing of a slope."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory of a process: seconds since the watch began, MiB, and its id."""

    second: float
    mib: float
    pid: int


class MemoryWatch:
    """Samples the memory of named processes until the block ends.

    Args:
        working: the processes that have a name now. It may raise OSError if one ends just then.
    """

    def __init__(self, names: Iterable[str], working: Callable[[str], Sequence[int]]) -> None:
        self._working, self._ended = working, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: dict[str, list[Sample]] = {name: [] for name in names}
        """Of several processes with one name the samples are those of their lives, one beside the other."""

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
                    for pid in self._working(name):
                        if size := resident_bytes(pid):
                            found.append(Sample(time.monotonic() - began, size / MIB, pid))


def slope(samples: list[tuple[float, float]]) -> dict[str, float]:
    """A line through the second half of (second, MiB): MiB an hour, its standard error, and its level in the middle.

    Raises:
        ValueError: there are too few samples for the pieces.
    """
    half = samples[len(samples) // 2 :]
    size = len(half) // _PIECES
    if size < 1:
        raise ValueError(f"{len(samples)} samples are too few")
    pieces = [half[at * size : (at + 1) * size] for at in range(_PIECES)]
    x = [sum(second for second, _ in piece) / size / 3600 for piece in pieces]
    y = [sum(value for _, value in piece) / size for piece in pieces]
    middle, level = sum(x) / _PIECES, sum(y) / _PIECES
    spread = sum((value - middle) ** 2 for value in x)
    steep = sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / spread
    rest = sum((b - level - steep * (a - middle)) ** 2 for a, b in zip(x, y, strict=True))
    error = math.sqrt(rest / (_PIECES - 2) / spread)
    return {"slope": steep, "error": error, "level": level, "middle_s": middle * 3600}


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
