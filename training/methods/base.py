"""What the engine knows of a training method."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from models.encoder import PersonEncoder


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's image-text pairs on the training device.

    Attributes:
        pixels: (B, 3, H, W) float32, augmented and normalised.
        token_ids: (B, L) int64.
        identities: (B,) int64, from 0 without gaps.
        epoch: of the step, from 0.
    """

    pixels: Tensor
    token_ids: Tensor
    identities: Tensor
    epoch: int


class Method(nn.Module, ABC):
    """Owns the encoder and what training alone needs (temperatures, classifiers, memory banks)."""

    def __init__(self, encoder: PersonEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted loss terms by name, each a scalar; the step minimises their sum."""
