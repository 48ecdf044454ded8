"""What an image tower has at its places half-way through: seen, and exchanged, by whoever explains a score.

A tower calls `tap` in the middle. Nothing happens there but within `tapping`, and only in the thread that called it:
other threads encode with the same network meanwhile, which a hook on its modules would disturb.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

Tap = Callable[[Tensor, tuple[int, int]], Tensor]
"""Given places (B, rows * columns, C) and their grid (rows, columns); what it returns takes their place. It may have
more rows than B: a multiple of it, each row repeated."""

_TAP: ContextVar[Tap | None] = ContextVar("descry-tap", default=None)


@contextmanager
def tapping(tap: Tap) -> Iterator[None]:
    """Let towers that this thread calls within the block hand their places to `tap`."""
    token = _TAP.set(tap)
    try:
        yield
    finally:
        _TAP.reset(token)


def is_tapped() -> bool:
    """Whether somebody wants to see the places."""
    return _TAP.get() is not None


def tap_maps(maps: Tensor) -> Tensor:
    """For towers whose places are maps (B, C, rows, columns)."""
    if (tap := _TAP.get()) is None:
        return maps
    grid = (int(maps.shape[2]), int(maps.shape[3]))
    seen = tap(maps.flatten(2).transpose(1, 2), grid)
    return seen.transpose(1, 2).reshape(len(seen), -1, *grid)


def tap_tokens(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """For towers whose places are the last rows * columns of their tokens (B, N, C); class tokens come before them."""
    if (tap := _TAP.get()) is None:
        return tokens
    first = tokens.shape[1] - grid[0] * grid[1]
    seen = tap(tokens[:, first:], grid)
    heads = tokens[:, :first].repeat_interleave(len(seen) // len(tokens), dim=0)
    return torch.cat([heads, seen], dim=1)
