"""Identity classification of part features (seed 003, eq 6; methods.md 4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SPREAD = 0.001


class PartClassifiers(nn.Module):
    """A linear classifier for each of K parts: (B, K, D) to logits (B, K, identities). Weights N(0, 0.001), bias 0."""

    def __init__(self, parts: int, dim: int, identities: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(parts, dim, identities) * _SPREAD)
        self.bias = nn.Parameter(torch.zeros(parts, identities))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            return torch.einsum("bkd,kdc->bkc", features.float(), self.weight) + self.bias


def part_identity(logits: Tensor, identities: Tensor) -> Tensor:
    """The mean over parts and batch of the cross entropy (eq 6).

    Args:
        logits: (B, K, identities) float.
        identities: (B,) int64.
    """
    wanted = identities[:, None].expand(logits.shape[:2])
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())
