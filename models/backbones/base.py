"""What every backbone offers to the methods' networks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Features:
    """One batch seen by one tower.

    Attributes:
        pooled: (B, D), the global feature, not normalised.
        tokens: (B, N, D), local features (image rows or patches without the class token, or words), not normalised.
        mask: (B, N) bool, True where a token is real; None when all are.
    """

    pooled: Tensor
    tokens: Tensor
    mask: Tensor | None = None


class Backbone(nn.Module, ABC):
    """An image tower and a text tower that meet in `dim` dimensions."""

    dim: int

    @abstractmethod
    def image(self, pixels: Tensor) -> Features:
        """Features of a normalised batch (B, 3, H, W) float."""

    @abstractmethod
    def text(self, token_ids: Tensor) -> Features:
        """Features of token ids (B, L) int64."""
