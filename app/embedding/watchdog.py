"""Notices passes that do not end. A thread that hangs in native code cannot be interrupted; see decision 0025."""

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import NoReturn

_log = logging.getLogger(__name__)
RESTART_CODE = 70
"""Exit code (EX_SOFTWARE) of a process that only a new process can help; its supervisor starts that."""
_LOOK_S, _IDLE_S = 0.1, 60.0


def give_up(reason: str) -> NoReturn:
    """End this process at once, with `RESTART_CODE`. Threads that hang would hold up any other end."""
    _log.critical("%s; this process ends with code %d, to be started again", reason, RESTART_CODE)
    logging.shutdown()
    os._exit(RESTART_CODE)


class Watchdog:
    """One thread that looks after all passes of a process. It is there while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passes: dict[int, tuple[float, Callable[[], None]]] = {}
        self._next = 0
        self._thread: threading.Thread | None = None

    def watching(self, limit_s: float, stalled: Callable[[], None]) -> "Watched":
        """Call `stalled`, once and on the watchdog's thread, if a block takes longer than `limit_s` seconds."""
        return Watched(self, limit_s, stalled)

    def begin(self, limit_s: float, stalled: Callable[[], None]) -> int:
        """A pass begins; returns its number."""
        with self._lock:
            self._next = number = self._next + 1
            self._passes[number] = (time.monotonic() + limit_s, stalled)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="descry-watchdog", daemon=True)
                self._thread.start()
        return number

    def end(self, number: int) -> None:
        """A pass has ended."""
        with self._lock:
            self._passes.pop(number, None)

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(_LOOK_S)
            now = time.monotonic()
            with self._lock:
                if self._passes:
                    idle_since = now
                elif now - idle_since > _IDLE_S:
                    self._thread = None  # the next pass starts another
                    return
                late = [key for key, (limit, _) in self._passes.items() if now > limit]
                calls = [self._passes.pop(key)[1] for key in late]
            for stalled in calls:
                try:
                    stalled()
                except Exception:  # noqa: BLE001  one that fails must not leave the others unwatched
                    _log.exception("a pass that hangs could not be dealt with")


class Watched:
    """One pass, as a block."""

    __slots__ = ("_limit_s", "_number", "_stalled", "_watchdog")

    def __init__(self, watchdog: Watchdog, limit_s: float, stalled: Callable[[], None]) -> None:
        self._watchdog, self._limit_s, self._stalled = watchdog, limit_s, stalled

    def __enter__(self) -> None:
        self._number = self._watchdog.begin(self._limit_s, self._stalled)

    def __exit__(self, *_: object) -> None:
        self._watchdog.end(self._number)


WATCHDOG = Watchdog()
