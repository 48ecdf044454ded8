"""What the API says about queries and feedback."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.database.tables import NAME_CHARS, NOTE_CHARS, PURPOSE_CHARS, Feedback
from app.search.schemas import IMAGES, LIMIT
from app.values import check_text

Verdict = Literal["confirm", "reject"]
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
MOST_VERDICTS = 500


class QueryVersion(BaseModel):
    """The model version that answered first. `name` is null when it was deleted."""

    id: int
    name: str | None


class QueryOut(BaseModel):
    """A search that was answered.

    `definition` is the request's body; an uploaded picture is {"sha256"}, for pictures are not kept. `words`: the same
    for people. `outdated`: it has an uploaded picture whose vector belongs to a version that does not answer any more,
    or was erased, so that it cannot be asked again without the picture.
    """

    id: str
    kind: Literal["text", "image", "composed"]
    created_at: datetime
    definition: dict[str, Any]
    words: str
    purpose: str | None
    model_version: QueryVersion
    name: str | None
    saved_at: datetime | None
    feedback: int = Field(description="Number of verdicts.")
    outdated: bool


class QueryPage(BaseModel):
    """Queries, newest first; `next_cursor` asks for the page after it."""

    queries: list[QueryOut]
    next_cursor: str | None


class QueryPatch(BaseModel):
    """What may be changed of a query; a field that is absent stays as it is.

    With a name it is a saved search and is kept until it is deleted; null takes the name away.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    purpose: str | None = None

    @field_validator("name")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and (value := check_text(value, "name", NAME_CHARS)) is None:
            raise ValueError("a name needs a character that can be seen; use null to take it away")
        return value

    @field_validator("purpose")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        return None if value is None else check_text(value, "purpose", PURPOSE_CHARS)


class SearchAgain(BaseModel):
    """A query once more, for the purpose that it has. What is absent is as it was asked first."""

    model_config = ConfigDict(extra="forbid")

    limit: int | None = Field(default=None, ge=1, le=LIMIT)
    images_per_identity: int | None = Field(default=None, ge=1, le=IMAGES)
    cursor: str | None = Field(default=None, max_length=100_000, description="`next_cursor` of the page before.")
    use_feedback: bool = Field(
        default=False, description="Learn from the verdicts, and leave out identities and images that were rejected."
    )


class FeedbackIn(BaseModel):
    """A verdict on a candidate, or on one of its images. A later one on the same replaces it."""

    model_config = ConfigDict(extra="forbid")

    identity_id: Number | None = None
    image_id: Number | None = None
    verdict: Verdict
    note: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.identity_id is None) == (self.image_id is None):
            raise ValueError("give either identity_id or image_id")
        return self

    @field_validator("note")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        return None if value is None else check_text(value, "note", NOTE_CHARS)


class FeedbackOut(BaseModel):
    """A verdict. `identity_id` follows merges and splits; `image_id` is null where the person as a whole was judged.
    `counts` is false where a later verdict on the same candidate holds: people who were judged apart were merged since.
    """

    id: int
    identity_id: int
    image_id: int | None
    verdict: Verdict
    note: str | None
    at: datetime
    counts: bool

    @classmethod
    def of(cls, row: Feedback, *, counts: bool) -> "FeedbackOut":
        """Describe a row."""
        fields = ("id", "identity_id", "image_id", "verdict", "note", "at")
        return cls.model_validate({name: getattr(row, name) for name in fields} | {"counts": counts})


class FeedbackList(BaseModel):
    """What was said about the candidates of a query, oldest first."""

    feedback: list[FeedbackOut]


Verdicts = Annotated[list[FeedbackIn], Field(min_length=1, max_length=MOST_VERDICTS)]
