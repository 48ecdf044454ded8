"""Alembic's entry: runs the migrations on the engine that `app.database.migrate` hands over."""

from alembic import context
from sqlalchemy import Engine

from app.database.tables import Table


def run() -> None:
    """Migrate in one transaction, so that a failed migration leaves the old schema."""
    engine: Engine = context.config.attributes["engine"]
    with engine.connect() as connection:
        # Two processes may start at once: the second waits here and then finds nothing to do.
        connection = connection.execution_options(descry_begin="IMMEDIATE")
        context.configure(
            connection=connection, target_metadata=Table.metadata, render_as_batch=True, transactional_ddl=True
        )
        with context.begin_transaction():
            context.run_migrations()


run()
