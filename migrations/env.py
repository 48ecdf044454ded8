"""Alembic's entry: runs the migrations on the engine that `app.database.migrate` hands over."""

from alembic import context
from sqlalchemy import Connection, Engine

from app.database.tables import Table


def run() -> None:
    """Migrate in one transaction, so that a failed migration leaves the old schema."""
    engine: Engine = context.config.attributes["engine"]
    with engine.connect() as connection:
        # SQLite changes a table by making it anew. What refers to the old one must not keep it from being dropped,
        # and this switch is only heard outside of transactions.
        _check_references(connection, on=False)
        try:
            _migrate(connection)
        finally:
            _check_references(connection, on=True)


def _migrate(connection: Connection) -> None:
    # Two processes may start at once: the second waits here and then finds nothing to do.
    connection = connection.execution_options(descry_begin="IMMEDIATE")
    context.configure(
        connection=connection, target_metadata=Table.metadata, render_as_batch=True, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()
        if connection.dialect.name == "sqlite" and (
            lost := connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        ):
            raise RuntimeError(f"the migration left {len(lost)} rows that refer to nothing; it was not applied")


def _check_references(connection: Connection, *, on: bool) -> None:
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(f"PRAGMA foreign_keys = {'ON' if on else 'OFF'}")


run()
