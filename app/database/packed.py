"""Many rows as one value, for statements that every search asks.

SQLite's driver lets go of the interpreter for each row that it fetches. With several searches at once every row was
then a change of threads: 32 clients took 30 ms of processor time for a search that takes 7 alone.
"""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class packed(FunctionElement[str]):  # noqa: N801  it stands in statements like the functions of SQLAlchemy
    """All rows of a statement as one JSON text: an array of the columns' values for each row, in any order."""

    type = Text()
    inherit_cache = True


@compiles(packed, "sqlite")
def _on_sqlite(element: packed, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    return f"json_group_array(json_array({compiler.process(element.clauses, **options)}))"


@compiles(packed, "postgresql")
def _on_postgres(element: packed, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    return f"coalesce(json_agg(json_build_array({compiler.process(element.clauses, **options)}))::text, '[]')"


def unpacked(session: Session, statement: Select[str], **values: object) -> list[list[Any]]:
    """The rows of a statement of one `packed` that names its table by `select_from`: else the session would not add
    what the asker may see (`visible`). Their JSON and instants are for `attributes` and `instant` to read."""
    rows: list[list[Any]] = json.loads(session.execute(statement, values).scalar_one())
    return rows


def attributes(value: str | dict[str, Any]) -> dict[str, Any]:
    """A JSON object in a packed row: text on SQLite, the object itself on PostgreSQL."""
    if isinstance(value, str):
        value = {} if value == "{}" else json.loads(value)
    assert isinstance(value, dict)
    return value


def instant(value: str | None) -> datetime | None:
    """An instant in a packed row, in UTC: SQLite keeps no zone, PostgreSQL answers in that of the session."""
    if value is None:
        return None
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
