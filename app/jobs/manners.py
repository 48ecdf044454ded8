"""How a worker shares its machine: searches come first, and memory that was fetched once is kept."""

import ctypes
import gc
import logging
import os
from contextlib import suppress
from pathlib import Path

_log = logging.getLogger(__name__)
_AUTOGROUP = Path("/proc/self/autogroup")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of `mallopt`, glibc's."""
_KEEP = 1 << 30


def step_back(niceness: int) -> None:
    """Let other processes go first; call it before threads are started, which inherit it."""
    if niceness > 0:
        os.nice(niceness)
        if os.getsid(0) == os.getpid():  # where sessions are scheduled as groups, niceness counts only within one
            with suppress(OSError):
                _AUTOGROUP.write_text(str(niceness))


def keep_memory() -> None:
    """Keep freed memory for the next batch: the system clears each page that it hands out again.

    A batch's activations are some megabytes a layer, which the allocator would give back after each of them. The most
    that was in use at once stays in use; it is the same from batch to batch.
    """
    gc.freeze()  # modules and weights: no collection looks at them any more
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and not (mallopt(_MMAP_THRESHOLD, _KEEP) and mallopt(_TRIM_THRESHOLD, _KEEP)):
        _log.info("the allocator cannot be told to keep memory; ingest is a little slower")
