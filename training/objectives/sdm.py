"""Similarity distribution matching (IRRA, Jiang and Ye, CVPR 2023, eqs 4-6; methods.md 1.3)."""

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-8


def sdm(images: Tensor, texts: Tensor, identities: Tensor, scale: float) -> Tensor:
    """KL(p || q) between the softmax of similarities p and the normalised identity matches q, both directions summed.

    Args:
        images, texts: (B, D) float; normalised here.
        identities: (B,) int64.
        scale: 1 / tau; IRRA fixes tau = 0.02.

    Returns:
        Scalar, 0 when each row's probability lies exactly on its matches.
    """
    cosine = F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T
    same = (identities[:, None] == identities[None, :]).to(cosine.dtype)
    wanted = same / same.sum(dim=1, keepdim=True)
    return divergence(scale * cosine, wanted) + divergence(scale * cosine.T, wanted)


def divergence(logits: Tensor, wanted: Tensor, eps: float = EPSILON) -> Tensor:
    """KL(p || q), p the softmax of each row of `logits`, q the same row of `wanted`, averaged over the rows.

    Args:
        logits, wanted: (R, C) float; the rows of `wanted` are >= 0 and sum to 1.
        eps: added to q within the logarithm, > 0. It bounds a row at -log(eps).

    Returns:
        Scalar, >= -log(1 + eps).
    """
    log_p = F.log_softmax(logits, dim=1)
    return (log_p.exp() * (log_p - torch.log(wanted + eps))).sum(dim=1).mean()
