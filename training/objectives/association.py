"""Global relationships: each anchor against its batch and what the memory banks added to it (DGCMIA, eqs 13-18).

B anchors, E added entries, B1 = B + E columns: first the batch, then the additions.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from training.objectives.memory import Candidates
from training.objectives.relations import EPSILON
from training.objectives.sdm import divergence

Duplicates = Literal["merge", "keep"]
Rows = Literal["paper", "all"]


def columns(own: Tensor, found: Candidates, duplicates: Duplicates) -> tuple[Tensor, Tensor]:
    """Which stored entries join the batch as columns, and the column in which each candidate stands (J' of eq 13).

    "merge" gives every pair one column, the batch's own if it is in the batch, positive for each anchor that mined it.
    "keep" gives every mined candidate a column of its own, as the released code does: an entry that two anchors mined
    stands there twice, and is a negative of the other. The paper leaves it open; methods.md 5 advises "merge".

    Args:
        own: (B,) int64, the pairs of the batch.
        found: of `find_candidates`, (B, K).

    Returns:
        Rows of the bank to add, (E,) int64; the column of each candidate, (B, K) int64, meaningless where not mined.
    """
    if duplicates == "keep":
        order = found.mined.flatten().cumsum(dim=0).view_as(found.pairs)
        return found.pairs[found.mined], len(own) + order - 1
    present = found.pairs.unsqueeze(-1) == own
    inside = present.any(dim=-1)
    added = torch.unique(found.pairs[found.mined & ~inside])
    outside = len(own) + torch.searchsorted(added, found.pairs)
    return added, torch.where(inside, present.int().argmax(dim=-1), outside)


def association_targets(found: Candidates, column: Tensor, width: int) -> Tensor:
    """The distribution over the columns that each anchor is to follow (eqs 13-15).

    The anchor itself has Q' = 1. A mined candidate has 1 minus its softmax share, without temperature, among the
    similarities of all that the anchor mined and its own (fixed at 1): the less alike, the more weight. Then softmax
    over the positives. Similarities .9, .85, .75 give .745, .757, .780 and q' = .298 (itself), .230, .233, .239.

    Args:
        found: (B, K) candidates.
        column: (B, K) int64, of `columns`.
        width: B1.

    Returns:
        (B, B1) float32, rows sum to 1.
    """
    rows = torch.arange(len(column), device=column.device)
    similarity = torch.cat([torch.ones_like(found.similarity[:, :1]), found.similarity], dim=1)
    positive = F.pad(found.mined, (1, 0), value=True)
    share = similarity.masked_fill(~positive, float("-inf")).softmax(dim=1)[:, 1:]
    relation = torch.full((len(column), width), float("-inf"), device=column.device)
    relation[rows, rows] = 1.0
    row, place = found.mined.nonzero(as_tuple=True)
    relation[row, column[row, place]] = 1.0 - share[row, place]
    return relation.softmax(dim=1)


def all_rows(target: Tensor) -> Tensor:
    """The square target of the released code, in which the added entries are anchors too (methods.md 5, row 17).

    An added entry's positives are itself and the anchors that mined it, all with Q' = 1. INFERENCE: methods.md says
    that they are 1, not which they are; the transpose of what the anchors mined is the symmetric reading.

    Args:
        target: (B, B1), of `association_targets`.

    Returns:
        (B1, B1), rows sum to 1.
    """
    batch, width = target.shape
    itself = torch.eye(width - batch, dtype=torch.bool, device=target.device)
    related = torch.cat([(target[:, batch:] > 0).T, itself], dim=1).float()
    return torch.cat([target, related / related.sum(dim=1, keepdim=True)])


def association_loss(
    images: Tensor,
    texts: Tensor,
    stored_images: Tensor,
    stored_texts: Tensor,
    target: Tensor,
    *,
    tau: float,
    eps: float = EPSILON,
    rows: Rows = "paper",
) -> Tensor:
    """KL(p' || q') of the batch's texts over images, and of its images over texts, summed (eqs 16-18).

    The upper limit "S" of eq 16 is read as B1. Image to text uses the same columns and targets, those of the visual
    anchors.

    Args:
        images, texts: (B, D) float, normalised here; gradients pass through them only.
        stored_images, stored_texts: (E, D), the bank entries that `columns` added, normalised here.
        target: (B, B1), of `association_targets`.
        tau: temperature, > 0.
        rows: "paper" averages over the B anchors; "all" takes the added entries as anchors too and averages over B1.

    Returns:
        Scalar.
    """
    all_images = F.normalize(torch.cat([images, stored_images.to(images.dtype)]), dim=-1)
    all_texts = F.normalize(torch.cat([texts, stored_texts.to(texts.dtype)]), dim=-1)
    wanted = all_rows(target) if rows == "all" else target
    to_images = all_texts[: len(wanted)] @ all_images.T / tau
    to_texts = all_images[: len(wanted)] @ all_texts.T / tau
    return divergence(to_images, wanted, eps) + divergence(to_texts, wanted, eps)
