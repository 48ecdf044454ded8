"""Hiding words of a description (DGCMIA, eq 20)."""

import torch
from torch import Tensor

from models.noise import sample_uniform
from models.tokenizers import Tokenizer


def mask_words(ids: Tensor, tokenizer: Tokenizer, probability: float, *, always_first: bool = False) -> Tensor:
    """Replace each word by the tokenizer's mask id with the same probability, each by itself; nothing else changes.

    There is no 80/10/10 split of BERT (methods.md 5, row 20). Random numbers come from `sample_uniform`.

    Args:
        ids: (B, L) int64.
        probability: in [0, 1]; the paper has 0.5.
        always_first: hide the first word of every text too, which the released code does by oversight.

    Returns:
        (B, L) int64, a new tensor: the clean ids stay clean.
    """
    words = tokenizer.words(ids)
    hidden = sample_uniform(*ids.shape, device=ids.device) < probability
    if always_first:
        hidden |= words.cumsum(dim=1) == 1
    return torch.where(hidden & words, tokenizer.mask_id, ids)
