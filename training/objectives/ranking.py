"""LGUR's ranking loss with semi-hard negatives (seed 003, eq 7; methods.md 4)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def ranking(a: Tensor, b: Tensor, identities: Tensor, margin: float) -> Tensor:
    """Sum over both directions and all anchors of [margin - S(a_i, b_i) + S(a_i, n)]_+.

    The positive of an anchor is its own pair. Its negative n is one, drawn at random, of those of another identity
    that are semi-hard: S(a_i, b_i) - margin < S(a_i, n) < S(a_i, b_i). Anchors without one are skipped. If no anchor
    of a direction has one, the last anchor that has a negative takes its first. Drawn from the default generator, which
    all processes of a training seed alike.

    Args:
        a, b: (B, D) float, row i of both belongs together; compared by cosine.
        identities: (B,) int64.
        margin: alpha, 0.3 in the paper.

    Returns:
        Scalar >= 0; 0 where all pairs are of one identity.
    """
    with torch.autocast(a.device.type, enabled=False):  # bf16 would round cosines to 0.004, next to a margin of 0.3
        cosine = F.normalize(a.float(), dim=-1) @ F.normalize(b.float(), dim=-1).T
    other = identities[:, None] != identities[None, :]
    return _one_way(cosine, other, margin) + _one_way(cosine.T, other, margin)


def _one_way(cosine: Tensor, other: Tensor, margin: float) -> Tensor:
    pair = cosine.diagonal()
    semi_hard = other & (cosine < pair[:, None]) & (cosine > pair[:, None] - margin)
    anchors = semi_hard.any(dim=1)
    if not anchors.any():
        return _fallback(cosine, pair, other, margin)
    drawn = torch.rand_like(cosine).masked_fill(~semi_hard, -1.0).argmax(dim=1)
    negative = cosine.gather(1, drawn[:, None]).squeeze(1)
    return (F.relu(margin - pair + negative) * anchors).sum()


def _fallback(cosine: Tensor, pair: Tensor, other: Tensor, margin: float) -> Tensor:
    having = other.any(dim=1).nonzero()
    if not len(having):
        return cosine.sum() * 0
    anchor = int(having[-1])
    return F.relu(margin - pair[anchor] + cosine[anchor, int(other[anchor].nonzero()[0])])
