"""Sessions: `read()` for a consistent look, `write()` for one unit of work that commits at its end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

_BEGIN = "descry_begin"


class Database:
    """One database and its pool of connections.

    A unit of work that writes begins on SQLite with `BEGIN IMMEDIATE`: a deferred transaction that reads first and
    writes later would be thrown out as soon as another process wrote in between.
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
        """A session that is committed at the end of the block, or rolled back by an exception."""
        with self._sessions.begin() as session:
            session.connection(execution_options={_BEGIN: "IMMEDIATE"})
            yield session

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    # The server runs up to 40 request threads and none of them may wait for a connection.
    engine = create_engine(parsed, pool_size=20, max_overflow=60)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection has no type
    connection.isolation_level = None  # the driver must not begin transactions by itself; `_begin_sqlite` does
    for pragma in ("busy_timeout = 60000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get(_BEGIN, "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")
