"""Encoders that are loaded, by the fingerprint of their checkpoint: one is loaded once, whoever asks for it.

A job that loads an encoder for itself takes its time again and its memory twice: an encoder is full of references to
itself, so that the one of the job before stays until the collector of garbage has looked at everything.
"""

import gc
import logging
import threading
import time
from pathlib import Path
from weakref import WeakValueDictionary

import torch

from app.embedding.service import EncoderService
from app.settings import Settings

_log = logging.getLogger(__name__)
_IDLE_S = 60.0
"""Seconds without a pass after which an encoder is put away: as long as a queue keeps its thread."""


class EncoderShelf:
    """Loads encoders, and keeps the last one for who asks next. Methods may be called from any thread.

    One that somebody holds is found as long as that lasts; of those that nobody holds only the last one is kept, and
    `tidy` puts that away too when it was idle.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._there: WeakValueDictionary[str, EncoderService] = WeakValueDictionary()
        self._kept: EncoderService | None = None
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
            self._kept = found
        return found

    def tidy(self, idle_s: float = _IDLE_S) -> bool:
        """Put the last encoder away if it had no pass for so many seconds; whether that was so."""
        with self._loading:
            if self._kept is None or time.monotonic() - self._kept.used_at < idle_s:
                return False
            self._kept = None
        gc.collect()  # or it would stay until there is much other garbage
        torch.cuda.empty_cache()  # does nothing where there is no GPU
        _log.info("the encoder was idle for %g s and is put away", idle_s)
        return True
