"""What is asked of an explanation, and what it says."""

from pydantic import BaseModel, ConfigDict, Field

from app.search.schemas import ModelRef, Warned


class ExplanationQuery(BaseModel):
    """A description, or a phrase of one."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(examples=["a woman in a red coat with a black backpack"])


class PhraseSupport(BaseModel):
    """A phrase of the description against the image."""

    text: str
    start: int = Field(description="Where it begins in the description (trimmed), in characters.")
    end: int = Field(description="Where it ends; the character there does not belong to it.")
    absent: bool = Field(description="The description says that there is none: support then speaks against it.")
    score: float | None = Field(description="Cosine of phrase and image. Null where the model knows no word of it.")
    support: float | None = Field(
        description="0 to 1: how far the phrase stands out, on this image, from the same thing in other colours and "
        "from other things; 0.5 is one of many. No probability. Null for persons, and where there is nothing to "
        "compare with."
    )


class SupportAnswer(BaseModel):
    """Which parts of a description an image bears out."""

    image_id: int
    model_version: ModelRef
    score: float = Field(description="Cosine of the whole description and the image, as a search gives it.")
    phrases: list[PhraseSupport] = Field(description="In the order of the description.")
    warnings: list[Warned]
