"""What the API says about exports."""

from pydantic import BaseModel, ConfigDict, Field


class NewExport(BaseModel):
    """What to export."""

    model_config = ConfigDict(extra="forbid")

    collection: str | None = Field(default=None, description="One collection; null is everything.")
