"""What a search may be limited to, as it is asked for."""

from pydantic import BaseModel, ConfigDict, Field

from app.database.tables import CAMERA_CHARS

VALUES = 1_000


class Filters(BaseModel):
    """Only images that meet every condition given are ranked. Conditions that are left out do not limit."""

    model_config = ConfigDict(extra="forbid")

    cameras: list[str] | None = Field(
        default=None, min_length=1, max_length=VALUES, description=f"Any of these cameras, {CAMERA_CHARS} characters."
    )
    without_identities: list[int] | None = Field(
        default=None, min_length=1, max_length=VALUES, description="None of these identities, by id."
    )
