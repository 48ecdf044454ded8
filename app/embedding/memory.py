"""Passes in batches that fit into memory: what does not fit is halved, and the smaller size is kept for a while."""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from app.errors import EncoderMemoryError

R = TypeVar("R")
_log = logging.getLogger(__name__)
_KEEP_S = 60.0
"""Seconds after which twice the size is tried again."""
_WORDS = (
    *("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc", "bad allocation"),
    *("could not create a primitive", "could not create a memory object"),
)
"""How PyTorch on a CPU, ONNX Runtime and OpenVINO say it, in errors that have no class of their own; the last two are
what oneDNN says when it finds no room for its code or its weights."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there was too little memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS)


class Fitting:
    """Runs passes of one kind. Methods may be called from any thread."""

    def __init__(self, what: str) -> None:
        self._what, self._lock = what, threading.Lock()
        self._most: int | None = None
        self._until = 0.0
        self.halvings = 0

    @property
    def most(self) -> int | None:
        """Most rows of a pass at present; None if nothing failed of late."""
        with self._lock:
            if self._most is not None and time.monotonic() > self._until:
                self._most, self._until = 2 * self._most, time.monotonic() + _KEEP_S
            return self._most

    def run(self, batch: Tensor, forward: Callable[[Tensor], R]) -> list[R]:
        """`forward` of the rows of a batch, in as few pieces as fit: their results, in order.

        Raises:
            EncoderMemoryError: a single row does not fit.
        """
        done: list[R] = []
        start = 0
        while start < len(batch):
            piece = batch[start : start + (self.most or len(batch))]
            try:
                done.append(forward(piece))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                why = str(error).partition("\n")[0]
            else:
                start += len(piece)
                continue
            # Not within `except`: the error's frames hold what the pass had allocated.
            self._shrink(len(piece), why)
        return done

    def _shrink(self, failed: int, why: str) -> None:
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        if failed == 1:
            _log.error("one of the %s does not fit into memory: %s", self._what, why)
            raise EncoderMemoryError(f"one of the {self._what} by itself does not fit into the encoder's memory")
        with self._lock:
            self.halvings += 1
            self._most = max(1, failed // 2)
            self._until = time.monotonic() + _KEEP_S
        _log.warning("%d %s do not fit into memory; trying %d at once: %s", failed, self._what, self._most, why)
