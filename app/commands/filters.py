"""The filters of a search as options of a verb."""

import json
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.search.filters import Filters

Cameras = Annotated[
    list[str] | None, typer.Option("--camera", help="Taken by this camera; repeatable: any of them.", metavar="NAME")
]
Since = Annotated[
    str | None, typer.Option("--from", help="Taken at or after, e.g. 2026-05-04T09:00+02:00.", show_default=False)
]
Until = Annotated[str | None, typer.Option("--to", help="Taken before.", show_default=False)]
Hours = Annotated[
    str | None,
    typer.Option(
        "--time-of-day", help="Taken at this time of any day: '22:00-06:00 Europe/Berlin'.", show_default=False
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Attribute of the person: hair=brown, age>=30, ticket^=A-, hair=brown|black, hair (is there), "
        "!hair (is not). Numbers, true and false are those; '\"1\"' is text. Repeatable: all must hold.",
    ),
]
ImageWhere = Annotated[
    list[str] | None, typer.Option("--image-where", metavar="CONDITION", help="The same, of the image.")
]
Provisional = Annotated[
    bool | None, typer.Option("--provisional/--confirmed", help="Only people nobody has named, or only others.")
]
OfIdentities = Annotated[list[int] | None, typer.Option("--identity", help="Only this identity; repeatable.")]
NotIdentities = Annotated[list[int] | None, typer.Option("--not-identity", help="Not this identity; repeatable.")]

_CONDITION = re.compile(r"(?P<field>.+?)(?P<op>\^=|>=|<=|=|>|<)(?P<value>.*)", re.DOTALL)
_BOUNDS = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt"}


def read_filters(
    *,
    cameras: list[str] | None,
    since: str | None,
    until: str | None,
    hours: str | None,
    where: list[str] | None,
    image_where: list[str] | None,
    provisional: bool | None,
    identities: list[int] | None,
    not_identities: list[int] | None,
) -> "Filters | None":
    """The filters that options name; None without any.

    Raises:
        FilterError: one of them cannot be used.
    """
    from app.search.filters import Filters

    given: dict[str, Any] = {
        "cameras": cameras,
        "captured_at": {name: value for name, value in (("from", since), ("to", until)) if value is not None},
        "time_of_day": None if hours is None else _hours(hours),
        "identity_attributes": [condition(text) for text in where or ()],
        "image_attributes": [condition(text) for text in image_where or ()],
        "provisional": provisional,
        "identities": identities,
        "without_identities": not_identities,
    }
    chosen = {name: value for name, value in given.items() if value or value is False}
    return Filters.model_validate(chosen) if chosen else None


def _hours(text: str) -> dict[str, str]:
    if (found := re.fullmatch(r"(\S+?)\s*-\s*(\S+)\s+(\S+)", text.strip())) is None:
        raise typer.BadParameter("write --time-of-day as '22:00-06:00 Europe/Berlin'")
    return {"from": found[1], "to": found[2], "timezone": found[3]}


def condition(text: str) -> dict[str, Any]:
    """One condition on an attribute, as it goes over the wire."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        return {"field": text.removeprefix("!"), "op": "exists", "value": not text.startswith("!")}
    field, op, value = found["field"], found["op"], found["value"]
    if op == "^=":
        return {"field": field, "op": "prefix", "value": value}
    if op in _BOUNDS:
        return {"field": field, "op": "range", "value": {_BOUNDS[op]: _value(value)}}
    if "|" in value:
        return {"field": field, "op": "in", "value": [_value(one) for one in value.split("|")]}
    return {"field": field, "op": "eq", "value": _value(value)}


def _value(text: str) -> bool | int | float | str:
    """A number, true, false or a string in quotes as JSON has them; anything else is a string as it stands."""
    try:
        found = json.loads(text, parse_constant=_no_json)
    except ValueError:
        return text
    return found if isinstance(found, bool | int | float | str) else text


def _no_json(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
