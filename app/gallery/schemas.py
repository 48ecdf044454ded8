"""What the API says about the gallery."""

from pydantic import BaseModel

from app.search.schemas import ModelRef


class GallerySummary(BaseModel):
    """How much there is to search, and what searches it."""

    identities: int
    images: int
    model_version: ModelRef | None
