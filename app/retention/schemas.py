"""What the API says about retention."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.database.tables import CAMERA_CHARS, NAME_CHARS

MOST_DAYS = 36_500
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS)]


class RetentionRuleIn(BaseModel):
    """How long images of a collection are kept, or those of one of its cameras, which goes before."""

    model_config = ConfigDict(extra="forbid")

    collection: Name
    camera: Annotated[str, Field(min_length=1, max_length=CAMERA_CHARS)] | None = None
    days: int = Field(ge=1, le=MOST_DAYS)
    """Since `captured_at`; since the ingest of images that have none."""


class RetentionRuleOut(RetentionRuleIn):
    """A rule, and what it says today."""

    due: int
    """Images that the next round of the housekeeping erases."""


class RetentionRules(BaseModel):
    """Every rule."""

    rules: list[RetentionRuleOut]


class NewRetentionRules(BaseModel):
    """Every rule: those that are not named are taken away."""

    model_config = ConfigDict(extra="forbid")

    rules: Annotated[list[RetentionRuleIn], Field(max_length=1000)]
