"""Queries and answers of a search."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.identities.schemas import IdentityOut, ImageOut, Number
from app.search.filters import Filters

LIMIT, IMAGES, PURPOSE_CHARS = 100, 20, 200
PARTS, WEIGHT = 8, 1000
"""Most parts that are asked for, most that are denied, and the largest weight of one."""
CONTENTS = ("text", "picture", "image_id", "identity_id")
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


class ComposedPart(BaseModel):
    """One thing that is asked for or denied: exactly one of `text`, `picture`, `image_id`, `identity_id`."""

    model_config = ConfigDict(extra="forbid")

    text: str | None = Field(default=None, description="Words; denied ones name the thing itself: “red hat”.")
    picture: str | None = Field(default=None, description="Name of a file that comes with the request.")
    image_id: Number | None = Field(default=None, description="An image of the gallery.")
    identity_id: Number | None = Field(default=None, description="A person of the gallery: the mean of the images.")
    weight: float = Field(
        default=1.0,
        gt=0,
        le=WEIGHT,
        allow_inf_nan=False,
        description="How much it counts: among what is asked for, relative to the others; denied, in itself.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in CONTENTS if getattr(self, name) is not None]
        if len(given) != 1:
            told = " and ".join(given) or "none of them"
            raise ValueError(f"a part is exactly one of {', '.join(CONTENTS)}; this one has {told}")
        return self


class ComposedQuery(SearchOptions):
    """Several things at once: what is asked for together, and what the person must not be like."""

    parts: list[ComposedPart] = Field(
        min_length=1, max_length=PARTS, examples=[[{"text": "a man in a black coat"}, {"image_id": 17, "weight": 2}]]
    )
    negatives: list[ComposedPart] = Field(default=[], max_length=PARTS, examples=[[{"text": "red hat"}]])
    include_examples: bool = Field(
        default=False, description="Images and identities of the gallery that are parts may be in the answer."
    )


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

    score: float = Field(
        description="Cosine between query and image, -1 to 1; of a query of several parts, where the candidate has "
        "`parts`, the sum of their contributions. Comparable within one answer only."
    )


class PartScore(BaseModel):
    """How one part of a query contributed to a candidate's score, by the candidate's best image."""

    part: int = Field(
        description="Its place in `parts`, from 0, or in `negatives`; what descriptions deny comes after those."
    )
    negative: bool
    score: float = Field(
        description="Cosine between part and image; of denied words, how much nearer the image is to a person with "
        "the thing than to any person."
    )
    confidence: float | None = Field(
        description="Probability by this part alone that the image shows the person, for a denied picture the denied "
        "one. Null without calibration, and of denied words."
    )
    contribution: float = Field(
        description="What it adds to the score. Calibrated: log-odds, weighted, that of a denied part at most 0; the "
        "score's logistic is the confidence. Else cosines, weighted."
    )


class Candidate(BaseModel):
    """A candidate, not an identification: an identity with its best images, best first, or with one (`group_by`)."""

    identity: IdentityOut
    score: float = Field(description="Score of its best image.")
    confidence: float | None = Field(
        description="Probability, 0 to 1, that this is the person: that the person is there, times the share of the "
        "candidate among the first ten people of the answer. It holds for images like those that the version was "
        "calibrated on, where one in two of the people asked for is there. Null where `calibrated` is false."
    )
    images: list[ScoredImage]
    parts: list[PartScore] | None = Field(
        default=None, description="How each part of the query contributed; null for a query of one part."
    )


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
    no_good_match: bool | None = Field(
        description="Whether the person is probably not in what was searched. Null without calibration; false also "
        "where a description is too short to tell. Of the people that the version was calibrated on, at most one in "
        "twenty who are there is called missing."
    )
    next_cursor: str | None = Field(description="Asks for the next page; null: there is none.")
    warnings: list[Warned]
    took_ms: Took
