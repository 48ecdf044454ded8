"""Filters as SQL conditions on `images`, with one meaning on SQLite and PostgreSQL (see `filters`).

Attributes are JSON text on both. SQLite's paths cannot name every key (quotes, and before 3.45 escaped characters),
so that the keys are walked with `json_each`; PostgreSQL takes a key as a parameter. Strings are compared by code point,
the order of UTF-8 bytes: SQLite's own, and "C" of PostgreSQL. Numbers are compared as decimals: PostgreSQL's numeric,
and on SQLite floating point wherever that decides beyond doubt, else `compare_number`.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Numeric,
    String,
    Time,
    and_,
    bindparam,
    case,
    cast,
    collate,
    exists,
    extract,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import InstrumentedAttribute

from app.database.functions import COMPARE_NUMBER
from app.database.tables import Identity, Image
from app.search.clock import DAY_S, TimeOfDay, offset_periods
from app.search.filters import AttributeFilter, Bounds, Filters, kind

_DOUBT = 1e-12
"""Above any relative error of floating point in reading a number; closer ones are compared as decimals."""

Condition = ColumnElement[bool]
Json = InstrumentedAttribute[dict[str, Any]]
Scalar = bool | int | float | str


def conditions(filters: Filters | None, dialect: str, *, given: bool = False) -> list[Condition]:
    """What the images that a search may find fulfil, all of it.

    Args:
        dialect: sqlite or postgresql.
        given: the statement names its images, at most some thousands. Then their identities are looked up one by one;
            else the identities that fit are found first, and their images by the index.
    """
    if filters is None:
        return []
    found = _of_image(filters, dialect)
    of_identity = _of_identity(filters, dialect)
    if of_identity and given:
        found.append(exists().where(Identity.id == Image.identity_id, *of_identity))
    elif of_identity:
        found.append(Image.identity_id.in_(select(Identity.id).where(*of_identity)))
    return found


def _of_image(filters: Filters, dialect: str) -> list[Condition]:
    found: list[Condition] = []
    if filters.identities is not None:
        found.append(Image.identity_id.in_(filters.identities))
    if filters.without_identities is not None:
        found.append(Image.identity_id.not_in(filters.without_identities))
    if filters.cameras is not None:
        found.append(Image.camera.in_(filters.cameras))
    if filters.track is not None:
        found.append(Image.track == filters.track)
    if filters.captured_at is not None:
        if filters.captured_at.start is not None:
            found.append(Image.captured_at >= filters.captured_at.start)
        if filters.captured_at.end is not None:
            found.append(Image.captured_at < filters.captured_at.end)
    if filters.time_of_day is not None:
        found.append(_at_time_of_day(filters.time_of_day, dialect))
    found += [_attribute(Image.attributes, one, dialect) for one in filters.image_attributes or ()]
    return found


def _of_identity(filters: Filters, dialect: str) -> list[Condition]:
    found = [_attribute(Identity.attributes, one, dialect) for one in filters.identity_attributes or ()]
    if filters.provisional is not None:
        found.append(Identity.provisional.is_(filters.provisional))
    return found


def _at_time_of_day(filters: TimeOfDay, dialect: str) -> Condition:
    start, end = filters.seconds
    # Days are added so that no remainder is of a negative number.
    since_start = (_utc_second(dialect) + _offset(filters.timezone, dialect) + (2 * DAY_S - start)) % DAY_S
    return and_(Image.captured_at.is_not(None), since_start < (end - start) % DAY_S)


def _utc_second(dialect: str) -> ColumnElement[int]:
    """Seconds of the day of `captured_at`, in UTC."""
    if dialect == "postgresql":
        return cast(func.floor(extract("epoch", cast(func.timezone("UTC", Image.captured_at), Time))), Integer)
    text = type_coerce(Image.captured_at, String)
    hours, minutes, seconds = (cast(func.substr(text, place, 2), Integer) for place in (12, 15, 18))
    return hours * 3600 + minutes * 60 + seconds


def _offset(zone: str, dialect: str) -> ColumnElement[int]:
    return literal_column(_offset_sql(zone, dialect), Integer)


@lru_cache(maxsize=64)
def _offset_sql(zone: str, dialect: str) -> str:
    """Seconds that a zone is ahead of UTC at `captured_at`: nested halves, so that a row needs few comparisons."""
    periods = offset_periods(zone)
    form = "'{:%Y-%m-%d %H:%M:%S}.000000'" if dialect == "sqlite" else "TIMESTAMPTZ '{:%Y-%m-%d %H:%M:%S}+00'"

    def tree(first: int, last: int) -> str:
        if first == last:
            return str(periods[first][1])
        middle = (first + last + 1) // 2
        since = form.format(periods[middle][0])
        return f"CASE WHEN images.captured_at < {since} THEN {tree(first, middle - 1)} ELSE {tree(middle, last)} END"

    return f"({tree(0, len(periods) - 1)})"


def _attribute(attributes: Json, wanted: AttributeFilter, dialect: str) -> Condition:
    key = literal(wanted.field, String)
    found: _OnSqlite | _OnPostgres = (_OnSqlite if dialect == "sqlite" else _OnPostgres)(attributes, key)
    value = wanted.value
    if wanted.op == "exists":
        return found.present() if value else ~found.present()
    if isinstance(value, Bounds):
        bounds = value.given
        return found.holds(kind(next(iter(bounds.values()))), [found.compares(name, v) for name, v in bounds.items()])
    if isinstance(value, list):
        return found.holds(kind(value[0]), [or_(*(found.compares("eq", one) for one in value))])
    return found.holds(kind(value), [found.compares(wanted.op, value)])


_OPERATORS = {"eq": "__eq__", "gte": "__ge__", "gt": "__gt__", "lte": "__le__", "lt": "__lt__"}


def _apply(name: str, left: ColumnElement[Any], right: Any) -> Condition:  # noqa: ANN401  a value or an element
    found: Condition = getattr(left, _OPERATORS[name])(right)
    return found


class _OnSqlite:
    """The value under one key, as a row of `json_each`."""

    def __init__(self, attributes: Json, key: ColumnElement[str]) -> None:
        self._attributes, self._key = attributes, key
        self._each = func.json_each(attributes).table_valued("key", "value", "type")

    def _row(self, *where: Condition) -> Condition:
        return exists().select_from(self._each).where(self._each.c.key == self._key, *where)

    def present(self) -> Condition:
        return self._row(self._each.c.type != "null")

    def holds(self, of_kind: str, compared: list[Condition]) -> Condition:
        types = {"string": ("text",), "boolean": ("true", "false"), "number": ("integer", "real")}[of_kind]
        return self._row(self._each.c.type.in_(types), *compared)

    def compares(self, name: str, value: Scalar) -> Condition:
        if isinstance(value, bool):
            return self._each.c.type == ("true" if value else "false")
        if not isinstance(value, str):
            return self._compares_number(name, value)
        if name == "prefix":
            return func.substr(self._each.c.value, 1, len(value)) == literal(value, String)
        return _apply(name, self._each.c.value, literal(value, String))

    def _compares_number(self, name: str, value: float) -> Condition:
        near = float(value)
        doubt = abs(near) * _DOUBT
        low, high = literal(near - doubt, Float), literal(near + doubt, Float)
        sign = getattr(func, COMPARE_NUMBER)(self._attributes, self._key, str(_decimal(value)), type_=Integer)
        number = self._each.c.value
        if name == "eq":
            return and_(number >= low, number <= high, sign == 0)
        return _apply(name, case((number > high, 1), (number < low, -1), else_=sign), 0)


class _OnPostgres:
    """The value under one key, by the functions for `json`."""

    def __init__(self, attributes: Json, key: ColumnElement[str]) -> None:
        self._type = func.json_typeof(func.json_extract_path(attributes, key))
        self._text = func.json_extract_path_text(attributes, key, type_=String)

    def present(self) -> Condition:
        return func.coalesce(self._type != "null", false())

    def holds(self, of_kind: str, compared: list[Condition]) -> Condition:
        if of_kind != "number":
            return and_(*compared, self._type == of_kind)  # in this order, for most values are other ones
        # CASE alone promises that what is no number is never read as one.
        return case((self._type == of_kind, and_(*compared)), else_=false())

    def compares(self, name: str, value: Scalar) -> Condition:
        if isinstance(value, bool):
            return self._text == ("true" if value else "false")
        if not isinstance(value, str):
            return _apply(name, cast(self._text, Numeric), cast(bindparam(None, str(_decimal(value)), String), Numeric))
        if name == "prefix":
            return func.starts_with(self._text, literal(value, String))
        return _apply(name, collate(self._text, "C"), literal(value, String))


def _decimal(value: float) -> Decimal:
    """The number as it was written: 0.1 is one tenth."""
    return Decimal(value) if isinstance(value, int) else Decimal(repr(value))
