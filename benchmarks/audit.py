"""What an entry of the audit costs the request that waits for it: alone, among others, and in a search over HTTP.

`python -m benchmarks.audit DATA PORT yes|no` serves a data folder with the audit, or without, for the comparison.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import httpx
import uvicorn

from app.audit.layer import Audited
from app.audit.note import Note
from app.audit.repository import AuditChain
from app.audit.service import AuditService
from app.audit.writer import AuditWriter
from app.database.migrate import upgrade
from app.database.sessions import Database
from app.main import create_app
from app.settings import Settings
from benchmarks.figures import Figure, median
from benchmarks.load import Plan, load
from benchmarks.served import on_cores, shares
from benchmarks.serving import prepare

_ALONE, _THREADS, _EACH = 300, 32, 30
_IDENTITIES, _SECONDS, _TURNS, _CLIENTS, _LIMIT_S = 200, 3.0, 2, (1, 8), 60.0


def measure_audit(folder: Path) -> list[Figure]:
    """Milliseconds on SQLite: of a search over HTTP with its entry and without, and of what an entry is made of."""
    return [*_over_http(folder), *_of_entries(folder)]


def _over_http(folder: Path) -> list[Figure]:
    """Searches of the same servers with and without the layer, in turns."""
    data = prepare(folder, "compact", _IDENTITIES)
    times: dict[tuple[bool, int], list[float]] = {}
    server_cores, client_cores = shares()
    for _ in range(_TURNS):
        for audited in (False, True):
            with _served(data, server_cores, audited=audited) as port:
                load(Plan(port, clients=4, seconds=1.0, seed=99), client_cores)
                for clients in _CLIENTS:
                    found = load(Plan(port, clients=clients, seconds=_SECONDS, seed=clients), client_cores)
                    times.setdefault((audited, clients), []).extend(found.taken())
    told = []
    for clients in _CLIENTS:
        on, off = times[True, clients], times[False, clients]
        told += [
            Figure(f"search over HTTP, {clients} client(s), median", median(on), "ms", median(off), "no audit"),
            Figure(f"search over HTTP, {clients} client(s), 99 %", _p99(on), "ms", _p99(off), "no audit"),
        ]
    return told


@contextmanager
def _served(data: Path, cores: set[int], *, audited: bool) -> Iterator[int]:
    with create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    words = [sys.executable, "-m", "benchmarks.audit", str(data), str(port), "yes" if audited else "no"]
    with on_cores(cores):
        process = subprocess.Popen(words)
    try:
        deadline = time.monotonic() + _LIMIT_S
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server did not get ready")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _serve(data: str, port: str, audited: str) -> None:
    app = create_app(Settings(data_dir=Path(data)))
    if audited == "no":
        layers = app.user_middleware
        app.user_middleware = [layer for layer in layers if getattr(layer.cls, "__name__", "") != Audited.__name__]
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_config=None, access_log=False)


def _of_entries(folder: Path) -> list[Figure]:
    database = Database(f"sqlite:///{folder / 'audit.sqlite3'}")
    upgrade(database)
    bare = [_timed(lambda: _commit(database)) for _ in range(_ALONE)]
    writer = AuditWriter(database)
    alone = [_timed(lambda: _wait(writer)) for _ in range(_ALONE)]
    together, seconds = _together(writer)
    writer.close()
    with database.read() as session:
        began = time.perf_counter()
        found = AuditService(session).verify()
        verified = (time.perf_counter() - began) * 1000
    database.close()
    assert found.whole, found.problems
    base = median(bare)
    return [
        Figure("wait for an entry, alone, median", median(alone), "ms", base, "bare commit of one"),
        Figure("wait for an entry, alone, 99 %", _p99(alone), "ms", base, "bare commit of one"),
        Figure(f"wait among {_THREADS} at once, median", median(together), "ms", base, "bare commit of one"),
        Figure(f"wait among {_THREADS} at once, 99 %", _p99(together), "ms", base, "bare commit of one"),
        Figure(f"entries a second among {_THREADS}", len(together) / seconds, "/s", 1000 / base, "one commit each"),
        Figure("verify 1,000 entries", verified / found.entries * 1000, "ms", base, "bare commit of one"),
    ]


def _row() -> dict[str, object]:
    words = {"query": "a woman in a red coat with a black backpack", "purpose": "case 17"}
    return Note("search.text", "bench", words=words, identity_ids=list(range(10)), image_ids=list(range(40))).row()


def _timed(work: object) -> float:
    assert callable(work)
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _commit(database: Database) -> None:
    with database.append() as connection:
        AuditChain(connection).append([_row()])


def _wait(writer: AuditWriter) -> None:
    writer.submit(_row()).result(60)


def _together(writer: AuditWriter) -> tuple[list[float], float]:
    times: list[float] = []

    def ask() -> None:
        for _ in range(_EACH):
            times.append(_timed(lambda: _wait(writer)))

    threads = [threading.Thread(target=ask) for _ in range(_THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, time.perf_counter() - began


def _p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


if __name__ == "__main__":
    _serve(*sys.argv[1:])
