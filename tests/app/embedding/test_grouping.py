"""Which items share a pass."""

from hypothesis import given
from hypothesis import strategies as st

from app.embedding.grouping import next_group

SIZES = st.lists(st.integers(1, 77), min_size=1, max_size=60)


def cost(sizes: list[int], overhead: int) -> int:
    return overhead + len(sizes) * max(sizes)


@given(SIZES, st.integers(1, 40), st.integers(0, 50))
def test_the_oldest_is_always_in_the_next_pass(sizes: list[int], batch: int, overhead: int) -> None:
    group = next_group(sizes, batch, overhead)
    assert group[0] == 0
    assert group == sorted(set(group))
    assert len(group) <= batch
    assert group[-1] < len(sizes)


@given(SIZES, st.integers(1, 40), st.integers(0, 50))
def test_every_item_has_its_turn_after_at_most_as_many_passes_as_items_came_before(
    sizes: list[int], batch: int, overhead: int
) -> None:
    waiting, passes = list(enumerate(sizes)), 0
    while waiting:
        group = set(next_group([size for _, size in waiting], batch, overhead))
        assert all(passes <= waiting[place][0] for place in group)
        waiting = [item for place, item in enumerate(waiting) if place not in group]
        passes += 1


@given(SIZES, st.integers(0, 50))
def test_passes_by_length_never_cost_more_than_one_for_all(sizes: list[int], overhead: int) -> None:
    waiting, spent = list(sizes), 0
    while waiting:
        group = set(next_group(waiting, len(sizes), overhead))
        spent += cost([waiting[place] for place in group], overhead)
        waiting = [size for place, size in enumerate(waiting) if place not in group]
    assert spent <= cost(sizes, overhead)


def test_short_texts_do_not_pay_for_a_long_one() -> None:
    assert next_group([8, 9, 77, 8, 10], batch=32, overhead=24) == [0, 1, 3, 4]
    assert next_group([77, 9, 8, 8, 10], batch=32, overhead=24) == [0]
    assert next_group([8, 12], batch=32, overhead=24) == [0, 1]
