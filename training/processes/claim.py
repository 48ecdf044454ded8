"""A run's folder belongs to one process at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.errors import TrainingError

LOCK = "run.lock"


@contextmanager
def claimed(folder: Path, *, main: bool = True) -> Iterator[None]:
    """Make a run's folder and hold it for the length of a block; the system gives it back however the process ends.

    Two runs in one folder would each go on from what the other one saves.

    Args:
        main: of several processes that share a run one holds it for all.

    Raises:
        TrainingError: another run is under way in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not main:
        yield
        return
    with (folder / LOCK).open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(
                f"another run is under way in {folder}; wait for its end, or give this one a folder of its own (--out)"
            ) from None
        yield
