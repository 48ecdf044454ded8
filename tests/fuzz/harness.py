"""How inputs are made and counted.

`DESCRY_FUZZ_INPUTS` is how many inputs each target gets (`make fuzz`: 10,000); `DESCRY_FUZZ_SEED` (1) chooses others. A
failure names both, and the smallest input that Hypothesis found.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

INPUTS = int(os.environ.get("DESCRY_FUZZ_INPUTS", "60"))
SEED = int(os.environ.get("DESCRY_FUZZ_SEED", "1"))
T = TypeVar("T")
_LARGE = 1 << 16
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
Record = Callable[[str, object], None]
"""Pytest's `record_property`: what it is given stands in the summary at the end."""


def fuzz(
    strategy: st.SearchStrategy[T], target: Callable[[T], str], record: Record, inputs: int = INPUTS
) -> Counter[str]:
    """Give a target the inputs; it says in a word what became of each, and raises where that is a fault.

    Returns:
        How often each word was said.
    """
    seen: Counter[str] = Counter()
    last: list[T] = []
    began = time.perf_counter()

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @hypothesis.given(strategy)
    def each(given: T) -> None:
        last[:] = [given]
        seen[target(given)] += 1

    try:
        each()
    except BaseException as error:
        error.add_note(
            f"DESCRY_FUZZ_SEED={SEED} DESCRY_FUZZ_INPUTS={INPUTS}, after {seen.total()} inputs: {last!r:.3000}"
        )
        raise
    finally:
        words = ", ".join(f"{word} {count:,}" for word, count in seen.most_common())
        record("fuzz", f"{seen.total():,} inputs in {time.perf_counter() - began:.0f} s, seed {SEED}: {words}")
    assert seen.total() >= inputs, "there are fewer inputs than were asked for"
    return seen


@st.composite
def often(draw: st.DrawFn, *kinds: tuple[int, st.SearchStrategy[T]]) -> T:
    """One of several strategies, each as often as the number before it says. (`one_of` forgets what comes twice.)"""
    places = [place for place, (count, _) in enumerate(kinds) for _ in range(count)]
    return draw(kinds[draw(st.sampled_from(places))][1])


@st.composite
def mutated(draw: st.DrawFn, samples: st.SearchStrategy[bytes]) -> bytes:
    """A sound sample, damaged in up to five places."""
    data = bytearray(draw(samples))
    for _ in range(draw(st.integers(1, 5))):
        _damage(draw, data)
    return bytes(data[: 4 * _LARGE])


def _damage(draw: st.DrawFn, data: bytearray) -> None:
    # Most structure is near the beginning and the end.
    place = draw(st.one_of(st.integers(0, 64), st.integers(-64, -1), st.integers(0, max(1, len(data)))))
    place = place % (len(data) + 1)
    size = draw(st.integers(1, 32))
    how = draw(st.integers(0, 6))
    if how == 0:
        data[place : place + 1] = bytes([draw(st.integers(0, 255))])
    elif how == 1:
        number, width, order = draw(st.sampled_from(_NUMBERS)), draw(st.sampled_from([1, 2, 4])), draw(_ORDERS)
        data[place : place + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, order)
    elif how == 2:
        del data[place:]
    elif how == 3:
        del data[place : place + size]
    elif how == 4:
        data[place:place] = data[place : place + size]
    elif how == 5:
        data[place:place] = draw(st.binary(max_size=32))
    elif len(data) < _LARGE:
        other = place + draw(st.integers(0, 256))
        data[place : place + size], data[other : other + size] = data[other : other + size], data[place : place + size]


_ORDERS: st.SearchStrategy = st.sampled_from(["little", "big"])
