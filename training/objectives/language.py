"""Telling hidden words from the image: a cross-modal encoder and a head over the vocabulary (IRRA, methods.md 1.4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.processes.ranks import mean_over_ranks


class QuickGelu(nn.Module):
    """x * sigmoid(1.702 x), CLIP's."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """A pre-norm transformer layer of CLIP's shape."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.widen, self.gelu, self.narrow = nn.Linear(dim, 4 * dim), QuickGelu(), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) to the same; `mask` (B, L) is True where a token is real."""
        y = self.norm_attention(x)
        x = x + _attend(self.attention, y, y, mask)
        out: Tensor = x + self.narrow(self.gelu(self.widen(self.norm_feed(x))))
        return out


class CrossEncoder(nn.Module):
    """Words read the image once, without a residual, then talk among themselves.

    The names of its parameters contain "cross", which IRRA's rule for learning rates goes by. Padding is left out of
    the attention (IRRA attends to it), so that a description does not depend on the length of others.

    Args:
        depth: transformer layers after the cross-attention.
    """

    def __init__(self, dim: int, *, heads: int, depth: int) -> None:
        super().__init__()
        self.norm_words, self.norm_image, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self._start(dim, max(depth, 1))

    def forward(self, words: Tensor, image: Tensor, mask: Tensor | None) -> Tensor:
        """(B, L, D) words and (B, N, D) image tokens to (B, L, D).

        Args:
            mask: (B, L) bool, True where a word is real; a row without any keeps its first place.
        """
        context = self.norm_image(image)
        hidden = _attend(self.attention, self.norm_words(words), context, None)
        kept = None
        if mask is not None:
            first = torch.zeros_like(mask)
            first[:, 0] = ~mask.any(dim=1)
            kept = mask | first
        for block in self.blocks:
            hidden = block(hidden, kept)
        out: Tensor = self.norm_out(hidden)
        return out

    @torch.no_grad()
    def _start(self, dim: int, depth: int) -> None:
        """IRRA's start, after CLIP's: narrower the deeper."""
        inner, outer = dim**-0.5, dim**-0.5 * (2 * depth) ** -0.5
        for attention in (self.attention, *(block.attention for block in self._blocks())):
            nn.init.normal_(attention.in_proj_weight, std=inner)
            nn.init.normal_(attention.out_proj.weight, std=outer)
        for block in self._blocks():
            nn.init.normal_(block.widen.weight, std=(2 * dim) ** -0.5)
            nn.init.normal_(block.narrow.weight, std=outer)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]


def _attend(attention: nn.MultiheadAttention, query: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
    # Asking for the weights avoids the fused kernel, whose gradient takes three times as long on a CPU at these sizes.
    plain = query.device.type == "cpu" and torch.is_grad_enabled()
    padding = None if mask is None else ~mask
    read: Tensor = attention(
        query, context, context, key_padding_mask=padding, need_weights=plain, average_attn_weights=False
    )[0]
    return read


class LanguageHead(nn.Sequential):
    """(M, D) to logits over the vocabulary (M, V)."""

    def __init__(self, dim: int, vocabulary: int) -> None:
        dense, words = nn.Linear(dim, dim), nn.Linear(dim, vocabulary)
        nn.init.normal_(dense.weight, std=(2 * dim) ** -0.5)
        nn.init.normal_(words.weight, std=dim**-0.5 * 8**-0.5)
        super().__init__(dense, QuickGelu(), nn.LayerNorm(dim), words)


def language_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """The mean cross entropy over the words to be told; 0, with gradients of 0, where there are none.

    With several processes it is the mean over the words of all of them once their losses are averaged.

    Args:
        logits: (M, V) float.
        wanted: (M,) int64.
    """
    count = mean_over_ranks(torch.tensor(float(len(wanted)), device=logits.device))
    return F.cross_entropy(logits.float(), wanted, reduction="sum") / count.clamp(min=torch.finfo(torch.float32).tiny)
