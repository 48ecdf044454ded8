"""InfoNCE: each image must pick its text out of the batch, and each text its image (CLIP, Radford et al. 2021)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def infonce(images: Tensor, texts: Tensor, scale: Tensor | float, identities: Tensor | None = None) -> Tensor:
    """Symmetric cross entropy over the batch, the mean of both directions ("itc", methods.md 1.3).

    Args:
        images, texts: (B, D) unit-norm float; row i of both belongs together.
        scale: 1 / tau, > 0.
        identities: (B,) int64. When given, pairs of the same identity share the target evenly, so that a second
            picture of the person is no longer punished as a wrong answer.

    Returns:
        Scalar >= 0.
    """
    logits = scale * images @ texts.T
    if identities is None:
        target = torch.arange(len(images), device=images.device)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    same = (identities[:, None] == identities[None, :]).to(logits.dtype)
    target = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
