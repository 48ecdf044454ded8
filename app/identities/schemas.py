"""What the API says about identities and their images."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.database.tables import EXTERNAL_ID_CHARS, Identity, Image
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
        "description": row.description,
        "attributes": row.attributes,
        "source_name": row.source_name,
        "near_duplicate_of": row.near_duplicate_of,
        "created_at": row.created_at,
        "url": f"/v1/images/{row.id}/file",
        "thumbnail_url": f"/v1/images/{row.id}/thumbnail",
    }


class IdentityOut(BaseModel):
    """A person. `provisional`: made for one picture whose person nobody has named."""

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
