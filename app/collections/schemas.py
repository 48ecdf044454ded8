"""What the API says about collections."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class CollectionOut(BaseModel):
    """A set of images that can be searched on its own."""

    id: int
    name: str
    images: int = Field(description="How many images it holds.")
    created_at: datetime


class CollectionList(BaseModel):
    """Every collection, oldest first."""

    collections: list[CollectionOut]


class NewCollection(BaseModel):
    """A collection to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["station-north"])
