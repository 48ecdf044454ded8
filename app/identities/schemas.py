"""What the API says about identities and their images."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.database.tables import DESCRIPTION_CHARS, EXTERNAL_ID_CHARS, Identity, IdentityEvent, Image
from app.values import check_attributes, check_text


class ImageOut(BaseModel):
    """An image of the gallery. Sizes are pixels, upright; addresses are relative to the server."""

    id: int
    identity_id: int
    collection: str
    width: int
    height: int
    camera: str | None
    captured_at: datetime | None
    track: str | None
    description: str | None
    attributes: dict[str, Any]
    source_name: str | None
    """The file's name, relative to the folder that was ingested."""
    near_duplicate_of: int | None
    """An earlier image that looks the same, such as a resized copy; null when there is none (any more)."""
    created_at: datetime
    url: str
    thumbnail_url: str

    @classmethod
    def of(cls, row: Image) -> "ImageOut":
        """Describe a row."""
        return cls.model_validate(image_fields(row))


class ImagePatch(BaseModel):
    """What may be changed of an image. Fields that are left out stay; null takes the description away."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = Field(description="A text that describes what the picture shows; retraining learns it.")

    @field_validator("description")
    @classmethod
    def _storable(cls, value: str | None) -> str | None:
        return None if value is None else check_text(value, "description", DESCRIPTION_CHARS)


def image_fields(row: Image) -> dict[str, Any]:
    """The fields of `ImageOut`, also for schemas that add to them."""
    return {
        "id": row.id,
        "identity_id": row.identity_id,
        "collection": row.collection.name,
        "width": row.width,
        "height": row.height,
        "camera": row.camera,
        "captured_at": row.captured_at,
        "track": row.track,
        "description": row.description,
        "attributes": row.attributes,
        "source_name": row.source_name,
        "near_duplicate_of": row.near_duplicate_of,
        "created_at": row.created_at,
        **image_addresses(row.id),
    }


def image_addresses(image_id: int) -> dict[str, str]:
    """Where an image is fetched."""
    return {"url": f"/v1/images/{image_id}/file", "thumbnail_url": f"/v1/images/{image_id}/thumbnail"}


class IdentityOut(BaseModel):
    """A person. `provisional`: made for pictures whose person nobody has named; association may have joined some."""

    id: int
    external_id: str | None
    attributes: dict[str, Any]
    provisional: bool
    created_at: datetime

    @classmethod
    def of(cls, row: Identity) -> "IdentityOut":
        """Describe a row."""
        return cls.model_validate(row, from_attributes=True)


class IdentityDetail(IdentityOut):
    """A person with every image, oldest first."""

    images: list[ImageOut]


class IdentityPatch(BaseModel):
    """What may be changed of an identity; a field that is absent stays as it is."""

    model_config = ConfigDict(extra="forbid")

    external_id: str | None = Field(default=None, max_length=EXTERNAL_ID_CHARS)
    """The name of the person elsewhere; null takes it away."""
    attributes: dict[str, Any] = Field(default_factory=dict)
    """Replaces all attributes."""

    @field_validator("external_id")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if (text := check_text(value, "external_id", EXTERNAL_ID_CHARS)) is None:
            raise ValueError("an external id needs a character that can be seen; use null to take it away")
        return text

    @field_validator("attributes")
    @classmethod
    def _storable(cls, value: dict[str, Any]) -> dict[str, Any]:
        return check_attributes(value)


Number = Annotated[int, Field(ge=1, le=2**63 - 1)]
Event = Literal["merge", "association", "split", "restore"]


class MergeRequest(BaseModel):
    """Identities that are the same person as the one in the path, into which they are merged.

    The one in the path keeps its number, and its name and attributes win. If only one of all has a name, the result
    has it. Attributes that are lacking come from the others, in their order. The result is provisional only if all
    were. The numbers of the others answer 404 with `identity_merged` from then on, naming where they went.
    """

    model_config = ConfigDict(extra="forbid")

    identities: list[Number] = Field(min_length=1, max_length=1000)
    drop_names: bool = False
    """Several have different names: keep the first of them instead of refusing. A later ingest that uses one of the
    other names makes a new person."""


class SplitRequest(BaseModel):
    """What leaves the identity: images, which become a new provisional identity without name and attributes; or what
    a merge brought, by its event in the history, which becomes what it was, under its old number and with its name,
    unless somebody else has that now."""

    model_config = ConfigDict(extra="forbid")

    image_ids: list[Number] | None = Field(default=None, min_length=1, max_length=10_000)
    undo: Number | None = None
    """Id of an event `merge` or `association` of the history. Images that left since stay where they are."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.image_ids is None) == (self.undo is None):
            raise ValueError("give either image_ids or undo")
        return self


class EventOut(BaseModel):
    """Images that went from one identity to another; with `merge` and `association` all of them, and `from_id` ceased.

    `actor`: who asked; null, for there are no keys yet. `run_id`: the association run that did it, or whose undoing.
    Images and identities are named by number and may be deleted since.
    """

    id: int
    at: datetime
    actor: str | None
    event: Event
    from_id: int
    to_id: int
    image_ids: list[int]
    run_id: int | None
    undone_at: datetime | None

    @classmethod
    def of(cls, row: IdentityEvent) -> "EventOut":
        """Describe a row."""
        return cls.model_validate(row, from_attributes=True)


class HistoryList(BaseModel):
    """A page of events, oldest first; `next_after` asks for the one after it."""

    events: list[EventOut]
    next_after: int | None


class MergeAnswer(BaseModel):
    """The identity as it is now, and the event for each one that was merged into it; `undo` of a split takes those."""

    identity: IdentityDetail
    events: list[int]


class SplitAnswer(BaseModel):
    """What stayed (null if that was nothing any more) and what left. `left_alone`: images of the merge that were moved
    or deleted since."""

    identity: IdentityDetail | None
    separated: IdentityDetail
    left_alone: int
    name_taken: bool
    """The separated identity had a name that another one has now."""


class Undated(BaseModel):
    """Images of a person by one camera of which nobody knows when they were taken."""

    collection: str
    camera: str | None
    image_ids: list[int]
    best: ImageOut
    """The one with the most pixels; of equal ones the first."""


class Sighting(Undated):
    """Images of a person by one camera, none of which is further than the gap from the next; in order of time."""

    first_at: datetime
    last_at: datetime


class Timeline(BaseModel):
    """Where and when a person was seen: sightings by their first image, earliest first.

    Sightings by different cameras may overlap. Images without a time are told on the first page, by camera.
    """

    identity: IdentityOut
    gap_s: float
    images: int
    """With a time, on all pages."""
    first_at: datetime | None
    last_at: datetime | None
    sightings: list[Sighting]
    undated: list[Undated]
    next_cursor: str | None = Field(description="Asks for the next page; null: there is none.")
