"""What recipes say to single methods: one typed section for each."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class MethodPart(BaseModel):
    """The section of one method."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LgurPart(MethodPart):
    """LGUR (methods.md 4). The switches are the rows of the paper's ablation."""

    margin: Annotated[float, Field(gt=0, lt=2)] = 0.3
    """alpha of the ranking loss."""
    dictionary: bool = True
    """Rebuild features from the shared dictionary (DGA)."""
    foreground: bool = True
    """DGA: weigh image features by the foreground mask."""
    guidance: bool = True
    """DGA: rebuild image features from their own description too, in training."""
    prototypes: bool = True
    """Read features by prototypes (PGU); without them their maximum is read."""
