"""Sessions: `read()` for a consistent look, `write()` for one unit of work that commits at its end."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.errors import DatabaseUrlError, StorageError

_BEGIN = "descry_begin"
_BUSY_S, _RETRY_S = 60.0, 0.02
_SCHEMES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""What a URL may begin with, and the driver that it means."""
_WRITER_LOCK = 0x64657363727900
"""The advisory lock of PostgreSQL that stands for SQLite's write lock: the letters of "descry"."""


class Database:
    """One database and its pool of connections.

    There is one writer at a time, on both databases: what a unit of work reads before it writes stays true until its
    commit, and numbers of the log are committed in their order. On SQLite it begins with `BEGIN IMMEDIATE` (a deferred
    transaction that reads first would be thrown out as soon as another process wrote in between), on PostgreSQL it
    takes an advisory lock that ends with the transaction.

    Raises:
        DatabaseUrlError: the URL names no database that Descry runs on, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing."""
        with self._sessions() as session:
            if self.engine.dialect.name != "sqlite":  # on SQLite every transaction is a snapshot already
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that is committed at the end of the block, or rolled back by an exception.

        Raises:
            StorageError: the disk of the database is full.
        """
        try:
            with self._sessions.begin() as session:
                session.connection(execution_options={_BEGIN: "IMMEDIATE"})
                yield session
        except OperationalError as error:
            if _disk_full(error):
                raise StorageError("the disk of the database is full: make room, then try again") from error
            raise

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _disk_full(error: OperationalError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None) or getattr(error.orig, "sqlstate", None)
    return code in (sqlite3.SQLITE_FULL, "53100")


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    # The server runs up to 40 request threads and none of them may wait for a connection.
    if parsed.get_backend_name() == "postgresql":
        try:
            engine = create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=40)
        except ModuleNotFoundError as error:
            raise DatabaseUrlError("PostgreSQL needs its driver: install the extra `postgres` (psycopg)") from error
        event.listen(engine, "begin", _begin_postgres)
        return engine
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, pool_size=20, max_overflow=60)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        return parsed.set(drivername=_SCHEMES[parsed.drivername])
    except (ArgumentError, NoSuchModuleError, KeyError, ValueError):
        # Without the URL itself: it may hold a password.
        raise DatabaseUrlError(
            "DESCRY_DATABASE_URL must look like postgresql://user:password@host:5432/name or sqlite:////path/file"
        ) from None


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection has no type
    connection.isolation_level = None  # the driver must not begin transactions by itself; `_begin_sqlite` does
    connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}")
    _use_wal(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: Any) -> None:  # noqa: ANN401  a DBAPI connection has no type
    """Switch to WAL. Where several processes open a new file at once, SQLite refuses this at once, without waiting."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get(_BEGIN, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get(_BEGIN) == "IMMEDIATE":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
