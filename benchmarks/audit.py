"""What an entry of the audit costs the request that waits for it, alone and among others."""

import threading
import time
from pathlib import Path

from app.audit.note import Note
from app.audit.repository import AuditRepository
from app.audit.service import AuditService
from app.audit.writer import AuditWriter
from app.database.migrate import upgrade
from app.database.sessions import Database
from benchmarks.figures import Figure, median

_ALONE, _THREADS, _EACH = 300, 32, 30


def measure_audit(folder: Path) -> list[Figure]:
    """Milliseconds until the entry of a search is committed on SQLite, beside a bare commit of one; and verifying."""
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
    with database.append() as session:
        AuditRepository(session).append([_row()])


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
