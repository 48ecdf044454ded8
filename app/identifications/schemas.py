"""What the API says about identifications."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from app.database.tables import NOTE_CHARS, PURPOSE_CHARS
from app.identifications.acts import Act, Lapse, State
from app.identities.schemas import IdentityOut
from app.values import check_text

NOTICE = "Candidates, not identifications."
"""Said of every answer, and of everybody whom two people have not confirmed."""
MOST_IMAGES = 500
Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
QueryName = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]


def _words(value: str, what: str, limit: int) -> str:
    if (text := check_text(value, what, limit)) is None:
        raise ValueError(f"`{what}` needs words")
    return text


class NewIdentification(BaseModel):
    """That a candidate is the person whom a query looked for. It counts for nothing until a second person confirms."""

    model_config = ConfigDict(extra="forbid")

    query_id: QueryName = Field(description="The search that found the person.")
    identity_id: Number
    image_ids: list[Number] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_IMAGES,
        description="Images of the person that it rests on; null: all that the key sees.",
    )
    purpose: str = Field(description="What it is for, such as the number of a case.", examples=["case 2026-117"])
    note: str = Field(description="By what the person is recognised.", examples=["scar on the left hand, red coat"])

    @field_validator("purpose")
    @classmethod
    def _stated(cls, value: str) -> str:
        return _words(value, "purpose", PURPOSE_CHARS)

    @field_validator("note")
    @classmethod
    def _told(cls, value: str) -> str:
        return _words(value, "note", NOTE_CHARS)


class Confirmation(BaseModel):
    """A second person agrees."""

    model_config = ConfigDict(extra="forbid")

    note: str | None = None

    @field_validator("note")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        return None if value is None else check_text(value, "note", NOTE_CHARS)


class Refusal(BaseModel):
    """A second person does not agree, or one of the two no longer does."""

    model_config = ConfigDict(extra="forbid")

    reason: str

    @field_validator("reason")
    @classmethod
    def _told(cls, value: str) -> str:
        return _words(value, "reason", NOTE_CHARS)


class Said(BaseModel):
    """Who said something, when, and in which words."""

    key_id: int
    name: str = Field(description="Of the key. Keys of one name are told apart by their ids.")
    at: datetime
    note: str | None


class IdentifiedQuery(BaseModel):
    """The search that looked for the person, as far as whoever decides needs to know it."""

    id: str
    words: str
    purpose: str | None
    created_at: datetime


class IdentificationOut(BaseModel):
    """An identification. It follows its images: `identity` is who has them now, after merges and splits."""

    id: int
    state: State
    notice: str = Field(description="What must be said with it: it is none until two people have confirmed it.")
    query_id: str
    query: IdentifiedQuery | None = Field(description="Null when it was deleted.")
    identity_id: int
    identity: IdentityOut | None = Field(description="Null when there is nobody of this number any more.")
    proposed_identity_id: int = Field(description="The number that the person had when it was proposed.")
    image_ids: list[int] = Field(description="Images that it rests on, less those that were deleted.")
    images_of_identity: int = Field(description="How many images the person has now.")
    purpose: str
    proposed: Said
    expires_at: datetime = Field(description="Until when a proposal can be confirmed.")
    decided: Said | None = Field(description="The second person, who confirmed or refused.")
    withdrawn: Said | None
    lapsed_at: datetime | None
    lapsed_because: Lapse | None = Field(
        description="expired: nobody confirmed it in time. query_deleted, key_revoked: of the search, or of whoever "
        "proposed it. images_apart: its images were given to different people."
    )
    may: list[Act] = Field(description="What the key of this request may do with it now.")


class IdentificationPage(BaseModel):
    """Identifications, newest first; `next_before` asks for those before them."""

    identifications: list[IdentificationOut]
    next_before: int | None
