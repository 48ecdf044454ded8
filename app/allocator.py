"""What glibc's allocator keeps of memory that was freed (decision 0039). Nothing happens with another one.

An arena is for the threads that began with it, and keeps the most that they ever had at once. glibc makes up to eight
for each core; threads come and go here, so that in time each of them has kept what a batch took.
"""

import ctypes
import logging
import os
from collections.abc import Callable
from typing import Any

from app.lanes import cores

_log = logging.getLogger(__name__)
_ARENA_MAX, _TRIM_THRESHOLD, _MMAP_THRESHOLD = -8, -1, -3
"""Of `mallopt`, glibc's."""
_KEEP = 1 << 30
_CHOSEN = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
"""Where somebody has chosen a number of arenas, that one counts."""


def few_arenas() -> None:
    """An arena for each core and the main one, instead of eight for each core; call it before threads are started."""
    mallopt = _function("mallopt")
    if mallopt is not None and not any(name in os.environ for name in _CHOSEN) and not mallopt(_ARENA_MAX, cores() + 1):
        _log.info("the allocator cannot be told to use few arenas; the process will need more memory")


def keep_between_batches() -> None:
    """Keep freed memory for the next batch: the system clears each page that it hands out again.

    A batch's activations are some megabytes a layer, which the allocator would give back after each of them.
    `give_back` does that now and then.
    """
    mallopt = _function("mallopt")
    if mallopt is not None and not (mallopt(_MMAP_THRESHOLD, _KEEP) and mallopt(_TRIM_THRESHOLD, _KEEP)):
        _log.info("the allocator cannot be told to keep memory; ingest is a little slower")


def give_back() -> None:
    """Give freed memory back to the system, from within every arena."""
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def _function(name: str) -> Callable[..., Any] | None:
    """A function of the C library, if it has it: musl, macOS and Windows do not."""
    try:
        found: Callable[..., Any] | None = getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        return None
    return found
