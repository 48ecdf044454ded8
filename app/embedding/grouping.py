"""Which of the waiting items share a pass: those of like length, with the oldest always among them."""

from collections.abc import Sequence


def next_group(sizes: Sequence[int], batch: int, overhead: int) -> list[int]:
    """Choose the items of the next pass.

    A pass costs `overhead` and, for each of its items, the size of the largest one: what is short is padded. The items
    are parted by size wherever two passes cost less than one, and the part with the oldest item is chosen, so that an
    item waits for at most as many passes as there were items before it.

    Args:
        sizes: of the waiting items, the oldest first; at least one.
        batch: most items of a pass, >= 1.
        overhead: cost of a pass, in units of size, >= 0.

    Returns:
        At most `batch` positions in `sizes`, ascending. The first is 0.
    """
    if len(sizes) == 1:
        return [0]
    ranked = sorted(range(len(sizes)), key=sizes.__getitem__)
    low, high = 0, len(ranked)
    oldest = ranked.index(0)
    while (cut := _cut([sizes[place] for place in ranked[low:high]], overhead)) is not None:
        if oldest < low + cut:
            high = low + cut
        else:
            low += cut
    return sorted(ranked[low:high])[:batch]


def _cut(ascending: list[int], overhead: int) -> int | None:
    """How many of the smallest should go by themselves; None if nothing is won by that."""
    largest, best, cut = ascending[-1], overhead, None
    for place, size in enumerate(ascending[:-1], 1):
        if (won := place * (largest - size)) > best:
            best, cut = won, place
    return cut
