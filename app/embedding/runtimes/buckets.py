"""The shapes that are compiled, and how a batch of any size is cut and padded to them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.encoder import PersonEncoder
from models.tokenizers import PAD

_LENGTHS = (16, 32, 48)
_ROWS = {"cpu": (1, 8), "cuda": (1, 8, 32)}
"""On a CPU a batch is spread over the cores first, and each takes few rows."""
_FILLED = {"cpu": 0.5, "cuda": 0.0}
"""What share of a shape must be filled at least, if smaller ones do it too: a row of padding costs a CPU as much as any
other row, and a GPU next to nothing."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The shapes of an encoder that are compiled: `texts` x `lengths`, and `pictures`.

    Attributes:
        texts: rows of a batch of texts, ascending, >= 1.
        lengths: tokens of a text, ascending; the last one is what the tokenizer keeps of a text.
        pictures: rows of a batch of pictures, ascending, >= 1.

    Raises:
        ValueError: one of them is empty or does not ascend.
    """

    texts: tuple[int, ...]
    lengths: tuple[int, ...]
    pictures: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, sizes in (("texts", self.texts), ("lengths", self.lengths), ("pictures", self.pictures)):
            if not sizes or sizes[0] < 1 or list(sizes) != sorted(set(sizes)):
                raise ValueError(f"the sizes of {name} must be at least 1 and ascend, got {sizes}")

    @property
    def shapes(self) -> int:
        """How many are compiled."""
        return len(self.texts) * len(self.lengths) + len(self.pictures)


def buckets_of(encoder: PersonEncoder, device: torch.device) -> Buckets:
    """The shapes that a service needs of an encoder on a device."""
    longest, rows = encoder.spec.tokenizer.length, _ROWS[device.type]
    return Buckets(rows, (*(length for length in _LENGTHS if length < longest), longest), rows)


def least_filled(device: torch.device) -> float:
    """See `passes`."""
    return _FILLED[device.type]


def passes(rows: int, sizes: Sequence[int], *, filled: float) -> list[tuple[int, int]]:
    """How a batch is cut into passes of fixed sizes.

    Args:
        rows: of the batch, >= 1.
        sizes: of passes, ascending.
        filled: a pass is padded only if more than this share of it is used, or nothing smaller will do.

    Returns:
        For each pass how many rows of the batch it takes, and its size, which is not smaller.
    """
    cut: list[tuple[int, int]] = []
    while rows > 0:
        above = next((size for size in sizes if size >= rows), None)
        below = next((size for size in reversed(sizes) if size <= rows), None)
        if above is not None and (below is None or rows > filled * above):
            return [*cut, (rows, above)]
        assert below is not None  # the largest size is either too small or large enough
        cut.append((below, below))
        rows -= below
    return cut


def next_length(tokens: int, lengths: Sequence[int]) -> int:
    """The smallest of the lengths that holds a text.

    Raises:
        ValueError: none does.
    """
    length = next((length for length in lengths if length >= tokens), None)
    if length is None:
        raise ValueError(f"a text of {tokens} tokens, and none longer than {lengths[-1]} was compiled")
    return length


def padded(rows: Tensor, shape: Sequence[int]) -> Tensor:
    """A batch in a new tensor of a shape: texts get padding behind them, and the last row is repeated.

    Always a new one: what is compiled tells tensors apart by their strides too.

    Args:
        rows: ids (B, L) int64 or pictures (B, 3, H, W) uint8.
        shape: at least as large in each dimension.
    """
    made = torch.full(tuple(shape), PAD, dtype=rows.dtype, device=rows.device)
    made[: len(rows), : rows.shape[1]] = rows
    made[len(rows) :] = made[len(rows) - 1]
    return made
