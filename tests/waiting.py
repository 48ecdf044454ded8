"""Waiting for states in tests: as short as can be, and long enough for a machine that is busy."""

import contextlib
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 300.0
"""Longest wait for a state that must come. Only a failure waits so long: it is far above what a busy machine needs."""
PROCESS_S = 600.0
"""The same for a process that loads libraries and works for a while."""
_PORTS = (20_000, 32_000)
"""Below those that Linux (32,768), macOS and Windows (49,152) give to whoever asks for any port."""


def until(
    reached: Callable[[], object], what: str = "what was waited for", limit_s: float = LIMIT_S, *, pause_s: float = 0.01
) -> None:
    """Wait for a state that must come.

    Args:
        pause_s: between two looks; small where the test wants to be there soon after.
    """
    deadline = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < deadline, f"it did not come: {what}"
        time.sleep(pause_s)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port() -> int:
    """A port on which nothing listens now, and that the system gives to nobody who asks it for any: of those it would
    have given it to another test by the time a server comes to listen there."""
    dice = random.SystemRandom()  # the seed of a test is the same in all processes of a run
    while True:
        port = dice.randrange(*_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
