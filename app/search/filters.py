"""What may be found: the filters of a search, as they go over the wire.

Every filter that is given must hold, of the image itself or of its identity. They are checked here; `conditions` turns
them into SQL with the same meaning on every database:

* An attribute is a top-level key. Dots, quotes and spaces are part of its name.
* A value has a type: the string "1", the number 1 and true are three different values. Numbers are compared as the
  decimal numbers that they are written as, exactly: 1 equals 1.0, and 2**53 + 1 does not equal 2**53. Strings are
  compared character by character, by code point; case counts.
* A key that is missing or null matches nothing but `exists: false`. Lists and objects match `exists: true` alone.
* An image without `captured_at` matches no filter of time. Spans are half-open: from <= instant < to.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.database.tables import CAMERA_CHARS, TRACK_CHARS
from app.errors import FilterError
from app.search.clock import TimeOfDay
from app.values import check_text

FIELD_CHARS, VALUE_CHARS = 200, 1000
MOST_CAMERAS, MOST_VALUES, MOST_IDENTITIES, MOST_ATTRIBUTES = 200, 100, 1000, 20
_LARGEST = 10**300
_CONFIG = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)
_HINTS = {
    "too_short": "the list is empty; leave the filter out to accept everything",
    "string_too_short": "the text is empty; leave the filter out to accept everything",
    "extra_forbidden": "there is no such filter; the documentation at /docs lists those that exist",
    "json_invalid": 'the filters are no JSON; give an object such as {"cameras": ["door"]}',
}
_VALUES = "a value is a string, a number, true or false; `in` takes a list of them, `range` its bounds"
T = TypeVar("T")


def wrong(code: str, message: str) -> PydanticCustomError:
    """A refusal that says what to do; `Filters` turns it into a `FilterError` with the place in front."""
    return PydanticCustomError(code, "{message}", {"message": message})


def _storable(text: str) -> str:
    try:
        check_text(text, "value", len(text))
    except ValueError as error:
        raise wrong("text", f"{error}; no stored value is like that") from None
    return text


def _name(text: str) -> str:
    if not (text := text.strip()):
        raise wrong("empty", "the text is empty; leave it out")
    return _storable(text)


def _instant(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        raise wrong("instant", "this is no instant; write it like 2026-05-04T09:12:00+02:00")
    if value.tzinfo is None:
        raise wrong("instant_naive", "the time names no zone; add Z or an offset such as +02:00")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise wrong("instant", "the instant lies outside the years 1 to 9999 in UTC") from None


def _sized(value: float) -> float:
    if not -_LARGEST < value < _LARGEST:  # so is NaN
        raise wrong("number", "numbers must be finite and below 1e300")
    return value


def _distinct(values: Sequence[T]) -> list[T]:
    return list(dict.fromkeys(values))


Name = Annotated[StrictStr, Field(min_length=1, max_length=CAMERA_CHARS), AfterValidator(_name)]
Text = Annotated[StrictStr, Field(max_length=VALUE_CHARS), AfterValidator(_storable)]
Number = Annotated[StrictInt | Annotated[float, Field(strict=True)], AfterValidator(_sized)]
Value = StrictBool | Number | Text
Instant = Annotated[datetime, BeforeValidator(_instant)]
IdentityIds = Annotated[
    list[Annotated[StrictInt, Field(ge=1, le=2**63 - 1)]],
    Field(min_length=1, max_length=MOST_IDENTITIES),
    AfterValidator(_distinct),
]


def kind(value: bool | float | str) -> Literal["boolean", "number", "string"]:
    """The JSON type of a value."""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


class Bounds(BaseModel):
    """A range of numbers, or of strings by code point: with a lower bound, an upper one, or both."""

    model_config = _CONFIG

    gte: Number | Text | None = None
    gt: Number | Text | None = None
    lte: Number | Text | None = None
    lt: Number | Text | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        given = self.given
        if not given:
            raise wrong("range", "the range has no bound; give gte, gt, lte or lt")
        if {"gte", "gt"} <= given.keys() or {"lte", "lt"} <= given.keys():
            raise wrong("range", "give one lower and one upper bound: gte or gt, lte or lt")
        if len({kind(value) for value in given.values()}) > 1:
            raise wrong("mixed_types", "both bounds must be numbers, or both strings")
        low, high = (next((given[name] for name in pair if name in given), None) for pair in (("gte", "gt"), _UPPER))
        if low is not None and high is not None:
            closed = "gte" in given and "lte" in given
            if low > high or (low == high and not closed):  # type: ignore[operator]  # both are of one type
                raise wrong("range", "nothing lies in the range: the lower bound must be below the upper one")
        return self

    @property
    def given(self) -> dict[str, int | float | str]:
        """The bounds that were given, by name."""
        return {name: value for name in ("gte", "gt", *_UPPER) if (value := getattr(self, name)) is not None}


_UPPER = ("lte", "lt")


class AttributeFilter(BaseModel):
    """One condition on an attribute. `value` by `op`: eq a string, number or boolean; in a list of them, of one type;
    range {"gte" or "gt": ..., "lte" or "lt": ...}; exists true or false; prefix the beginning of a string."""

    model_config = _CONFIG

    field: Annotated[StrictStr, Field(min_length=1, max_length=FIELD_CHARS), AfterValidator(_storable)] = Field(
        examples=["hair_colour"]
    )
    op: Literal["eq", "in", "range", "exists", "prefix"]
    value: Value | Annotated[list[Value], Field(min_length=1, max_length=MOST_VALUES)] | Bounds = Field(
        examples=["brown"], union_mode="smart"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        value = self.value
        needed = {
            "eq": (not isinstance(value, list | Bounds), "a string, a number, true or false"),
            "in": (isinstance(value, list), "a list of values"),
            "range": (isinstance(value, Bounds), 'bounds such as {"gte": 20, "lt": 30}'),
            "exists": (isinstance(value, bool), "true or false"),
            "prefix": (isinstance(value, str) and value != "", "the beginning of a string, at least one character"),
        }
        fits, what = needed[self.op]
        if not fits:
            raise wrong("value", f"`{self.op}` needs as its value {what}")
        if isinstance(value, list) and len({kind(one) for one in value}) > 1:
            raise wrong(
                "mixed_types", "the values of `in` must be of one type: all strings, all numbers or all booleans"
            )
        return self


class Span(BaseModel):
    """A span of time: from <= instant < to, one of both or both. Instants name their zone."""

    model_config = _CONFIG

    start: Instant | None = Field(default=None, alias="from", examples=["2026-05-04T09:00:00+02:00"])
    end: Instant | None = Field(default=None, alias="to", examples=["2026-05-04T12:00:00+02:00"])

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start is None and self.end is None:
            raise wrong("span", "the span has no end; give from, to, or both")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise wrong("span", "`from` must lie before `to`; the span does not include `to` itself")
        return self


Attributes = Annotated[list[AttributeFilter], Field(min_length=1, max_length=MOST_ATTRIBUTES)]


class Filters(BaseModel):
    """What may be found; each filter that is given must hold. One that is left out, or null, accepts everything.

    Raises:
        FilterError: instead of pydantic's `ValidationError`, so that every fault of a filter has its own code.
    """

    model_config = _CONFIG

    cameras: Annotated[list[Name], Field(min_length=1, max_length=MOST_CAMERAS), AfterValidator(_distinct)] | None = (
        Field(default=None, description="Taken by any of these cameras.", examples=[["door", "platform 3"]])
    )
    track: Annotated[Name, Field(max_length=TRACK_CHARS)] | None = Field(
        default=None, description="Number that a tracker gave; unique within a camera, so that `cameras` belongs to it."
    )
    captured_at: Span | None = Field(default=None, description="When it was taken.")
    time_of_day: TimeOfDay | None = Field(default=None, description="At what local time of any day it was taken.")
    image_attributes: Attributes | None = Field(default=None, description="Attributes of the image; all must hold.")
    identity_attributes: Attributes | None = Field(default=None, description="Those of the person; all must hold.")
    provisional: StrictBool | None = Field(
        default=None, description="True: only people whom nobody has named; false: only confirmed ones."
    )
    identities: IdentityIds | None = Field(default=None, description="Only these identities.")
    without_identities: IdentityIds | None = Field(default=None, description="Not these identities.")

    @model_validator(mode="wrap")
    @classmethod
    def _typed(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # noqa: ANN401  pydantic's input
        try:
            return handler(value)
        except ValidationError as error:
            raise _refusal(error) from None

    @classmethod
    def read(cls, text: str) -> Self:
        """Filters from JSON text.

        Raises:
            FilterError: it is no JSON, or holds a fault.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _refusal(error) from None

    @property
    def conditions(self) -> list[AttributeFilter]:
        """Every condition on an attribute, of images and identities."""
        return [*(self.image_attributes or ()), *(self.identity_attributes or ())]

    def __bool__(self) -> bool:
        return any(getattr(self, name) is not None for name in type(self).model_fields)


def _refusal(error: ValidationError) -> FilterError:
    """The first fault, with its place. Never the input itself: it may say something of a person."""
    faults = error.errors(include_input=False, include_url=False)
    # Of the branches of a union, the one whose type fits says what is wrong.
    first = next((fault for fault in faults if not fault["type"].endswith("_type")), faults[0])
    parts = [str(part) for part in first["loc"] if not _of_union(part)]
    union = len(parts) < len(first["loc"]) and first["type"].endswith("_type")
    hint = _VALUES if union else _HINTS.get(first["type"], first["msg"])
    return FilterError(f"{'.'.join(['filters', *parts])}: {hint}")


def _of_union(part: int | str) -> bool:
    """Whether a part of a place names a branch of a union, which says nothing to people."""
    return isinstance(part, str) and (part in {"bool", "int", "float", "str", "Bounds"} or "[" in part)
