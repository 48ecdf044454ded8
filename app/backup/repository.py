"""All SQL of backups: whole tables from one database into another.

In a backup the tables are always a SQLite file. So a gallery of either database can be restored into either, nothing
but Python is needed on either side (`pg_dump` is often absent, and only fits its own major version), and what checks
and migrates a backup is what checks and migrates every other SQLite file.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, insert, inspect, select, text, update
from sqlalchemy.orm import Session

from app.database.migrate import HEAD_REVISION, revision_of, upgrade
from app.database.sessions import Database
from app.database.tables import Head, Identity, Image, Job, Table, now
from app.errors import BackupError

_ROWS = 1000
ID_GAP = 1_000_000
"""How far numbers jump at a restore. Those that were given out after the backup are not given out again, so that a
ledger of erasures that is applied later never names somebody else."""
_UNFINISHED = ("queued", "running")


def copy_to_file(source: Database, target: Path) -> str:
    """Copy one state of a database into a new SQLite file; returns the revision of its schema.

    SQLite: the online backup in one step, which is one snapshot and keeps no writer out. PostgreSQL: all tables within
    one REPEATABLE READ transaction.

    Raises:
        BackupError: there is no schema, or on PostgreSQL it is not that of this release.
    """
    found = revision_of(source) or ""
    if found > HEAD_REVISION:
        raise BackupError(f"the database has the schema {found}, which is newer than this release; use the newer one")
    if source.engine.dialect.name == "sqlite":
        reading, writing = sqlite3.connect(str(source.engine.url.database)), sqlite3.connect(target)
        try:
            reading.backup(writing, pages=-1)
        finally:
            reading.close()
            writing.close()
        return tidy(target)
    if found != HEAD_REVISION:
        raise BackupError(f"the database has the schema {found}, not {HEAD_REVISION}; start this release once first")
    copy = Database(f"sqlite:///{target}")
    try:
        upgrade(copy)
        with source.read() as session:
            _copy_rows(session, copy)
    finally:
        copy.close()
    return tidy(target)


def copy_from_file(source: Path, target: Database) -> None:
    """Copy every table of a SQLite file, which has this release's schema, into an empty database that has it too."""
    opened = Database(f"sqlite:///{source}")
    try:
        with opened.read() as session:
            _copy_rows(session, target)
    finally:
        opened.close()


def is_empty(database: Database) -> bool:
    """Whether a database has no tables of ours."""
    with database.engine.connect() as connection:
        return not inspect(connection).has_table("alembic_version") and not inspect(connection).has_table("images")


def store_names(file: Path) -> list[tuple[int, str]]:
    """Id and store name of each image in a SQLite file of any schema, by store name."""
    with _opened(file) as connection:
        return [
            (int(i), str(n)) for i, n in connection.execute("SELECT id, store_name FROM images ORDER BY store_name")
        ]


def model_folders(file: Path) -> list[str]:
    """The checkpoint folders of a SQLite file of any schema."""
    with _opened(file) as connection:
        return [str(row[0]) for row in connection.execute("SELECT folder FROM model_versions ORDER BY id")]


def place_in_log(file: Path) -> dict[str, int | str | None]:
    """History, sequence and active version of a SQLite file of any schema, and how many images and vectors it has."""
    with _opened(file) as connection:
        row = connection.execute("SELECT history, sequence, active_version_id FROM head").fetchone()
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in _COUNTED}
    return {"history": row[0], "sequence": row[1], "active_version_id": row[2], **counts}


_COUNTED = ("identities", "images", "embeddings")


class RestoredRepository:
    """Changes what must not be as it was in the gallery that a backup was taken of."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def rename_log(self) -> None:
        """Give the log a new name: from here on it is another one, and no index of the old one fits it."""
        self._session.execute(update(Head).values(history=secrets.token_hex(16)))

    def end_jobs(self) -> int:
        """End the jobs that were under way: their staged files are not in a backup; returns how many."""
        told = {"error_code": "restored", "error_message": "a backup was restored that was made while it was under way"}
        gone = {"state": "failed", "worker": None, "finished_at": now(), **told}
        statement = update(Job).where(Job.state.in_(_UNFINISHED)).values(gone).returning(Job.id)
        return len(self._session.scalars(statement).all())

    def jump(self) -> None:
        """Let the next numbers of images and identities begin far above the last ones."""
        for table in (Image, Identity):
            last = int(self._session.execute(select(func.coalesce(func.max(table.id), 0))).scalar_one())
            _number_from(self._session, table.__tablename__, last + ID_GAP)


def _copy_rows(session: Session, target: Database) -> None:
    tables = Table.metadata.sorted_tables
    with target.write() as writing:
        for table in reversed(tables):
            writing.execute(table.delete())
        for table in tables:
            rows = session.execute(select(table), execution_options={"yield_per": _ROWS})
            for page in rows.mappings().partitions(_ROWS):
                writing.execute(insert(table), [dict(row) for row in page])
        for table in tables:
            if table.dialect_options["sqlite"].get("autoincrement"):
                last = writing.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()
                _number_from(writing, table.name, int(last))


def _number_from(session: Session, table: str, last: int) -> None:
    if session.connection().dialect.name == "sqlite":
        session.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": table})
        session.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"), {"name": table, "seq": last}
        )
        return
    sequence = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :value, :called)")
    session.execute(sequence, {"name": table, "value": max(last, 1), "called": last > 0})


def tidy(file: Path) -> str:
    """Drop tables of the job engine, which are of no use elsewhere, and pages that hold what was deleted."""
    with _opened(file) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if "alembic_version" not in names:
            raise BackupError("the database has no tables yet; there is nothing to back up")
        ours = {*Table.metadata.tables, "alembic_version"}
        for name in names:
            if name not in ours and not name.startswith("sqlite_"):
                connection.execute(f'DROP TABLE "{name}"')
        connection.commit()
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def _opened(file: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(file))


def pages(rows: list[tuple[int, str]], size: int) -> Iterator[list[tuple[int, str]]]:
    """Cut a list into pages."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
