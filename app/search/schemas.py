"""Queries and answers of a search."""

from pydantic import BaseModel, ConfigDict, Field

from app.identities.schemas import IdentityOut, ImageOut

LIMIT, IMAGES = 100, 20


class TextQuery(BaseModel):
    """A description of a person, in words."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(examples=["a woman in a red coat with a black backpack"])
    limit: int = Field(default=10, ge=1, le=LIMIT, description="Most candidates in the answer.")
    images_per_identity: int = Field(default=4, ge=1, le=IMAGES, description="Most images of one candidate.")
    collection: str | None = Field(default=None, description="Search this collection only, by its name.")


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
    """A candidate, not an identification: an identity with its best images, best first."""

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
    candidates: list[Candidate]
    calibrated: bool = Field(
        description="Whether the model version knows what its scores mean. Else `confidence` and `weak_below` are null."
    )
    weak_below: float | None = Field(
        description="Candidates with a lower score are rather not the person. Null without calibration, or where no "
        "score is high enough to say so."
    )
    next_cursor: str | None = Field(description="Null: the answer is one page.")
    warnings: list[Warned]
    took_ms: Took
