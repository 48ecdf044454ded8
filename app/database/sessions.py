"""Sessions: `read()` for a consistent look, `write()` for one unit of work that commits at its end."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from app.database import functions
from app.database.driver import asked
from app.database.together import companion
from app.database.visible import only_visible
from app.errors import (
    DatabaseDamagedError,
    DatabaseUnreachableError,
    DatabaseUrlError,
    DatabaseWriteError,
    ServiceError,
)

_BEGIN = "descry_begin"
_BUSY_S, _RETRY_S = 60.0, 0.02
_LOOK_S = 0.001
_BUSY_TIMEOUT = f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}"
_SCHEMES = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
"""What a URL may begin with, and the driver that it means."""
_NO_WRITE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_NOT_ALLOWED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NO_WRITE_STATES = {"53100", "58030"}
"""What SQLite and PostgreSQL (disk_full, io_error) say when the disk is full or fails."""
_EMPTY = ("{}", b"{}")
_AWAY_STATES = ("08", "57P", "53300")
"""What PostgreSQL says (connection_exception, operator_intervention, too_many_connections) when it is not there, or not
for us. A connection that breaks without a word has no state."""
_SURELY = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3} | {
    "tcp_user_timeout": 20_000  # milliseconds, the others seconds
}
"""How soon a machine that is gone without a word is noticed, unless the URL says otherwise: half a minute. The
system's own values are minutes for a connection and two hours for one that waits."""
_SERVER_NOTICES = "; ".join(
    f"SET {name} = {value}"
    for name, value in {
        "tcp_keepalives_idle": 10,
        "tcp_keepalives_interval": 5,
        "tcp_keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }.items()
)
"""The same at the other end: a machine that loses its power within a change would else keep the writer's lock, and so
every other writer waiting, for as long as the server's system believes in the connection."""
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
        self._writing = None if self.remote else threading.RLock()
        event.listen(self._sessions, "do_orm_execute", only_visible)

    @property
    def remote(self) -> bool:
        """Whether it is another process that answers."""
        return self.engine.dialect.name != "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and changes nothing.

        Raises:
            DatabaseWriteError: not even what reading needs can be written.
            DatabaseUnreachableError: the database does not answer.
        """
        with _typed(), self._sessions() as session:
            if self.engine.dialect.name != "sqlite":  # on SQLite every transaction is a snapshot already
                session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that is committed at the end of the block, or rolled back by an exception.

        Raises:
            DatabaseWriteError: the disk is full, or fails; nothing was changed.
            DatabaseUnreachableError: the database does not answer; if the connection broke during the commit, the
                change may have been made.
        """
        with self._alone(), _typed(), self._sessions.begin() as session:
            session.connection(execution_options={_BEGIN: "IMMEDIATE"})
            yield session
            along = companion()
            committed = along(session) if along is not None else None
        if committed is not None:
            committed()

    @contextmanager
    def append(self) -> Iterator[Connection]:
        """As `write`, for what has an order of its own: on PostgreSQL it does not wait for other changes.

        Without a session, which takes a quarter of the processor time of such a change: every search waits for one.

        Raises:
            DatabaseWriteError, DatabaseUnreachableError: as `write`.
        """
        options = {"isolation_level": "READ COMMITTED"} if self.remote else {_BEGIN: "IMMEDIATE"}
        with (
            self._alone(),
            _typed(),
            self.engine.connect() as connection,
            connection.execution_options(**options).begin(),
        ):
            yield connection

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait for the other writers of this process before SQLite is asked for its lock.

        Who finds that taken looks again after a sleep, and after ever longer ones: here they are woken.
        """
        if self._writing is None:
            yield
            return
        if not self._writing.acquire(timeout=_BUSY_S):
            raise _locked()
        try:
            yield
        finally:
            self._writing.release()

    @contextmanager
    def settled(self) -> Iterator[Session]:
        """A session to read in, when no commit is under way that a process sent before it was killed.

        SQLite undoes those. PostgreSQL may still do them; so this waits until it is the writer, of whom there is one.
        """
        with self.read() if self.engine.dialect.name == "sqlite" else self.write() as session:
            yield session

    def forget_pages(self) -> None:
        """Write SQLite's write-ahead log back and cut it to nothing: it holds pages from before an erasure.

        A reader that is under way may keep it from that; then the next call does it. PostgreSQL has its own times for
        such things (VACUUM, and the rotation of its log).
        """
        if self.engine.dialect.name == "sqlite":
            with _typed(), self.engine.connect() as connection:
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.execute("PRAGMA busy_timeout = 0")
                try:
                    driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                finally:
                    driver.execute(_BUSY_TIMEOUT)

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeoutError) as error:
        if (found := service_error(error)) is not None:
            raise found from error
        raise


def service_error(error: BaseException) -> ServiceError | None:
    """What a database library raised, as our error, if it means that the database is full, fails, or is away."""
    return write_error(error) or damage(error) or _away(error)


def damage(error: BaseException) -> DatabaseDamagedError | None:
    """What a database library raised, as our error, if it means that SQLite's file cannot be read as one."""
    cause = getattr(error, "orig", None)
    if (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF not in _DAMAGED:
        return None
    told = f"the file of the database is damaged or none ({cause}); `descry restore` brings a backup into a new folder"
    return DatabaseDamagedError(told)


def _away(error: BaseException) -> DatabaseUnreachableError | None:
    if isinstance(error, PoolTimeoutError):
        return DatabaseUnreachableError("every connection to the database is in use; try again in a moment")
    cause = getattr(error, "orig", None)
    if isinstance(cause, sqlite3.OperationalError):
        if (cause.sqlite_errorcode or 0) & 0xFF != sqlite3.SQLITE_BUSY:
            return None
        return _locked()
    state = getattr(cause, "sqlstate", None) or ""
    broken = isinstance(error, OperationalError) or getattr(error, "connection_invalidated", False)
    if not (broken and not state) and not state.startswith(_AWAY_STATES):
        return None
    return DatabaseUnreachableError("the database does not answer; try again in a moment")


def _locked() -> DatabaseUnreachableError:
    return DatabaseUnreachableError(f"somebody has kept the database locked for {_BUSY_S:.0f} s; try again")


def write_error(error: BaseException) -> DatabaseWriteError | None:
    """What a database library raised, as our error, if it means that the database cannot be written."""
    cause = getattr(error, "orig", None)
    code = (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF
    if code in _NOT_ALLOWED:
        return DatabaseWriteError(
            f"the database cannot be written ({cause}); its folder and its files must belong to the user who runs "
            "this, on a disk that has room and is not read-only"
        )
    if code in _NO_WRITE or getattr(cause, "sqlstate", None) in _NO_WRITE_STATES:
        return DatabaseWriteError(f"the database cannot be written ({cause}); make room on its disk, then try again")
    return None


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    # The server runs up to 40 request threads and none of them may wait for a connection. Parameters are hidden:
    # errors are logged, and among parameters are words of queries.
    if parsed.get_backend_name() == "postgresql":
        try:
            surely = {name: value for name, value in _SURELY.items() if name not in parsed.query}
            engine = create_engine(
                parsed,
                pool_pre_ping=True,
                pool_size=10,
                max_overflow=40,
                connect_args=surely,
                json_deserializer=_from_json,
                hide_parameters=True,
            )
        except ModuleNotFoundError as error:
            raise DatabaseUrlError("PostgreSQL needs its driver: install the extra `postgres` (psycopg)") from error
        event.listen(engine, "connect", _configure_postgres)
        event.listen(engine, "begin", _begin_postgres)
        return engine
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, pool_size=20, max_overflow=60, json_deserializer=_from_json, hide_parameters=True)
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _from_json(text: str | bytes) -> Any:  # noqa: ANN401  JSON is any value
    """Most attributes are empty, and those of a page of answers are many."""
    return {} if text in _EMPTY else json.loads(text)


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
    connection.execute(_BUSY_TIMEOUT)
    _use_wal(connection)
    # secure_delete: what is deleted is overwritten, or it would stay in the file's free pages.
    for pragma in ("synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    functions.install(connection)


def _configure_postgres(connection: Any, _record: object) -> None:  # noqa: ANN401  a DBAPI connection has no type
    with connection.cursor() as cursor:
        cursor.execute(_SERVER_NOTICES)
    connection.commit()


def _use_wal(connection: Any) -> None:  # noqa: ANN401  a DBAPI connection has no type
    """Switch to WAL. Where several processes open a new file at once, SQLite refuses this at once, without waiting."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if (error.sqlite_errorcode or 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)


def _begin_sqlite(connection: Connection) -> None:
    if connection.get_execution_options().get(_BEGIN) == "IMMEDIATE":
        _begin_writing(connection)
    else:
        connection.exec_driver_sql("BEGIN DEFERRED")


def _begin_writing(connection: Connection) -> None:
    """Take the write lock, and look for it often while another process has it.

    SQLite itself looks after ever longer sleeps, up to a tenth of a second. Where several processes answer, each of
    which commits an entry of the audit for its searches, some searches then waited half a second for their turn.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    deadline = time.monotonic() + _BUSY_S
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                asked(connection, "BEGIN IMMEDIATE")
                return
            except OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_S)
    finally:
        driver.execute(_BUSY_TIMEOUT)


def _is_busy(error: DBAPIError) -> bool:
    return (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF == sqlite3.SQLITE_BUSY


def _begin_postgres(connection: Connection) -> None:
    if connection.get_execution_options().get(_BEGIN) == "IMMEDIATE":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
