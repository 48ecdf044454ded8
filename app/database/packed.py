"""Statements that every search asks: compiled once, and all of their rows as one value.

To make a statement, and what an ORM session does to ask it, takes several times as long as the answer. And SQLite's
driver lets go of the interpreter for each row that it fetches: with several searches at once every row was then a
change of threads, and 32 clients took 30 ms of processor time for a search that takes 7 alone.
"""

import json
from collections.abc import Collection, Sequence
from typing import Any, cast

from sqlalchemy import (
    JSON,
    BindParameter,
    Boolean,
    ColumnElement,
    DateTime,
    Dialect,
    Select,
    Text,
    bindparam,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.database.driver import asked
from app.database.visible import limited

ROW, VALUE = "\x1e", "\x1f"
"""What stands between rows and between values. JSON, and so a `document`, has no control characters."""


class packed(FunctionElement[str]):  # noqa: N801  it stands in statements like the functions of SQLAlchemy
    """All rows of a statement as one JSON text: an array of the columns' values for each row, in any order."""

    type = Text()
    inherit_cache = True


class joined(FunctionElement[str]):  # noqa: N801
    """All rows of a statement as one text, in any order: numbers and `document`s, none of which is null; see `rows`."""

    type = Text()
    inherit_cache = True


class document(FunctionElement[str]):  # noqa: N801
    """A row as the text of a JSON object: name, column, name, column, ... as the API writes them.

    Instants are in UTC, whole seconds without a fraction; JSON columns are objects in it and not texts.
    """

    type = Text()
    inherit_cache = True


class among(FunctionElement[bool]):  # noqa: N801
    """Whether a column has one of many numbers: among(column, `IDS`). One statement, however many there are."""

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: object = None) -> "among":
        """Itself: in a WHERE it would else become `... = 1` on SQLite, which no index helps."""
        return self


IDS: BindParameter[str] = bindparam("ids", type_=Text())
"""The numbers, as `numbers` writes them."""


class Prepared:
    """A statement that every search asks, of values that need no conversion.

    Where not everything may be seen, the session asks it, for it adds what may be (`visible`). For that a statement of
    one `packed` or `joined` has to name its table by `select_from`.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self.statement = statement
        self._made: dict[str, tuple[str, tuple[str, ...] | None, dict[str, Any]]] = {}

    def one(self, session: Session, **values: object) -> Sequence[Any]:
        """Its only row."""
        if limited():
            return session.execute(self.statement, values).one()
        connection = session.connection()
        text, order, given = self._made.get(connection.dialect.name) or self._make(connection.dialect)
        named = {**given, **values}
        if order is None:
            return connection.exec_driver_sql(text, named).one()
        return cast(Sequence[Any], asked(connection, text, tuple(named[name] for name in order)).fetchone())

    def _make(self, dialect: Dialect) -> tuple[str, tuple[str, ...] | None, dict[str, Any]]:
        compiled = self.statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        order = None if compiled.positiontup is None else tuple(compiled.positiontup)
        made = str(compiled), order, {name: bind.value for bind, name in compiled.bind_names.items()}
        self._made[dialect.name] = made
        return made


def numbers(session: Session, ids: Collection[int]) -> str:
    """Numbers as a value of `IDS`."""
    text = ",".join(map(str, ids))
    return f"[{text}]" if session.get_bind().dialect.name == "sqlite" else f"{{{text}}}"


def rows(text: str | None) -> list[list[str]]:
    """The rows of a `joined`."""
    return [row.split(VALUE) for row in text.split(ROW)] if text else []


def unpacked(text: str) -> list[list[Any]]:
    """The rows of a `packed`."""
    found: list[list[Any]] = json.loads(text)
    return found


@compiles(packed, "sqlite")
def _packed_sqlite(element: packed, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    return f"json_group_array(json_array({compiler.process(element.clauses, **options)}))"


@compiles(packed, "postgresql")
def _packed_postgres(element: packed, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    return f"coalesce(json_agg(json_build_array({compiler.process(element.clauses, **options)}))::text, '[]')"


@compiles(joined, "sqlite")
def _joined_sqlite(element: joined, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    values = (compiler.process(column, **options) for column in element.clauses)
    return f"group_concat({' || char(31) || '.join(values)}, char(30))"


@compiles(joined, "postgresql")
def _joined_postgres(element: joined, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    values = (f"({compiler.process(column, **options)})::text" for column in element.clauses)
    return f"string_agg({' || chr(31) || '.join(values)}, chr(30))"


@compiles(document, "sqlite")
def _document_sqlite(element: document, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    return f"json_object({', '.join(_sqlite_value(part, compiler, **options) for part in element.clauses)})"


@compiles(document, "postgresql")
def _document_postgres(element: document, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"json_build_object({', '.join(_postgres_value(part, compiler, **options) for part in element.clauses)})"


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    column, ids = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({ids}))"


@compiles(among, "postgresql")
def _among_postgres(element: among, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401  SQLAlchemy's own
    column, ids = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY(CAST({ids} AS BIGINT[]))"


def _kind(part: ColumnElement[Any]) -> TypeEngine[Any]:
    kind = part.type
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind


def _sqlite_value(part: ColumnElement[Any], compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    text, kind = compiler.process(part, **options), _kind(part)
    if isinstance(kind, DateTime):  # it keeps "2026-11-21 17:56:15.000000", always in UTC
        return f"replace(replace({text}, ' ', 'T'), '.000000', '') || 'Z'"
    if isinstance(kind, Boolean):
        return f"json(CASE WHEN {text} THEN 'true' ELSE 'false' END)"
    return f"json({text})" if isinstance(kind, JSON) else text


def _postgres_value(part: ColumnElement[Any], compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    text, kind = compiler.process(part, **options), _kind(part)
    if isinstance(kind, DateTime):
        return f"replace(to_char({text} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '.000000', '') || 'Z'"
    return text
