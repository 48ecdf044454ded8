"""What the API says about exports."""

from pydantic import BaseModel, ConfigDict, Field


class NewExport(BaseModel):
    """What to export."""

    model_config = ConfigDict(extra="forbid")

    collection: str | None = Field(default=None, description="One collection; null is everything.")
    originals: bool = Field(default=False, description="While heads are blurred: the pictures without that.")
