"""There is one writer at a time, whoever it is, and none is lost that waits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select

import app.database.sessions
from app.database.sessions import Database
from app.database.tables import Collection
from app.errors import DatabaseUnreachableError


def names(database: Database) -> list[str]:
    with database.read() as session:
        return [name for name in session.scalars(select(Collection.name)) if name.startswith("made ")]


def test_many_writers_of_one_process_come_one_after_the_other(database: Database) -> None:
    most = list[int]()
    present, guard = [0], threading.Lock()

    def work(number: int) -> None:
        with database.write() as session:
            with guard:
                present[0] += 1
                most.append(present[0])
            session.add(Collection(name=f"made {number}"))
            session.flush()
            with guard:
                present[0] -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(60)))
    assert max(most) == 1
    assert sorted(names(database)) == sorted(f"made {number}" for number in range(60))


def test_a_writer_that_fails_lets_the_next_one_in(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(Collection(name="made never"))
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            fail()
    with ThreadPoolExecutor(1) as pool:  # another thread, for which a lock that was kept would be taken

        def work() -> None:
            with database.append() as connection:
                connection.execute(insert(Collection).values(name="made once"))

        pool.submit(work).result(timeout=30)
    assert names(database) == ["made once"]


def test_who_waits_too_long_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.remote:
        pytest.skip("PostgreSQL has no such limit: whoever is gone loses its lock")
    monkeypatch.setattr(app.database.sessions, "_BUSY_S", 0.05)
    with ThreadPoolExecutor(1) as pool, database.write():

        def work() -> None:
            with database.write():
                pass

        with pytest.raises(DatabaseUnreachableError, match="locked"):
            pool.submit(work).result(timeout=30)
    with database.write() as session:
        session.add(Collection(name="made later"))
    assert names(database) == ["made later"]


def test_another_process_that_has_the_lock_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second `Database` on the same file stands for it: they share nothing but the file."""
    if database.remote:
        pytest.skip("PostgreSQL queues those who wait by itself")
    other = Database(database.url)
    entered = threading.Event()

    def work() -> None:
        entered.set()
        with other.write() as session:
            assert session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 60_000
            session.add(Collection(name="made second"))

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            waiting = pool.submit(work)
            assert entered.wait(30)
            session.add(Collection(name="made first"))
        waiting.result(timeout=30)
        assert sorted(names(database)) == ["made first", "made second"]
        monkeypatch.setattr(app.database.sessions, "_BUSY_S", 0.05)
        with database.write(), pytest.raises(DatabaseUnreachableError, match="locked"):
            pool.submit(work).result(timeout=30)
    other.close()
