"""Backbones whose image tower reads a picture out twice: once for descriptions, once for pictures (HPL, eq 1).

Both begin with the two read-outs equal, the second a copy of the first; training parts them.
"""

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.base import Backbone, Features
from models.backbones.compact import CompactBackbone


@dataclass(frozen=True, slots=True)
class Routed:
    """A batch of pictures, read out for both tasks; nothing is normalised.

    Attributes:
        t2i: (B, D), for text to image: the original class token.
        i2i: (B, D), for image to image: the extra one; `t2i` itself where there is none.
        patches: (B, N, D), local features without class tokens.
    """

    t2i: Tensor
    i2i: Tensor
    patches: Tensor

    @property
    def sequence(self) -> Tensor:
        """F^v of eq 1: (B, 2 + N, D), or (B, 1 + N, D) with a single token."""
        heads = [self.t2i] if self.i2i is self.t2i else [self.t2i, self.i2i]
        return torch.cat([torch.stack(heads, dim=1), self.patches], dim=1)

    def part(self, first: int, last: int) -> "Routed":
        """Rows `first` to `last` of the batch."""
        t2i = self.t2i[first:last]
        return Routed(t2i, t2i if self.i2i is self.t2i else self.i2i[first:last], self.patches[first:last])


class RoutedBackbone(Backbone):
    """A backbone with `route` beside `image`."""

    @abstractmethod
    def route(self, pixels: Tensor) -> Routed:
        """Both read-outs of a normalised batch (B, 3, H, W) float."""

    def image(self, pixels: Tensor) -> Features:
        routed = self.route(pixels)
        return Features(routed.t2i, routed.patches)

    @abstractmethod
    def text_sequence(self, text: Features) -> tuple[Tensor, Tensor | None]:
        """F^t: (B, L, D), the read-out of each description among its words, and which places are real (B, L)."""


class RoutedCompact(RoutedBackbone, CompactBackbone):
    """`compact`, whose rows are joined once for each task.

    A convolutional tower has no class token. What reads its rows out is `join`, so that is what there are two of;
    everything below is shared, as the patches are in the paper.
    """

    def __init__(self, vocabulary: int, *, routed: bool, **options: Any) -> None:  # noqa: ANN401  CompactBackbone's
        super().__init__(vocabulary, **options)
        self.join_i2i: nn.Sequential | None = copy.deepcopy(self.image_tower.join) if routed else None

    def route(self, pixels: Tensor) -> Routed:
        pooled, rows = self.image_tower(pixels)
        second = pooled if self.join_i2i is None else self.join_i2i(F.relu(rows).flatten(1))
        return Routed(pooled, second, rows)

    def text_sequence(self, text: Features) -> tuple[Tensor, Tensor | None]:
        assert text.mask is not None
        sequence = torch.cat([text.pooled[:, None], text.tokens], dim=1)
        return sequence, F.pad(text.mask, (1, 0), value=True)
