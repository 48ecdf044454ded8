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
from tests.waiting import LIMIT_S, alive, until

QUICK = {
    "DESCRY_INGEST_CHUNK": "4",
    "DESCRY_WORKER_POLL_S": "0.1",
    "DESCRY_HEARTBEAT_S": "0.2",
    "DESCRY_WORKER_LOST_S": "2",
}
_SERVES = re.compile(r"server process (\d+) serves, pid (\d+)")
_GIVEN = re.compile(rb"\0_DESCRY_SUPERVISED=(?:[0-9]+:){3}([0-9]+):")
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


def children_of(supervisor: int) -> dict[int, int]:
    """Process ids of the servers that a supervisor runs, by their places, from the moment they are started."""
    found = {}
    for path in Path(f"/proc/{supervisor}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                words = _GIVEN.search(Path(f"/proc/{child}/environ").read_bytes())
                if words is not None:
                    found[int(words[1])] = child
    return found


class Stack:
    """`servers` servers; a worker beside the first one, or with `separate` a process of its own.

    Args:
        processes: with how many each server answers.
    """

    def __init__(
        self,
        data: Path,
        *,
        servers: int = 1,
        separate: bool = False,
        processes: int = 1,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.data, self._separate, self.processes = data, separate, processes
        self.names = [f"server {number}" for number in range(servers)]
        self._environment = {**environment(data), **QUICK, **(extra or {})}
        if processes > 1:
            self._environment |= {"DESCRY_SUPERVISE": "true", "DESCRY_PROCESSES": str(processes)}
        self._urls: dict[str, str] = {}
        self._logs: dict[str, Path] = {}
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
        """Start what does not run, and wait until it answers, in all its processes."""
        missing = [name for name in self.names if self._ended(name)]
        logs = {name: self._spawn(name, ["serve", "--port", "0", *self._without()]) for name in missing}
        if self._separate and self._ended("worker"):
            self._spawn("worker", ["worker", "--name", "worker"])
        for name, log in logs.items():
            self._await(name, log)
        if self.processes > 1:
            for name in self.names:
                until(lambda name=name: self._complete(name), f"all processes of {name} serve")  # type: ignore[misc]
        self.up.set()

    def children(self, name: str = "server 0") -> dict[int, int]:
        """Process ids of the processes with which a server answers, by place; those that are about to, too."""
        return children_of(self._processes[name].pid)

    def kill(self, *names: str) -> None:
        """SIGKILL: of "server 0", ..., "worker", or the worker's whole "group". What was killed is dead afterwards.

        Of several processes "child 0", ... are those of server 0; one that is named twice is killed again as it starts.
        """
        self.up.clear()
        for name in names:
            if name in self._processes:
                children = self.children(name) if name in self.names and self.processes > 1 else {}
                self._processes[name].kill()
                self._processes[name].wait()
                until(lambda children=children: not any(map(alive, children.values())), "children end with it")  # type: ignore[misc]
            elif name.startswith("child"):
                self._kill_child(int(name.split()[1]))
            elif not self._separate:
                for pid in workers_of(self.data):
                    with contextlib.suppress(ProcessLookupError):
                        (os.killpg if name == "group" else os.kill)(pid, signal.SIGKILL)

    def _kill_child(self, place: int) -> None:
        until(lambda: place in self.children(), "there is one to kill")
        os.kill(pid := self.children()[place], signal.SIGKILL)
        until(lambda: self.children().get(place) != pid, "it is dead")

    def _complete(self, name: str) -> bool:
        """Whether every process of a server has said that it serves since it was started last."""
        told = dict(_SERVES.findall(self._logs[name].read_text()))
        running = {str(place): str(pid) for place, pid in self.children(name).items()}
        return len(running) == self.processes and told == running

    def started(self) -> "list[subprocess.Popen[bytes]]":
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
        self._logs[name] = log
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
    """HTTP to servers of a stack, for one thread. `ask` gives None when the server died before it answered.

    Of several processes each request may meet another one.
    """

    def __init__(self, stack: Stack, name: str = "server 0") -> None:
        self._stack, self.name = stack, name
        limits = httpx.Limits(max_keepalive_connections=0) if stack.processes > 1 else httpx.Limits()
        self._client = httpx.Client(timeout=LIMIT_S, limits=limits)

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
        # Said by a supervisor in the place of a process that died: nobody has begun what was asked.
        return None if _restarting(response) else response

    def insist(self, method: str, path: str, **words: object) -> httpx.Response:
        """The answer to something that may be asked twice."""
        deadline = time.monotonic() + LIMIT_S
        while (response := self.ask(method, path, **words)) is None:
            assert time.monotonic() < deadline, f"no answer to {method} {path}"
        return response


def _restarting(response: httpx.Response) -> bool:
    return response.status_code == 503 and response.json()["code"] == "restarting"
