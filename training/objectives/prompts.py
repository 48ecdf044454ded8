"""HPL's losses over prompts and prototypes (seed 000, eqs 6 and 8 to 12; methods.md 7).

v and t are features of images and descriptions, v~ and t~ those of the prompts made from them, r~_y that of identity
y's prompt. sim is the cosine over a temperature (the paper gives none; methods.md 7, point 3).
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean over rows of ||a - b||^2 of L2-normalised (N, D) vectors: 2 - 2 cos, in [0, 4] (point 5)."""
    return (F.normalize(a.float(), dim=-1) - F.normalize(b.float(), dim=-1)).square().sum(dim=-1).mean()


def instance_consistency(image_prompts: Tensor, images: Tensor, text_prompts: Tensor, texts: Tensor) -> Tensor:
    """L_ic of eq 6: a prompt says again what it was made from.

    Args:
        image_prompts, images: v~ and v_t2i, (B, D) each.
        text_prompts, texts: t~ and t_eos, (B_t2i, D) each.
    """
    return squared_distance(image_prompts, images) + squared_distance(text_prompts, texts)


def prompt_contrast(anchors: Tensor, anchor_ids: Tensor, others: Tensor, other_ids: Tensor, scale: float) -> Tensor:
    """The mean over anchors of -log exp sim(a, p) / (exp sim(a, p) + sum_n exp sim(a, n)), averaged over positives p.

    With identities' prompts as anchors and images as the others it is L_t2i of eq 8, the other way round L_i2t of
    eq 9. The paper assumes that no identity comes twice in a batch; where one does, its entries are positives of each
    other and never negatives (point 4).

    Args:
        anchors, others: (A, D) and (N, D) float; each anchor has a positive.
        anchor_ids, other_ids: (A,) and (N,) int64.
        scale: 1 / temperature, > 0.

    Returns:
        Scalar >= 0; 0 where all are of one identity.
    """
    logits = scale * F.normalize(anchors.float(), dim=-1) @ F.normalize(others.float(), dim=-1).T
    same = anchor_ids[:, None] == other_ids
    rivals = logits.masked_fill(same, float("-inf")).logsumexp(dim=1, keepdim=True)
    losses = torch.logaddexp(logits, rivals) - logits
    return (torch.where(same, losses, 0.0).sum(dim=1) / same.sum(dim=1)).mean()


def prototype_identity(
    images: Tensor, identities: Tensor, prototypes: Tensor, scale: float, smoothing: float = 0.0
) -> Tensor:
    """L_cic of eq 11 as a mean: each image picks its identity's prototype out of all (point 8).

    Args:
        images: v_i2i, (B, D) float.
        identities: (B,) int64, rows of `prototypes`.
        prototypes: r~, (identities, D) float.
        smoothing: share of the target that is spread over all identities, in [0, 1).
    """
    logits = scale * F.normalize(images.float(), dim=-1) @ F.normalize(prototypes.float(), dim=-1).T
    return F.cross_entropy(logits, identities, label_smoothing=smoothing)


def local_alignment(text_prompts: Tensor, images: Tensor, image_prompts: Tensor, texts: Tensor) -> Tensor:
    """L_ILPA of eq 10: an image learns from its description's prompt, a description from its image's.

    The prompts are targets: no gradient goes into them (point 7). All (B_t2i, D) float.
    """
    return squared_distance(images, text_prompts.detach()) + squared_distance(texts, image_prompts.detach())


def token_gap(
    text_tokens: Tensor, image_tokens: Tensor, reduction: Literal["frobenius", "mean"] = "frobenius"
) -> Tensor:
    """L_CMPR of eq 12: the mean over pairs of ||P^t - P^v||_F^2, or that per element (point 5).

    Args:
        text_tokens, image_tokens: P^t and P^v, (B_t2i, m, W) float.
    """
    squared = (text_tokens.float() - image_tokens.float()).square()
    return squared.mean() if reduction == "mean" else squared.sum(dim=(1, 2)).mean()
