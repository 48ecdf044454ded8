"""Odd galleries, random filters, and what a filter means in plain Python: written apart from the product's own code."""

import json
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

Json = dict[str, Any]

KEYS = ["hair", "a.b", 'quo"te', "back\\slash", "'", "ключ", "😀", "$", "$.hair", "[0]", "1", "%", "Hair", " "]
STRINGS = ["", "brown", "Brown", "brownish", "br%", "1", "true", "null", "é", "e\u0301", "😀", "\uffff", "z'z", 'q"']
NUMBERS: list[int | float] = [
    *(0, -0.0, 1, 1.0, -1, 2, 0.1, 0.1 + 0.2, 0.3, 1e-300, -1e-300, 1e22, 10**22, 1e23, 10**23, 2**53, 2**53 + 1),
    *(float(2**53), 2**63 - 1, 2**63, 2**63 + 1, float(2**63), -(2**63) - 1, 10**40, 10**40 + 1, 1e40, 123456789.123),
]
STORED: list[Any] = [*STRINGS, *NUMBERS, 10**400, -(10**400), True, False, None, [], [1], {}, {"hair": "brown"}]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]
CAMERAS = ["door", "Door", "platform 3", "ж"]
SPRING = [datetime(2026, 3, 29, 0, 59, 59, 999999, UTC), datetime(2026, 3, 29, 1, tzinfo=UTC)]
AUTUMN = [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)]

attributes = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(STORED), max_size=4)
instants = st.one_of(
    st.sampled_from(SPRING + AUTUMN),
    st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC)),
    st.integers(0, 2 * 365 * 48).map(lambda half: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=30 * half)),
)
times = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 1, 30, 59]))


@dataclass
class Person:
    """An identity, before it has an id."""

    attributes: Json
    provisional: bool
    id: int = 0


@dataclass
class Shot:
    """An image, before it has an id."""

    person: Person
    camera: str | None
    captured_at: datetime | None
    track: str | None
    attributes: Json
    vector: list[int]
    id: int = field(default=0)


people = st.builds(Person, attributes, st.booleans())


def shots(person: st.SearchStrategy[Person], dim: int) -> st.SearchStrategy[Shot]:
    """Vectors of few values, so that equal scores are common."""
    return st.builds(
        Shot,
        person,
        st.none() | st.sampled_from(CAMERAS),
        st.none() | instants,
        st.none() | st.sampled_from(["1", "2"]),
        attributes,
        st.lists(st.integers(-1, 1), min_size=dim, max_size=dim),
    )


@st.composite
def galleries(draw: st.DrawFn, *, most: int, dim: int = 4) -> list[Shot]:
    """Images of a handful of people."""
    some = draw(st.lists(people, min_size=1, max_size=8))
    return draw(st.lists(shots(st.sampled_from(some), dim), max_size=most))


@st.composite
def conditions(draw: st.DrawFn) -> Json:
    """One condition on an attribute."""
    key, op = draw(st.sampled_from(KEYS)), draw(st.sampled_from(["eq", "in", "range", "exists", "prefix"]))
    strings, numbers = st.sampled_from(STRINGS), st.sampled_from(NUMBERS)
    value: Any
    if op == "eq":
        value = draw(strings | numbers | st.booleans())
    elif op == "in":
        value = draw(st.one_of(*(st.lists(kind, min_size=1, max_size=4) for kind in (strings, numbers, st.booleans()))))
    elif op == "exists":
        value = draw(st.booleans())
    elif op == "prefix":
        value = draw(strings.filter(bool))
    else:
        value = _range(draw, draw(st.sampled_from([strings, numbers])))
    return {"field": key, "op": op, "value": value}


def _range(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> Json:
    low, high = sorted([draw(values), draw(values)])
    lower, upper = draw(st.sampled_from(["gte", "gt"])), draw(st.sampled_from(["lte", "lt"]))
    which = draw(st.sampled_from(["low", "high", "both"]))
    if which == "low":
        return {lower: low}
    if which == "high":
        return {upper: high}
    return {lower: low, upper: high} if low < high else {"gte": low, "lte": high}


def _hours(start: str, end: str, zone: str) -> Json:
    return {"from": start, "to": end, "timezone": zone}


def _span(one: datetime, other: datetime, which: str) -> Json:
    start, end = sorted([one, other])
    end = end if end > start else end + timedelta(microseconds=1)
    both = {"from": start.isoformat(), "to": end.astimezone(ZoneInfo("Asia/Kathmandu")).isoformat()}
    return both if which == "both" else {which: both[which]}


def filters(ids: Iterable[int]) -> st.SearchStrategy[Json]:
    """Filters as they go over the wire.

    Args:
        ids: of the identities that there are.
    """
    # In their order, which is that of the gallery: the same choices then mean the same people in every run.
    some_ids = st.lists(st.sampled_from([*sorted(set(ids)), 2**62]), min_size=1, max_size=4)
    hours = st.builds(_hours, times, times, st.sampled_from(ZONES)).filter(lambda given: given["from"] != given["to"])
    each: dict[str, st.SearchStrategy[Any]] = {
        "cameras": st.lists(st.sampled_from([*CAMERAS, "nowhere"]), min_size=1, max_size=3),
        "captured_at": st.builds(_span, instants, instants, st.sampled_from(["from", "to", "both"])),
        "time_of_day": hours,
        "identity_attributes": st.lists(conditions(), min_size=1, max_size=2),
        "image_attributes": st.lists(conditions(), min_size=1, max_size=2),
        "provisional": st.booleans(),
        "track": st.sampled_from(["1", "3"]),
        "identities": some_ids,
        "without_identities": some_ids,
    }
    chosen = st.lists(st.sampled_from(sorted(each)), min_size=1, max_size=2, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: each[name] for name in names}))


def passes(shot: Shot, wanted: Json) -> bool:
    """Whether an image may be found: the meaning of the filters, in plain Python."""
    at, person = shot.captured_at, shot.person
    meaning: dict[str, Callable[[Any], bool]] = {
        "cameras": lambda given: shot.camera in given,
        "track": lambda given: shot.track == given,
        "identities": lambda given: person.id in given,
        "without_identities": lambda given: person.id not in given,
        "provisional": lambda given: person.provisional is given,
        "captured_at": lambda given: at is not None and _within(at, given),
        "time_of_day": lambda given: at is not None and _by_the_clock(at, given),
        "image_attributes": lambda given: all(holds(shot.attributes, one) for one in given),
        "identity_attributes": lambda given: all(holds(person.attributes, one) for one in given),
    }
    return all(meaning[name](value) for name, value in wanted.items())


def _within(at: datetime, span: Json) -> bool:
    start, end = (datetime.fromisoformat(span[name]) if name in span else None for name in ("from", "to"))
    return (start is None or at >= start) and (end is None or at < end)


def _by_the_clock(at: datetime, hours: Json) -> bool:
    clock = at.astimezone(ZoneInfo(hours["timezone"])).strftime("%H:%M")
    start, end = hours["from"], hours["to"]
    return bool(start <= clock < end if start < end else clock >= start or clock < end)


def holds(stored: Json, condition: Json) -> bool:
    """Whether attributes meet a condition."""
    value, wanted = stored.get(condition["field"]), condition["value"]
    if condition["op"] == "exists":
        return (value is not None) is wanted
    if condition["op"] == "prefix":
        return isinstance(value, str) and value.startswith(wanted)
    if condition["op"] == "eq":
        return _comparable(value) == _comparable(wanted) and _comparable(value) is not None
    if condition["op"] == "in":
        return any(holds(stored, {**condition, "op": "eq", "value": one}) for one in wanted)
    have, bounds = _comparable(value), [(name, _comparable(one)) for name, one in wanted.items()]
    checks = {"gte": operator.ge, "gt": operator.gt, "lte": operator.le, "lt": operator.lt}
    return have is not None and all(one and one[0] == have[0] and checks[name](have[1], one[1]) for name, one in bounds)


def _comparable(value: Any) -> tuple[str, Any] | None:  # noqa: ANN401  JSON
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, str):
        return "string", value
    return ("number", Decimal(json.dumps(value))) if isinstance(value, int | float) else None
