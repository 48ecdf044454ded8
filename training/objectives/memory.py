"""Memory banks: a feature of every training pair, and the search for likely partners in them (DGCMIA, eqs 11-12)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALLEST_NORM = 1e-12


@dataclass(frozen=True, slots=True)
class Candidates:
    """What the image bank holds that looks like each anchor of the batch.

    Attributes:
        pairs: (B, K) int64, rows of the bank, most similar first.
        similarity: (B, K) float, cosine between anchor and stored image feature; -inf where there was no row to take.
        mined: (B, K) bool, whether the similarity exceeds the threshold: the sets J_i.
    """

    pairs: Tensor
    similarity: Tensor
    mined: Tensor


@torch.no_grad()
def update_bank(bank: Tensor, filled: Tensor, rows: Tensor, features: Tensor, alpha: float) -> None:
    """Blend new features into their rows, in place: f^ = alpha f + (1 - alpha) f^_old (eq 11).

    A row that was never filled takes the feature as it is, which is what the first epoch does (methods.md 5).

    Args:
        bank: (N, D) float32 or float16.
        filled: (N,) bool, which rows hold a feature. Not changed here: two banks share it.
        rows: (B,) int64 without repetitions.
        features: (B, D) float.
        alpha: share of the new feature, in (0, 1].
    """
    fresh = features.to(bank.dtype)
    blended = (alpha * features.float() + (1 - alpha) * bank[rows].float()).to(bank.dtype)
    bank[rows] = torch.where(filled[rows].unsqueeze(-1), blended, fresh)


@torch.no_grad()
def find_candidates(
    images: Tensor, bank: Tensor, filled: Tensor, own: Tensor, *, top_k: int, threshold: float
) -> Candidates:
    """The `top_k` most similar stored images of each anchor, and which of them exceed the threshold (eq 12).

    The anchor's own row is excluded by its number: the released code drops the first place instead, which need not be
    the anchor (methods.md 5). The same image under its other caption is a legal candidate.

    Args:
        images: (B, D) float, normalised here. No gradient passes.
        bank: (N, D) image bank; rows that are not `filled` (N,) bool are never candidates.
        own: (B,) int64, each anchor's row.
        top_k: at most this many for each anchor, >= 1; fewer if the bank is smaller.
        threshold: cosine that must be exceeded (strictly).
    """
    stored = bank.float()
    # Dividing by the norms spares a normalised copy of the whole bank in every step.
    norms = torch.linalg.vector_norm(stored, dim=1).clamp_min(_SMALLEST_NORM)
    similarity = (F.normalize(images.float(), dim=-1) @ stored.T) / norms
    similarity.masked_fill_(~filled, float("-inf"))
    similarity.scatter_(1, own.unsqueeze(1), float("-inf"))
    best = similarity.topk(min(top_k, len(bank)), dim=1)
    return Candidates(best.indices, best.values, best.values > threshold)
