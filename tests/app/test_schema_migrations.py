"""Tables and migrations say the same, and every migration can be taken back."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select
from sqlalchemy.exc import IntegrityError

import migrations
from app.database.migrate import HEAD_REVISION, run, upgrade
from app.database.sessions import Database
from app.database.tables import Head, Identity, Table
from app.vectors.repository import LogRepository


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'new' / 'descry.sqlite3'}")


def test_tables_and_migrations_do_not_drift(database: Database) -> None:
    upgrade(database)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    database.close()


def test_the_newest_migration_is_the_one_that_start_up_expects(database: Database) -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert scripts.get_heads() == [HEAD_REVISION]


def test_up_down_and_up_again(database: Database) -> None:
    upgrade(database)
    upgrade(database)
    run(database, "base")
    with database.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version", "sqlite_sequence"}
    run(database, "head")
    with database.read() as session:
        head = LogRepository(session).head()
    assert (head.sequence, head.active_version_id, len(head.history)) == (0, None, 32)
    database.close()


def test_the_database_is_durable_and_keeps_its_references(database: Database) -> None:
    upgrade(database)
    with database.engine.connect() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        assert pragmas == ["wal", 2]
    with pytest.raises(IntegrityError), database.write() as session:
        session.get_one(Head, 1).active_version_id = 7
    database.close()


def test_a_unit_of_work_is_all_or_nothing(database: Database) -> None:
    upgrade(database)

    def fail() -> None:
        with database.write() as session:
            session.add(Identity(external_id="x", provisional=False))
            assert LogRepository(session).reserve(3) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as session:
        assert session.scalars(select(Identity)).all() == []
        assert LogRepository(session).head().sequence == 0
    database.close()
