"""Random numbers of a batch's samples that do not depend on how the batch is spread over processes.

A network that drops words or paths draws from here instead of `torch.rand`. Within `samples_of` the numbers are drawn
for the whole batch from the default generator, which all processes seed alike, and those of this process's samples are
returned; elsewhere `sample_uniform` is `torch.rand`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_SAMPLES: ContextVar[tuple[Tensor, int] | None] = ContextVar("samples", default=None)


@contextmanager
def samples_of(rows: Tensor, whole: int) -> Iterator[None]:
    """Say which samples of a batch the calls within are about.

    Args:
        rows: (b,) int64, their places in the batch.
        whole: samples in the batch.
    """
    token = _SAMPLES.set((rows, whole))
    try:
        yield
    finally:
        _SAMPLES.reset(token)


def sample_uniform(
    samples: int, *shape: int, device: torch.device | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Uniform in [0, 1), (`samples`, *`shape`) float32; one row a sample, in the batch's order.

    Raises:
        ValueError: within `samples_of`, another number of samples than was said.
    """
    whole, rows = _drawn(samples)
    return _kept(torch.rand(whole, *shape, device=device, generator=generator), rows)


def sample_integers(low: int, high: int, samples: int, *shape: int, generator: torch.Generator | None = None) -> Tensor:
    """Integers in [`low`, `high`), (`samples`, *`shape`) int64; otherwise as `sample_uniform`."""
    whole, rows = _drawn(samples)
    return _kept(torch.randint(low, high, (whole, *shape), generator=generator), rows)


def _drawn(samples: int) -> tuple[int, Tensor | None]:
    told = _SAMPLES.get()
    if told is None:
        return samples, None
    rows, whole = told
    if len(rows) != samples:
        raise ValueError(f"random numbers for {samples} samples were asked for, this part of the batch has {len(rows)}")
    return whole, rows


def _kept(numbers: Tensor, rows: Tensor | None) -> Tensor:
    return numbers if rows is None else numbers[rows.to(numbers.device)]
