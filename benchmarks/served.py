"""A real `descry serve` in a process of its own, on some cores, and what it uses."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

_LIMIT_S = 300.0
_PLACE = re.compile(r"server process (\d+) serves")
_TICKS, _PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Served:
    """A server that is ready.

    Attributes:
        pid: the process that answers; the first, if there are several.
        ready_s: seconds from its start until `/readyz` answered 200.
        started: the process that was started: the supervisor, where there is one.
    """

    url: str
    pid: int
    ready_s: float
    started: int

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def cpu_s(self) -> float:
        """Seconds of processor time that the server has used, without its worker."""
        return sum(processor_s(pid) for pid in self.pids())

    def pids(self) -> list[int]:
        """Every process that answers."""
        return serving(self.started) or [self.pid]

    def workers(self) -> list[int]:
        """Process ids of its children: the worker, when it has started."""
        return _children(self.pid)


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


@contextmanager
def on_cores(cores: set[int] | None) -> Iterator[None]:
    """Processes that are started within the block run on some cores."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def shares() -> tuple[set[int], set[int]]:
    """Cores for what is measured, and the one for those who ask: the last, where there are several."""
    every = sorted(os.sched_getaffinity(0))
    return (set(every[:-1]), {every[-1]}) if len(every) > 1 else (set(every), set(every))


@contextmanager
def served(
    data_dir: Path, *words: str, cores: set[int] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Served]:
    """A server on a free port, ended after the block. Its log is `server.log` beside the data folder.

    Raises:
        RuntimeError: it does not get ready.
    """
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", str(data_dir), *words]
    log = data_dir.with_name(f"{data_dir.name}-server.log")
    began = time.perf_counter()
    with log.open("wb") as handle, on_cores(cores):
        process = subprocess.Popen(command, stderr=handle, env={**os.environ, **(environment or {})})
    try:
        url = _ready(process, log, began)
        ready_s = time.perf_counter() - began
        _all_ready(process, log, words)
        yield Served(url, answering(process.pid), ready_s, process.pid)
    finally:
        process.terminate()
        process.wait()


def _children(pid: int) -> list[int]:
    return [int(found) for path in Path(f"/proc/{pid}/task").glob("*/children") for found in _told(path).split()]


def answering(pid: int) -> int:
    """The process that answers: a child of what was started, where that supervises it."""
    return next(iter(serving(pid)), pid)


def serving(pid: int) -> list[int]:
    """The children of a supervisor that answer, or are about to."""
    return [child for child in _children(pid) if b"\0serve\0" in _told(Path(f"/proc/{child}/cmdline"))]


def _told(path: Path) -> bytes:
    """What the system tells of a thread or a process; nothing of one that has ended meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _all_ready(process: "subprocess.Popen[bytes]", log: Path, words: Sequence[str]) -> None:
    """Wait until every process takes its share of the connections."""
    wanted = int(words[words.index("--processes") + 1]) if "--processes" in words else 1
    deadline = time.perf_counter() + _LIMIT_S
    while wanted > 1 and len(seen := set(_PLACE.findall(log.read_text()))) < wanted:
        if process.poll() is not None or time.perf_counter() > deadline:
            raise RuntimeError(f"{len(seen)} of {wanted} processes serve: {log.read_text()[-2000:]}")
        time.sleep(0.02)


def _ready(process: "subprocess.Popen[bytes]", log: Path, began: float) -> str:
    url = ""
    while time.perf_counter() < began + _LIMIT_S:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text()[-2000:]}")
        url = url or next(iter(_addresses(log.read_text().split())), "")
        try:
            if url and httpx.get(f"{url}/readyz", timeout=_LIMIT_S, trust_env=False).status_code == 200:
                return url
        except httpx.TransportError:
            pass  # it names its address before it listens
        time.sleep(0.02)
    raise RuntimeError(f"the server did not get ready: {log.read_text()[-2000:]}")


def _addresses(words: Sequence[str]) -> list[str]:
    return [word.rstrip(",") for word in words if word.startswith("http://")]
