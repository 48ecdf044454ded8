"""Transformer blocks that several methods' networks are made of."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.noise import sample_uniform


class SampleDropout(nn.Module):
    """Dropout of (B, ...) whose random numbers belong to samples, so that several processes train as one (decision 12).

    Args:
        rate: share of the values that become 0 in training, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the share that dropout drops must be in [0, 1), got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = sample_uniform(*x.shape, device=x.device) >= self.rate
        return x * kept / (1 - self.rate)


class CrossBlock(nn.Module):
    """Cross-attention and a feed-forward network, both with a residual (LGUR's TB, methods.md 4).

        H = Q + MHA(LN(Q), LN(Y), LN(Y)),  out = H + FFN(LN'(H))

    One LayerNorm is shared by Q and Y; there is no position code. With Y = Q it is a self-attention block.

    Args:
        dim: of Q, Y and the output.
        heads, head_dim: the attention is heads x head_dim wide inside.
        hidden: width of the feed-forward network (ReLU).
        dropout: share dropped of what either part adds to the residual.
    """

    def __init__(self, dim: int, *, heads: int, head_dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query = nn.Linear(dim, heads * head_dim, bias=False)
        self.key_value = nn.Linear(dim, 2 * heads * head_dim, bias=False)
        self.out = nn.Linear(heads * head_dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.dropout = SampleDropout(dropout)

    def forward(self, query: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let `query` (B, Q, dim) read `context` (B, Y, dim); returns (B, Q, dim).

        Args:
            mask: (B, Y) bool, True where the context is real; a row without any reads its first place.
        """
        kept = None if mask is None else _never_empty(mask)[:, None, None, :]
        q = self._split(self.query(self.norm(query)))
        k, v = (self._split(part) for part in self.key_value(self.norm(context)).chunk(2, dim=-1))
        read = _attend(q, k, v, kept)
        mixed = query + self.dropout(self.out(read.transpose(1, 2).flatten(2)))
        out: Tensor = mixed + self.dropout(self.feed(self.norm_out(mixed)))
        return out

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def _attend(q: Tensor, k: Tensor, v: Tensor, kept: Tensor | None) -> Tensor:
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=kept)
    # The fused kernel's gradient takes three times as long on a CPU at these sizes.
    scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    if kept is not None:
        scores = scores.masked_fill(~kept, float("-inf"))
    read: Tensor = scores.softmax(dim=-1).to(v.dtype) @ v
    return read


def _never_empty(mask: Tensor) -> Tensor:
    first = torch.zeros_like(mask)
    first[:, 0] = ~mask.any(dim=1)
    return mask | first
