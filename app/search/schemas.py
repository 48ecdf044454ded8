"""Queries and answers of a search."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.identities.schemas import IdentityOut, ImageOut
from app.search.filters import Filters

LIMIT, IMAGES, PURPOSE_CHARS = 100, 20, 200
GroupBy = Literal["identity", "image"]


class SearchOptions(BaseModel):
    """Where to search, and what of the answer to give."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=10, ge=1, le=LIMIT, description="Most candidates in the answer.")
    images_per_identity: int = Field(default=4, ge=1, le=IMAGES, description="Most images of one candidate.")
    collection: str | None = Field(default=None, description="Search this collection only, by its name.")
    filters: Filters | None = Field(default=None, description="Rank only images that meet these conditions.")
    group_by: GroupBy = Field(
        default="identity", description="One candidate for each person, or one for each image of a person."
    )
    cursor: str | None = Field(
        default=None,
        description="`next_cursor` of the page before, with everything else as it was. Images that came after the "
        "first page are not in later ones.",
    )
    purpose: str | None = Field(default=None, max_length=PURPOSE_CHARS, description="What the search is for; a case.")


class TextQuery(SearchOptions):
    """A description of a person, in words."""

    query: str = Field(examples=["a woman in a red coat with a black backpack"])


class Warned(BaseModel):
    """Something about the query that the asker should know."""

    code: str = Field(examples=["unknown_words"])
    message: str


class ModelRef(BaseModel):
    """The model version that gave the answer."""

    id: int
    name: str


class ScoredImage(ImageOut):
    """An image with its score."""

    score: float = Field(description="Cosine between query and image, -1 to 1. Comparable within one answer only.")


class Candidate(BaseModel):
    """A candidate, not an identification: an identity with its best images, best first, or with one (`group_by`)."""

    identity: IdentityOut
    score: float = Field(description="Score of its best image.")
    confidence: float | None = Field(
        description="Probability, 0 to 1, that this is the person, in a gallery like the one that the version was "
        "calibrated on. Null where `calibrated` is false."
    )
    images: list[ScoredImage]


class Took(BaseModel):
    """Where the time went, in milliseconds."""

    encode: float
    search: float
    fetch: float
    total: float


class SearchAnswer(BaseModel):
    """Candidates by score, best first; equal scores by image id."""

    query_id: str
    model_version: ModelRef
    group_by: GroupBy
    candidates: list[Candidate]
    calibrated: bool = Field(
        description="Whether the model version knows what its scores mean. Else `confidence` and `weak_below` are null."
    )
    weak_below: float | None = Field(
        description="Candidates with a lower score are rather not the person. Null without calibration, or where no "
        "score is high enough to say so."
    )
    next_cursor: str | None = Field(description="Asks for the next page; null: there is none.")
    warnings: list[Warned]
    took_ms: Took
