"""Local relationships: who in a batch is probably the same person, mined from both modalities (DGCMIA, eqs 3-10).

Zhang, Shang and Li, "Dual-Granularity Cross-Modal Identity Association", ACM MM 2025; open points as in methods.md 5.
No function here sees an identity label.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from training.objectives.sdm import divergence

EPSILON = 1e-6


@torch.no_grad()
def mined_relations(images: Tensor, texts: Tensor, image_threshold: float, text_threshold: float) -> Tensor:
    """Pairs i, j of the batch whose images look alike and whose texts read alike (eqs 3-4).

    Args:
        images, texts: (B, D) float, normalised here; row i of both belongs together. No gradient passes.
        image_threshold, text_threshold: cosine, in [-1, 1], that must be exceeded (strictly); the paper has 0.7.

    Returns:
        (B, B) bool, symmetric, the diagonal always true: a pair is known to belong together, not mined.
    """
    image_alike = _cosine(images, images) > image_threshold
    text_alike = _cosine(texts, texts) > text_threshold
    itself = torch.eye(len(images), dtype=torch.bool, device=images.device)
    return (image_alike & text_alike) | itself


def soft_targets(mined: Tensor, softening: float) -> Tensor:
    """The distribution that each row's similarities are to follow (eqs 5-7).

    Q = I + lambda (M - I): 1 on the diagonal, lambda where mined. What is not mined becomes -inf, then softmax: one
    mined relation at lambda = 0.1 gives 0.711 / 0.289, two give 0.552 / 0.224 / 0.224.

    Args:
        mined: (B, B) bool with a true diagonal, of `mined_relations`.
        softening: lambda, in (0, 1); methods.md 5 has 0.1.

    Returns:
        (B, B) float32, rows sum to 1, 0 where nothing was mined.
    """
    itself = torch.eye(len(mined), device=mined.device)
    relation = itself + softening * (mined.float() - itself)
    return relation.masked_fill(relation == 0, float("-inf")).softmax(dim=1)


def relation_loss(images: Tensor, texts: Tensor, target: Tensor, tau: float, eps: float = EPSILON) -> Tensor:
    """KL(p || q) from image to text and from text to image, summed (eqs 8-10, and 21 on the asymmetric views).

    Args:
        images, texts: (B, D) float, normalised here.
        target: (B, B), q of `soft_targets`; both directions use the same one, for the mined relations are symmetric.
        tau: temperature, > 0.
        eps: added to q within the logarithm.

    Returns:
        Scalar.
    """
    logits = _cosine(images, texts) / tau
    return divergence(logits, target, eps) + divergence(logits.T, target, eps)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
