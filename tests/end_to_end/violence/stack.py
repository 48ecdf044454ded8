"""Servers and workers as processes over one data folder, started, found and killed."""

import contextlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx

from tests.end_to_end.test_service_process import DESCRY, environment
from tests.waiting import LIMIT_S, until

QUICK = {
    "DESCRY_INGEST_CHUNK": "4",
    "DESCRY_WORKER_POLL_S": "0.1",
    "DESCRY_HEARTBEAT_S": "0.2",
    "DESCRY_WORKER_LOST_S": "2",
}
_ADDRESS = re.compile(r"Descry at (http://[^ ,]+)")


def workers_of(data: Path) -> list[int]:
    """Process ids of every worker of a data folder, whoever started it."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
            if b"worker" in words and str(data).encode() in words:
                found.append(int(entry.name))
    return found


class Stack:
    """`servers` servers; a worker beside the first one, or with `separate` a process of its own."""

    def __init__(
        self, data: Path, *, servers: int = 1, separate: bool = False, extra: Mapping[str, str] | None = None
    ) -> None:
        self.data, self._separate = data, separate
        self.names = [f"server {number}" for number in range(servers)]
        self._environment = {**environment(data), **QUICK, **(extra or {})}
        self._urls: dict[str, str] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._starts = 0
        self._writers: list[subprocess.Popen[bytes]] = []
        self.up = threading.Event()

    @contextmanager
    def running(self) -> Iterator["Stack"]:
        """Everything started for the length of a block; nothing of it is left afterwards."""
        try:
            self.start()
            yield self
        finally:
            for process in self._processes.values():
                process.kill()
                process.wait()
            until(lambda: not workers_of(self.data), "every worker ends with its server")
            for writer in self._writers:
                writer.wait(LIMIT_S)

    @property
    def logs(self) -> str:
        """What all processes of this stack said."""
        return "\n".join(path.read_text() for path in sorted(self.data.parent.glob("stack-*.log")))

    def url(self, name: str = "server 0") -> str:
        """Where a server answers since it was last started."""
        return self._urls[name]

    def start(self) -> None:
        """Start what does not run, and wait until it answers."""
        missing = [name for name in self.names if self._ended(name)]
        logs = {name: self._spawn(name, ["serve", "--port", "0", *self._without()]) for name in missing}
        if self._separate and self._ended("worker"):
            self._spawn("worker", ["worker", "--name", "worker"])
        for name, log in logs.items():
            self._await(name, log)
        self.up.set()

    def kill(self, *names: str) -> None:
        """SIGKILL: of "server 0", ..., "worker", or the worker's whole "group". What was killed is dead afterwards."""
        self.up.clear()
        for name in names:
            if name in self._processes:
                self._processes[name].kill()
                self._processes[name].wait()
            elif not self._separate:
                for pid in workers_of(self.data):
                    with contextlib.suppress(ProcessLookupError):
                        (os.killpg if name == "group" else os.kill)(pid, signal.SIGKILL)

    def processes(self) -> "list[subprocess.Popen[bytes]]":
        """Those that this stack started itself."""
        return list(self._processes.values())

    def stop(self) -> None:
        """End everything in order."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(LIMIT_S)

    def _without(self) -> list[str]:
        return ["--no-worker"] if self._separate else []

    def _ended(self, name: str) -> bool:
        return name not in self._processes or self._processes[name].poll() is not None

    def _spawn(self, name: str, words: list[str]) -> Path:
        self._starts += 1
        log = self.data.parent / f"stack-{self._starts:03}-{name.replace(' ', '-')}.log"
        with log.open("wb") as handle:
            # Through a pipe: what a test does to the files of a server must not reach its log.
            writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=handle)
        assert writer.stdin is not None
        with writer.stdin:
            command = [*DESCRY, *words, "--data-dir", str(self.data)]
            self._processes[name] = subprocess.Popen(command, env=self._environment, stderr=writer.stdin)
        self._writers.append(writer)
        return log

    def _await(self, name: str, log: Path) -> None:
        def ready() -> bool:
            assert not self._ended(name), f"{name} ended:\n{log.read_text()}"
            if (found := _ADDRESS.search(log.read_text())) is None:
                return False
            self._urls[name] = found[1]
            try:
                return httpx.get(f"{found[1]}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, f"{name} is ready")


class Caller:
    """HTTP to servers of a stack, for one thread. `ask` gives None when the server died before it answered."""

    def __init__(self, stack: Stack, name: str = "server 0") -> None:
        self._stack, self.name = stack, name
        self._client = httpx.Client(timeout=LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, **words: object) -> httpx.Response | None:
        """One attempt; after a failed one, waits until everything runs again."""
        try:
            response = self._client.request(method, self._stack.url(self.name) + path, **words)  # type: ignore[arg-type]
        except httpx.TimeoutException:
            raise
        except httpx.TransportError:
            time.sleep(0.02)  # a refused connection may come before `kill` has said that it kills
            assert self._stack.up.wait(LIMIT_S)
            return None
        return response

    def insist(self, method: str, path: str, **words: object) -> httpx.Response:
        """The answer to something that may be asked twice."""
        deadline = time.monotonic() + LIMIT_S
        while (response := self.ask(method, path, **words)) is None:
            assert time.monotonic() < deadline, f"no answer to {method} {path}"
        return response
