"""What the API says about the gallery."""

from datetime import datetime

from pydantic import BaseModel, Field

from app.search.schemas import ModelRef


class GallerySummary(BaseModel):
    """How much there is to search, and what searches it."""

    identities: int
    images: int
    model_version: ModelRef | None
    heads_blurred: bool = Field(description="Whether heads are blurred in all pictures that are shown.")


class CameraFacet(BaseModel):
    """A camera with the number of its images."""

    name: str
    images: int


class ValueFacet(BaseModel):
    """A value of an attribute, and how often the images that were looked at have it."""

    value: bool | int | float | str
    count: int


class AttributeFacet(BaseModel):
    """An attribute with its most frequent values. `more`: it has others too."""

    field: str
    values: list[ValueFacet]
    more: bool


class Facets(BaseModel):
    """What the gallery, or a collection, can be filtered by; the most frequent first.

    Cameras and times are those of all images. Attributes are proposals: those of the newest images and their people.
    """

    cameras: list[CameraFacet]
    first_at: datetime | None
    last_at: datetime | None
    image_attributes: list[AttributeFacet]
    identity_attributes: list[AttributeFacet]
    sampled: int = Field(description="How many images were looked at for attributes.")
