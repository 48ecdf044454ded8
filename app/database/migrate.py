"""Bring the database to this version's schema; every verb that opens it does so first."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import inspect, text
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError

import migrations
from app.database import audit_table  # noqa: F401  its table is part of the schema
from app.database.sessions import Database, damage, service_error
from app.errors import DatabaseNewerError, DatabaseUnreachableError

HEAD_REVISION = "0015"
"""The newest migration; a test compares it with the files, so that start-up need not read them."""


def upgrade(database: Database) -> None:
    """Apply every migration that the database lacks. Cheap when there is none.

    Raises:
        DatabaseUnreachableError: it does not answer, or does not let us in.
        DatabaseDamagedError: SQLite's file is none, or is damaged.
        DatabaseNewerError: a newer release has been here.
        DatabaseWriteError: it lacks migrations, and cannot be written.
    """
    try:
        revision = revision_of(database)
    except OperationalError as error:
        raise DatabaseUnreachableError(f"the database cannot be opened: {error.orig}") from error
    except DatabaseError as error:
        if (found := damage(error)) is not None:
            raise found from error
        raise
    if revision is not None and revision > HEAD_REVISION:
        raise DatabaseNewerError(
            f"the database has the schema {revision}, and this release knows {HEAD_REVISION}: run the newer release, "
            "or `descry restore` a backup from before the upgrade into a new folder"
        )
    if revision != HEAD_REVISION:
        try:
            run(database, "head")
        except DBAPIError as error:
            if (failed := service_error(error)) is not None:
                raise failed from error
            raise


def run(database: Database, revision: str) -> None:
    """Move the schema to a revision, up or down ("base" removes everything, "head" is the newest)."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["engine"] = database.engine
    present = revision_of(database) or ""
    if revision == "base" or (revision != "head" and revision < present):
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


def revision_of(database: Database) -> str | None:
    """The migration that a database is at; None for an empty one."""
    with database.engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
