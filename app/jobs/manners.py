"""How a worker shares its machine: searches come first."""

import os
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def step_back(niceness: int) -> None:
    """Let other processes go first; call it before threads are started, which inherit it."""
    if niceness > 0:
        os.nice(niceness)
        if os.getsid(0) == os.getpid():  # where sessions are scheduled as groups, niceness counts only within one
            with suppress(OSError):
                _AUTOGROUP.write_text(str(niceness))
