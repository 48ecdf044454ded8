"""A name for each worker: distinct among those that run, and the same again when one is restarted."""

import fcntl
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from app.errors import ConfigurationError, WorkerNameTakenError

_SLOTS = 256
_LOCKS = Path("/proc/locks")
_ALLOWED = re.compile(r"[A-Za-z0-9._-]{1,100}")


@contextmanager
def worker_name(folder: Path, wanted: str | None = None) -> Iterator[str]:
    """Hold a name: the one that is wanted, else the machine's with the first number that is free.

    A lock on a file holds it, which the system gives back however the process ends.

    Raises:
        WorkerNameTakenError: somebody else holds it.
        ConfigurationError: it is no name.
    """
    if wanted is not None and not _ALLOWED.fullmatch(wanted):
        raise ConfigurationError("a worker's name is 1 to 100 letters, digits, dots, underscores or hyphens")
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:80] or "worker"
    folder.mkdir(parents=True, exist_ok=True)
    for name in [wanted] if wanted is not None else [f"{host}-{slot}" for slot in range(1, _SLOTS + 1)]:
        with (folder / f"{name}.lock").open("w") as handle:
            if _lock(handle):
                yield name
                return
    raise WorkerNameTakenError(
        f"a worker called {wanted} runs already on this data folder" if wanted else "too many workers on this machine"
    )


def names_in_use(folder: Path) -> list[str]:
    """Names that processes of this machine hold now, as far as this process can see them.

    Read from /proc/locks: to try the locks would take a name, for a moment, from a worker that wants it.
    """
    try:
        held = {
            line.split()[-3].rpartition(":")[2]
            for line in _LOCKS.read_text().splitlines()
            if " FLOCK " in line and "->" not in line
        }
    except OSError:
        return []
    return sorted(path.stem for path in folder.glob("*.lock") if str(path.stat().st_ino) in held)


def _lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
