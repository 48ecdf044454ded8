"""The thread that explains: one thing at a time, so that explanations never take more than a core from searches.

The encoder's own queues are left alone: a description takes some hundred phrases, which would fill them.
"""

import contextvars
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.embedding.batcher import Batcher
from app.embedding.service import EncoderService
from models.descriptions.things import COMMON

_WAITING = 16
"""Explanations that may wait; one more is answered 429."""
_KEPT = 4096
"""Vectors of phrases that are remembered of a model: the same alternatives come again and again."""

Job = Callable[[], Any]


class Explainer:
    """Runs jobs one after the other. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._jobs: Batcher[Job, Any] = Batcher(_run, batch=1, waiting=_WAITING, name="descry-explain")

    def submit(self, job: Callable[[], Any]) -> "Future[Any]":
        """Queue a job; the future has what it returns or raises, and drops it if cancelled before its turn. It sees the
        context of the caller, which says what the caller's key may see.

        Raises:
            EncoderBusyError: too many are waiting.
        """
        context = contextvars.copy_context()
        return self._jobs.submit(lambda: context.run(job))

    def close(self) -> None:
        """Finish what is queued."""
        self._jobs.close()


def _run(jobs: Sequence[Job]) -> list[Any]:
    torch.set_num_threads(1)  # counts for this thread alone
    return [job() for job in jobs]


class PhraseVectors:
    """Vectors of phrases in the text space of one encoder, remembered."""

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[EncoderService, dict[str, NDArray[np.float32]]]
        self._kept, self._lock = weakref.WeakKeyDictionary(), threading.Lock()

    def of(self, encoder: EncoderService, phrases: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
        """(n, dim) float32, unit-norm rows."""
        with self._lock:
            kept = self._kept.setdefault(encoder, {})
            missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in kept]
            known = {phrase: kept[phrase] for phrase in phrases if phrase in kept}
        for start in range(0, len(missing), batch):
            some = missing[start : start + batch]
            known |= {text: one.vector for text, one in zip(some, encoder.encode_texts_here(some), strict=True)}
        with self._lock:
            if len(kept) + len(missing) > _KEPT:
                kept.clear()
            kept |= {phrase: known[phrase] for phrase in missing[:_KEPT]}
        return np.stack([known[phrase] for phrase in phrases])

    def common(self, encoder: EncoderService) -> Tensor:
        """What all phrases have in common, (dim,) float32."""
        return torch.from_numpy(self.of(encoder, COMMON).mean(axis=0))
