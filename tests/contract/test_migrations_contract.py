"""The schema on both databases: up, down, up again, and the same as the tables say."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from app.database.migrate import run, upgrade
from app.database.sessions import Database
from app.database.tables import Table
from app.errors import DatabaseUnreachableError, DatabaseUrlError
from app.vectors.repository import LogRepository
from tests.waiting import PROCESS_S


def tables(database: Database) -> set[str]:
    with database.engine.connect() as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version", "sqlite_sequence"}


def test_tables_and_migrations_do_not_drift(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Table.metadata) == []


def test_up_down_and_up_again(bare: Database) -> None:
    upgrade(bare)
    upgrade(bare)
    assert tables(bare) == set(Table.metadata.tables)
    run(bare, "base")
    assert tables(bare) == set()
    run(bare, "head")
    with bare.read() as session:
        head = LogRepository(session).head()
    assert (head.sequence, head.active_version_id, len(head.history)) == (0, None, 32)


def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    code = "import sys; from app.database import migrate, sessions; migrate.upgrade(sessions.Database(sys.argv[1]))"
    started = [subprocess.Popen([sys.executable, "-c", code, database_url]) for _ in range(3)]
    assert [process.wait(PROCESS_S) for process in started] == [0, 0, 0]
    database = Database(database_url)
    assert tables(database) == set(Table.metadata.tables)
    database.close()


@pytest.mark.parametrize("url", ["mysql://secret@host/name", "no url at all", "postgresql+asyncpg://secret@host/x", ""])
def test_urls_of_other_databases_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(DatabaseUrlError) as refused:
        Database(url)
    assert refused.value.code == "database_url_invalid"
    assert "secret" not in str(refused.value)


def test_what_people_write_is_understood(database_url: str) -> None:
    for url in {database_url, database_url.replace("postgresql://", "postgres://")}:
        database = Database(url)
        with database.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1
        database.close()


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    database = Database(f"postgresql://someone:secret@/name?host={tmp_path}")
    with pytest.raises(DatabaseUnreachableError) as refused:
        upgrade(database)
    assert str(tmp_path) in str(refused.value)
    assert "secret" not in str(refused.value)
    database.close()
