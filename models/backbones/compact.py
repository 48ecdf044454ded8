"""`compact`: a small residual CNN pooled by rows and a one-layer convolutional text encoder, trained from scratch.

A person is upright in a crop, so *where* a colour is says what wears it: head, torso, legs, feet. The image tower
keeps that order by pooling each row band by itself; pooling everything into one vector would lose it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.base import Backbone, Features
from models.noise import sample_uniform
from models.taps import tap_maps
from models.tokenizers import PAD, UNKNOWN

_TAPPED = 3
"""The stage whose maps explain a score: ceil(H / 4) x ceil(W / 4). Later ones point worse, being coarser."""


class _Residual(nn.Module):
    """Two 3x3 convolutions with batch norm round a shortcut; `stride` halves the map."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class CompactMaps(nn.Module):
    """(B, 3, H, W) to maps (B, `channels`, ceil(H / 8), ceil(W / 8))."""

    def __init__(self, *, width: int) -> None:
        super().__init__()
        self.channels = 4 * width
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.stages = nn.Sequential(
            _Residual(width, width, 1),
            _Residual(width, 2 * width, 2),
            _Residual(2 * width, 2 * width, 1),
            _Residual(2 * width, 4 * width, 2),
            _Residual(4 * width, 4 * width, 1),
        )

    def maps(self, pixels: Tensor) -> Tensor:
        """The maps; subclasses have a `forward` of their own."""
        maps: Tensor = self.stem(pixels)
        for number, stage in enumerate(self.stages, 1):
            maps = stage(maps)
            if number == _TAPPED:
                maps = tap_maps(maps)
        return maps


class CompactImageTower(CompactMaps):
    """(B, 3, H, W) to row tokens (B, `rows`, dim) and their projection (B, dim)."""

    def __init__(self, *, width: int, rows: int, dim: int) -> None:
        super().__init__(width=width)
        self.rows = rows
        # Mean says "how much of it", maximum says "is it there at all": a bag strap is small, but there.
        self.row = nn.Linear(2 * self.channels, dim)
        self.join = nn.Sequential(nn.LayerNorm(rows * dim), nn.Linear(rows * dim, dim))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.pool(self.maps(pixels))

    def pool(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """The projection and the row tokens of maps."""
        mean = F.adaptive_avg_pool2d(maps, (self.rows, 1)).squeeze(-1)
        peak = F.adaptive_max_pool2d(maps, (self.rows, 1)).squeeze(-1)
        tokens = self.row(torch.cat([mean, peak], dim=1).transpose(1, 2))
        return self.join(F.relu(tokens).flatten(1)), tokens


class CompactWords(nn.Module):
    """Token ids (B, L) to word tokens (B, L, dim).

    One convolution over neighbouring words is enough to bind "red" to "jacket"; a transformer learns the same only
    from far more text.
    """

    def __init__(self, *, vocabulary: int, width: int, dim: int, kernel: int, drop_words: float) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"text_kernel must be odd, got {kernel}")
        self.drop_words = drop_words
        self.embed = nn.Embedding(vocabulary, width, padding_idx=PAD)
        nn.init.normal_(self.embed.weight, std=0.5)
        with torch.no_grad():
            self.embed.weight[PAD].zero_()
        self.bind = nn.Conv1d(width, 2 * width, kernel, padding=kernel // 2)
        self.word = nn.Linear(2 * width, dim)

    def words(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens, and (B, L) bool: True where there is a word."""
        mask = token_ids != PAD
        if self.training and self.drop_words > 0:
            # Unknown words must mean "nothing", so training shows some.
            dropped = sample_uniform(*token_ids.shape, device=token_ids.device) < self.drop_words
            token_ids = torch.where(dropped & mask, UNKNOWN, token_ids)
        return self.bound(self.embed(token_ids)), mask

    def bound(self, embedded: Tensor) -> Tensor:
        """Tokens (B, L, dim) of words that are embedded already, (B, L, width)."""
        tokens: Tensor = self.word(F.relu(self.bind(embedded.transpose(1, 2))).transpose(1, 2))
        return tokens


class CompactTextTower(CompactWords):
    """Token ids (B, L) to word tokens (B, L, dim) and their maximum (B, dim)."""

    def __init__(self, *, vocabulary: int, width: int, dim: int, kernel: int, drop_words: float) -> None:
        super().__init__(vocabulary=vocabulary, width=width, dim=dim, kernel=kernel, drop_words=drop_words)
        self.join = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim))

    def forward(self, token_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tokens, mask = self.words(token_ids)
        # A row of nothing but padding keeps its first position, so that the maximum stays finite.
        first = torch.zeros_like(mask)
        first[:, 0] = ~mask.any(dim=1)
        pooled = tokens.masked_fill(~(mask | first).unsqueeze(-1), float("-inf")).amax(dim=1)
        return self.join(pooled), tokens, mask


class CompactBackbone(Backbone):
    """Both towers of `compact`.

    Args:
        vocabulary: rows of the word table (`Tokenizer.size`).
        dim: dimensions in which the towers meet.
        image_width: channels of the first convolution (the last has four times as many).
        rows: horizontal bands into which a person is cut.
        text_width: dimensions of a word.
        text_kernel: words that one convolution sees (odd).
        drop_words: share of words made unknown in training, in [0, 1).
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        dim: int = 256,
        image_width: int = 48,
        rows: int = 6,
        text_width: int = 192,
        text_kernel: int = 5,
        drop_words: float = 0.05,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.image_tower = CompactImageTower(width=image_width, rows=rows, dim=dim)
        self.text_tower = CompactTextTower(
            vocabulary=vocabulary, width=text_width, dim=dim, kernel=text_kernel, drop_words=drop_words
        )

    def image(self, pixels: Tensor) -> Features:
        pooled, tokens = self.image_tower(pixels)
        return Features(pooled, tokens)

    def text(self, token_ids: Tensor) -> Features:
        pooled, tokens, mask = self.text_tower(token_ids)
        return Features(pooled, tokens, mask)
