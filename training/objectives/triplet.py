"""Triplet losses with the hardest positive and negative of the batch (A. Hermans et al., "In Defense of the Triplet
Loss for Person Re-Identification", 2017).

Anchors without a positive or without a negative in the batch are left out.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST = 1e-12  # a square root has no gradient at 0


def batch_hard_triplet(features: Tensor, identities: Tensor, margin: float) -> Tensor:
    """The mean over anchors of [d(a, farthest positive) - d(a, nearest negative) + margin]_+, d Euclidean.

    With the settings of Luo et al. 2019; HPL's eq 2.

    Args:
        features: (B, D) float; give unit vectors where the margin shall mean the same at every scale.
        identities: (B,) int64.

    Returns:
        Scalar >= 0; 0, with a gradient of zeros, where no anchor has both.
    """
    with torch.autocast(features.device.type, enabled=False):  # bf16 would round distances to 0.01, next to 0.3
        x = features.float()
        squares = x.square().sum(dim=1)
        distance = (squares[:, None] + squares - 2 * x @ x.T).clamp(min=_SMALLEST).sqrt()
    return _hardest(distance, identities, margin)


def squared_triplet(features: Tensor, identities: Tensor, margin: float) -> Tensor:
    """The same with squared distances of unit vectors, which lie in [0, 4] (seed 002, eq 4).

    INFERENCE: the hardest triplet of each anchor, on L2-normalised features.

    Args:
        features: (B, D) float, normalised here.
        identities: (B,) int64.
        margin: m of eq 4, 0.3.

    Returns:
        Scalar >= 0; 0, with a gradient of zeros, where no anchor has both.
    """
    with torch.autocast(features.device.type, enabled=False):
        unit = F.normalize(features.float(), dim=-1)
        distance = 2 - 2 * unit @ unit.T
    return _hardest(distance, identities, margin)


def _hardest(distance: Tensor, identities: Tensor, margin: float) -> Tensor:
    same = identities[:, None] == identities
    positive = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    counted = positive.any(dim=1) & ~same.all(dim=1)
    if not counted.any():
        return distance.sum() * 0
    furthest = distance.masked_fill(~positive, float("-inf")).amax(dim=1)[counted]
    nearest = distance.masked_fill(same, float("inf")).amin(dim=1)[counted]
    return F.relu(furthest - nearest + margin).mean()
