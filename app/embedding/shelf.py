"""Encoders that are loaded, by the fingerprint of their checkpoint: one is loaded once, whoever asks for it.

A job that loads an encoder for itself takes its time again and its memory twice: an encoder is full of references to
itself, so that the one of the job before stays until the collector of garbage has looked at everything.
"""

import gc
import logging
import threading
import time
from collections.abc import Collection
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch

from app.embedding.service import EncoderService
from app.settings import Settings

_log = logging.getLogger(__name__)
_IDLE_S = 60.0
"""Seconds without a pass after which an encoder is put away: as long as a queue keeps its thread."""
_TRIES = 3
"""Collections for one encoder; whoever holds it after that is about to use it."""


class EncoderShelf:
    """Loads encoders, and keeps the last one for who asks next. Methods may be called from any thread.

    One that somebody holds is found as long as that lasts; of those that nobody holds only the last one is kept.
    `tidy` puts that away too when it was idle, and frees those that were replaced.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._there: WeakValueDictionary[str, EncoderService] = WeakValueDictionary()
        self._kept: EncoderService | None = None
        self._tried: WeakKeyDictionary[EncoderService, int] = WeakKeyDictionary()
        """Collections that have found an idle encoder still held."""
        self._loading = threading.Lock()

    def get(self, fingerprint: str, folder: Path) -> EncoderService:
        """The encoder of a checkpoint; loaded from its folder unless it is there.

        Raises:
            CheckpointError: the checkpoint cannot be loaded.
            ConfigurationError: the device does not exist.
        """
        with self._loading:  # what two ask for at once is loaded once
            found = self._there.get(fingerprint)
            if found is None or found.closed:
                found = self._there[fingerprint] = EncoderService.load(folder, self._settings)
            found.used_at = time.monotonic()
            self._tried.pop(found, None)
            self._kept = found
        return found

    def tidy(self, held: Collection[EncoderService] = (), *, idle_s: float = _IDLE_S) -> bool:
        """Free the encoders that nobody holds and that had no pass for so many seconds; whether there may be any.

        Args:
            held: those that answer, which stay.
        """
        if not (idle := self._let_go(held, idle_s)):
            return False
        gc.collect()  # or they would stay until there is much other garbage
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        _log.info("%d encoders were idle for %g s; what nobody holds of them is put away", idle, idle_s)
        return True

    def _let_go(self, held: Collection[EncoderService], idle_s: float) -> int:
        """Keep nothing that is idle; how many encoders a collection may free."""
        with self._loading:
            idle = self._idle(held, idle_s)
            if self._kept is not None and time.monotonic() - self._kept.used_at >= idle_s:
                self._kept = None
            for encoder in idle:
                self._tried[encoder] = self._tried.get(encoder, 0) + 1
            return len(idle)

    def _idle(self, held: Collection[EncoderService], idle_s: float) -> list[EncoderService]:
        there = [encoder for encoder in self._there.values() if encoder not in held]
        since = time.monotonic() - idle_s
        return [one for one in there if one.used_at <= since and self._tried.get(one, 0) < _TRIES]
