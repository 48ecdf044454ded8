"""How fast a run is, when it ends and how much memory it takes."""

import resource
import sys
import time
from collections import deque

import torch

_WINDOW = 50


class Pace:
    """The speed of the last steps, which follows a machine that gets busier; and the time of an evaluation.

    Args:
        batch: pairs in a step, over all processes.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._steps: deque[float] = deque(maxlen=_WINDOW)
        self._evaluation = 0.0

    def step(self, seconds: float) -> None:
        """A step took this long."""
        self._steps.append(seconds)

    def evaluation(self, seconds: float) -> None:
        """An evaluation took this long."""
        self._evaluation = seconds

    @property
    def images_per_second(self) -> float:
        """Over the last 50 steps; 0 before the first."""
        spent = sum(self._steps)
        return len(self._steps) * self._batch / spent if spent else 0.0

    def seconds_left(self, steps: int, evaluations: int) -> float:
        """Until so many steps and evaluations are done, at the present speed."""
        each = sum(self._steps) / len(self._steps) if self._steps else 0.0
        return steps * each + evaluations * self._evaluation


class Watch:
    """Seconds between calls of `lap`."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last lap, or since the watch was made."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        return passed


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that tensors took on a GPU, or that this process took of the machine's memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
