"""The worker beside a server: a process of its own.

A process and not a thread: encoding thousands of pictures would hold searches up at the interpreter's lock, a decoder
that crashes would take the server along, and DBOS is one per process.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.settings import Settings

_log = logging.getLogger(__name__)
_LONGEST_PAUSE_S, _HEALTHY_S, _END_S = 30.0, 60.0, 40.0


@contextmanager
def companion(settings: Settings) -> Iterator[None]:
    """Keep one worker running for the length of a block; one that dies is started again."""
    keeper = _Keeper(settings)
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


class _Keeper:
    def __init__(self, settings: Settings) -> None:
        # The pipe on its standard input closes however this process ends, and the worker ends with it.
        self._command = [sys.executable, "-m", "app.cli", "worker", "--until-input-ends"]
        self._command += ["--data-dir", str(settings.data_dir)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="descry-companion", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        pause = 1.0
        while not self._stopped.is_set():
            began = time.monotonic()
            code = self._watch()
            if self._stopped.is_set():
                return
            pause = 1.0 if time.monotonic() - began > _HEALTHY_S else min(2 * pause, _LONGEST_PAUSE_S)
            _log.warning("the worker ended with code %s; starting it again in %g s", code, pause)
            self._stopped.wait(pause)

    def _watch(self) -> int:
        # In a session of its own, or Ctrl-C would reach it beside the server's orderly end.
        with subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        ) as child:
            while child.poll() is None and not self._stopped.wait(0.2):
                pass
            assert child.stdin is not None
            child.stdin.close()
            try:
                return child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()  # its jobs go on at the next start
                return child.wait()
