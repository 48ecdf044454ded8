"""Backbones that say how much the global feature reads of each token, which HKGR selects tokens by (methods.md 6.2).

| name | image | text |
|---|---|---|
| compact | a small CNN, whose joined rows read its places once | a convolution; the maximum of words reads them once |
| an open_clip model | the class token in the last layer | the <end> token in the last layer |

INFERENCE: `compact` has no attention of its own; the layer added here is the last layer that CLIP has.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone, Features
from models.backbones.compact import CompactImageTower, CompactTextTower

COMPACT = "compact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attended(Features):
    """Features, and what the global one read.

    Attributes:
        attention: (B, N) float32 >= 0, the share of each token, mean over heads.
        local: (B, N) bool, True where a token may be selected: patches, or words without start and end. A description
            without words has one all the same: <end>, or the first place of `compact`.
    """

    attention: Tensor
    local: Tensor


class AttentiveBackbone(Backbone):
    """A backbone whose features are `Attended`."""

    @abstractmethod
    def image(self, pixels: Tensor) -> Attended:
        """Features of a normalised batch (B, 3, H, W) float."""

    @abstractmethod
    def text(self, token_ids: Tensor) -> Attended:
        """Features of token ids (B, L) int64."""


class Reader(nn.Module):
    """The global feature (B, D) reads tokens (B, N, D) by multi-head attention and takes what it read in."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, pooled: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The new global feature (B, D), and the shares of the tokens (B, N) float32.

        Args:
            mask: (B, N) bool, True for at least one token in each row.
        """
        context = self.norm(tokens)
        read, shares = self.attention(pooled.unsqueeze(1), context, context, key_padding_mask=~mask)
        return pooled + read.squeeze(1), shares.squeeze(1).float()


class AttentiveCompact(AttentiveBackbone):
    """Both towers of `compact`, each with a `Reader`; image tokens are the places of the CNN's last maps.

    Args:
        size: (height, width) of the pictures in pixels.
        heads: of the readers.

    The others are those of `CompactBackbone`.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        size: tuple[int, int],
        dim: int = 256,
        image_width: int = 32,
        rows: int = 6,
        text_width: int = 192,
        text_kernel: int = 5,
        drop_words: float = 0.05,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.image_tower = CompactImageTower(width=image_width, rows=rows, dim=dim)
        self.text_tower = CompactTextTower(
            vocabulary=vocabulary, width=text_width, dim=dim, kernel=text_kernel, drop_words=drop_words
        )
        self.project = nn.Conv2d(self.image_tower.channels, dim, 1)
        # A convolution hardly knows where it is; a patch embedding does.
        down, across = (-(-side // 8) for side in size)
        self.positions = nn.Parameter(torch.randn(1, down * across, dim) * 0.02)
        self.image_reader, self.text_reader = Reader(dim, heads), Reader(dim, heads)

    def image(self, pixels: Tensor) -> Attended:
        maps = self.image_tower.maps(pixels)
        pooled, _ = self.image_tower.pool(maps)
        tokens = self.project(maps).flatten(2).transpose(1, 2) + self.positions
        local = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        pooled, read = self.image_reader(pooled, tokens, local)
        return Attended(pooled, tokens, attention=read, local=local)

    def text(self, token_ids: Tensor) -> Attended:
        pooled, tokens, mask = self.text_tower(token_ids)
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)
        local = mask | first
        pooled, read = self.text_reader(pooled, tokens, local)
        return Attended(pooled, tokens, mask, attention=read, local=local)


def build_attentive(name: str, *, size: tuple[int, int], vocabulary: int, options: dict[str, Any]) -> AttentiveBackbone:
    """A backbone with fresh weights.

    Args:
        name: "compact", or an open_clip model of the standard CLIP shape.
        size: (height, width) of the pictures in pixels.
        vocabulary: number of token ids; for `compact`.
        options: `AttentiveCompact`'s arguments; an open_clip model takes none.

    Raises:
        BackboneError: open_clip has no such model, or it is not of the standard CLIP shape.
        TypeError: options that the backbone does not have.
    """
    if name == COMPACT:
        return AttentiveCompact(vocabulary, size=size, **options)
    # open_clip takes seconds to import; compact never needs it.
    from models.backbones.attentive_clip import AttentiveClip

    return AttentiveClip(name, image_size=size, **options)
