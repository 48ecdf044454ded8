"""Batch-hard triplet loss (Hermans et al. 2017, with the settings of Luo et al. 2019; HPL's eq 2)."""

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 1e-12  # a square root has no gradient at 0


def batch_hard_triplet(features: Tensor, identities: Tensor, margin: float) -> Tensor:
    """The mean over anchors of [d(a, farthest positive) - d(a, nearest negative) + margin]_+, d Euclidean.

    Anchors without another sample of their identity, or without any of another one, are left out.

    Args:
        features: (B, D) float; give unit vectors where the margin shall mean the same at every scale.
        identities: (B,) int64.

    Returns:
        Scalar >= 0; 0 where no anchor has both.
    """
    x = features.float()
    squares = x.square().sum(dim=1)
    distance = (squares[:, None] + squares - 2 * x @ x.T).clamp(min=_SMALLEST).sqrt()
    same = identities[:, None] == identities
    positive = same & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    hardest = distance.masked_fill(~positive, float("-inf")).amax(dim=1)
    nearest = distance.masked_fill(same, float("inf")).amin(dim=1)
    anchors = positive.any(dim=1) & ~same.all(dim=1)
    if not anchors.any():
        return x.sum() * 0
    return F.relu(hardest[anchors] - nearest[anchors] + margin).mean()
