"""Long steps as processes of their own: started, followed, ended. `app.jobs.supervisor` says how none can be lost.

A crash or an out-of-memory there does not hurt the worker, and a cancel ends everything that was started.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from app.errors import StorageError

GRACE_S = 4.0
"""Between SIGTERM and SIGKILL; well below the 10 s in which a cancel is promised."""
_SUPERVISOR = Path(__file__).with_name("supervisor.py")
_SPARE_S = 1.5
_TAIL_BYTES = 16_384


class Child:
    """One command in a session of its own, for the length of a `with` block.

    Args:
        folder: of its lock, its standard error (`stderr.log`, appended) and its events.
        events: file of JSON lines in `folder` that the command appends to.
        nice: how much it stands back behind the process that asks for it.
        memory: most bytes that each of its processes may take for data; 0 for no limit.
        environment: variables that it gets besides.
        grace_s: seconds between SIGTERM and SIGKILL.

    Raises:
        StorageError: the folder cannot be made.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        events: str = "events.jsonl",
        nice: int = 10,
        memory: int = 0,
        environment: Mapping[str, str] | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._stderr, self._events, self._grace_s = folder / "stderr.log", folder / events, grace_s
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{folder} cannot be used: {error.strerror}") from error
        arguments = [
            str(folder / ".lock"),
            str(self._events),
            str(self._stderr),
            str(grace_s),
            str(nice),
            str(memory),
            *command,
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SUPERVISOR), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._said = b""
        self._code: int | None = None
        self._events_from = self._stderr_from = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def running(self) -> bool:
        """Whether the command still runs."""
        if self._code is None and _has_ended(self._process.pid):
            self._settle()
        return self._code is None

    @property
    def started(self) -> bool:
        """Whether the command was started; before that, an earlier run of the folder has to be gone."""
        if self._events_from < 0 and (sizes := self._listen()):
            self._events_from, self._stderr_from = (int(size) for size in sizes[0].split())
        return self._events_from >= 0

    @property
    def code(self) -> int | None:
        """Exit status of the command once it has ended, negative for a signal; -SIGKILL if nobody could say."""
        return self._code

    def events(self) -> Iterator[dict[str, Any]]:
        """What the command has told since the last call; a line that is not complete yet comes another time."""
        if not self.started:
            return
        try:
            with self._events.open("rb") as handle:
                handle.seek(self._events_from)
                lines = handle.read().splitlines(keepends=True)
        except FileNotFoundError:
            return
        for line in lines:
            if not line.endswith(b"\n"):
                return
            self._events_from += len(line)
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event

    def complaints(self) -> list[str]:
        """The last lines that this run wrote to standard error."""
        if not self.started:
            return []
        with self._stderr.open("rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(self._stderr_from, size - _TAIL_BYTES))
            return handle.read().decode(errors="replace").splitlines()

    def end(self) -> None:
        """End the command and everything that it started; returns when nothing of it is left."""
        if self._code is not None:
            return
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        # Not `wait`: that would free the number of the process, and with it that of the group, before the last signal.
        _until(lambda: _has_ended(self._process.pid), self._grace_s + _SPARE_S)
        self._settle()

    def _listen(self) -> list[bytes]:
        """The whole lines that the supervisor has said: two sizes, and at the end the exit status."""
        assert self._process.stdout is not None
        if not self._process.stdout.closed:
            self._said += self._process.stdout.read() or b""
        return self._said.split(b"\n")[:-1]

    def _settle(self) -> None:
        """The supervisor has ended, or must: nothing of its group stays, however it ended."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said, _ = self._listen(), self.started
        self._process.stdout.close()
        with suppress(OSError):
            self._process.stdin.close()
        self._code = int(said[1]) if len(said) > 1 else -signal.SIGKILL
        # What is killed takes a moment to go; where nobody waits for orphans, their numbers stay for ever.
        _until(lambda: not _exists(self._process.pid), _SPARE_S)


def _until(reached: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.02)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
