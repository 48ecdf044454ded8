"""Texts cut where nothing follows that could change their vectors.

CLIP's text tower is causal and read out at <end>, so that a place after it is never read. The other towers know their
padding by its id: convolutions read a row of zeros there, attention and maxima leave it out, the LSTM stops before it.
"""

import torch
from torch import Tensor

from models.tokenizers import PAD, TokenizerSpec


def cut_texts(ids: Tensor, spec: TokenizerSpec) -> Tensor:
    """Token ids (B, L) int64 as short as the batch's longest text allows, at least 1; the vectors stay the same."""
    return cut_after_end(ids) if spec.kind == "clip_bpe" else cut_padding(ids)


def cut_after_end(ids: Tensor) -> Tensor:
    """CLIP's ids (B, L) int64 without what follows the last <end>, the largest id, of the batch.

    While a graph is recorded (tracing, torch.export, torch.compile) nothing is cut: the length would be recorded as a
    number. Whoever runs the graph cuts before.
    """
    if torch._C._is_tracing() or torch.compiler.is_compiling():
        return ids
    return ids[:, : int(ids.argmax(dim=-1).max()) + 1] if len(ids) else ids[:, :1]


def cut_padding(ids: Tensor) -> Tensor:
    """Ids (B, L) int64 without the columns at the end that are padding in all rows."""
    used = (ids != PAD).any(dim=0).nonzero()
    return ids[:, : int(used[-1]) + 1 if len(used) else 1]
