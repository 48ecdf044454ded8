"""The triplet loss with the hardest positive and negative of the batch (seed 002, eq 4; Hermans et al. 2017)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def squared_triplet(features: Tensor, identities: Tensor, margin: float) -> Tensor:
    """Mean over anchors of [max_p |f_a - f_p|^2 - min_n |f_a - f_n|^2 + margin]_+ (eq 4).

    INFERENCE: the hardest triplet of each anchor, on L2-normalised features, so that squared distances lie in [0, 4].
    Anchors without a positive or without a negative in the batch are left out.

    Args:
        features: (B, D) float, normalised here.
        identities: (B,) int64.
        margin: m of eq 4, 0.3.

    Returns:
        Scalar >= 0; 0, with a gradient of zeros, where no anchor has both.
    """
    with torch.autocast(features.device.type, enabled=False):  # bf16 would round distances to 0.01, next to 0.3
        unit = F.normalize(features.float(), dim=-1)
        distance = 2 - 2 * unit @ unit.T
    same = identities[:, None] == identities[None, :]
    positive = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
    counted = positive.any(dim=1) & ~same.all(dim=1)
    if not counted.any():
        return unit.sum() * 0
    furthest = distance.masked_fill(~positive, float("-inf")).amax(dim=1)[counted]
    nearest = distance.masked_fill(same, float("inf")).amin(dim=1)[counted]
    return F.relu(furthest - nearest + margin).mean()
