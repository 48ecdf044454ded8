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
    return _kl(scale * cosine, wanted) + _kl(scale * cosine.T, wanted)


def _kl(logits: Tensor, wanted: Tensor) -> Tensor:
    log_p = F.log_softmax(logits, dim=1)
    return (log_p.exp() * (log_p - torch.log(wanted + EPSILON))).sum(dim=1).mean()
