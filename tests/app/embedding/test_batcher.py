"""The micro-batching queue: starts at once, batches what waits, drops the abandoned, survives errors."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.embedding import batcher
from app.embedding.batcher import Batcher
from app.errors import EncoderBusyError, EncoderTimeoutError


class Work:
    """Doubles numbers; waits at the gate; refuses 13."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.gate.wait(60)
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]


@pytest.fixture
def work() -> Work:
    return Work()


def test_what_waits_is_worked_on_together(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=10, name="t")
    first = queue.submit(1)
    assert work.entered.wait(60)
    rest = [queue.submit(item) for item in (2, 3, 4, 5)]
    work.gate.set()
    assert [future.result(60) for future in (first, *rest)] == [2, 4, 6, 8, 10]
    assert work.batches == [[1], [2, 3, 4], [5]]
    queue.close()


def test_a_full_queue_refuses_and_recovers(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=2, name="t")
    futures = [queue.submit(1)]
    assert work.entered.wait(60)
    futures += [queue.submit(2), queue.submit(3)]
    with pytest.raises(EncoderBusyError):
        queue.submit(4)
    work.gate.set()
    assert [future.result(60) for future in futures] == [2, 4, 6]
    assert queue.submit(5).result(60) == 10
    queue.close()
    with pytest.raises(EncoderBusyError, match="shutting down"):
        queue.submit(6)


def test_abandoned_items_are_dropped(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=10, name="t")
    first = queue.submit(1)
    assert work.entered.wait(60)
    abandoned, kept = queue.submit(2), queue.submit(3)
    assert abandoned.cancel()
    work.gate.set()
    assert (first.result(60), kept.result(60)) == (2, 6)
    assert work.batches == [[1], [3]]
    queue.close()


def test_one_bad_item_fails_alone_and_the_thread_survives(work: Work) -> None:
    queue = Batcher(work, batch=5, waiting=10, name="t")
    work.gate.set()
    good = [queue.submit(item) for item in (1, 2)]
    bad = queue.submit(13)
    good.append(queue.submit(3))
    assert [future.result(60) for future in good] == [2, 4, 6]
    with pytest.raises(ValueError, match="unlucky"):
        bad.result(60)
    assert queue.submit(4).result(60) == 8
    queue.close()


def test_an_idle_thread_ends_and_a_new_one_starts(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "IDLE_S", 0.01)
    queue = Batcher(work, batch=5, waiting=10, name="idle-test")
    work.gate.set()
    assert queue.submit(1).result(60) == 2
    for thread in threading.enumerate():
        if thread.name == "idle-test":
            thread.join(60)
    assert queue.submit(2).result(60) == 4
    queue.close()


def test_a_failing_batch_is_halved_until_the_bad_item_is_alone(work: Work) -> None:
    queue = Batcher(work, batch=8, waiting=10, name="t")
    first = queue.submit(0)
    assert work.entered.wait(60)
    futures = [queue.submit(item) for item in (1, 2, 3, 13, 5, 6, 7, 8)]
    work.gate.set()
    assert first.result(60) == 0
    with pytest.raises(ValueError, match="unlucky"):
        futures.pop(3).result(60)
    assert [future.result(60) for future in futures] == [2, 4, 6, 10, 12, 14, 16]
    assert work.batches[1:] == [[1, 2, 3, 13, 5, 6, 7, 8], [1, 2, 3, 13], [1, 2], [3, 13], [3], [13], [5, 6, 7, 8]]
    assert (queue.counts.answered, queue.counts.failed) == (8, 1)
    queue.close()


def test_a_work_that_ends_its_thread_or_loses_results_loses_no_future() -> None:
    def work(items: Sequence[int]) -> list[int]:
        if 13 in items:
            raise SystemExit
        return list(items)[: len(items) - items.count(7)]

    queue = Batcher(work, batch=4, waiting=10, name="t")
    with pytest.raises(SystemExit):
        queue.submit(13).result(60)
    with pytest.raises(RuntimeError, match="1 items gave 0 results"):
        queue.submit(7).result(60)
    assert queue.submit(1).result(60) == 1
    queue.close()


def test_what_came_too_late_is_not_worked_on(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=2, name="t", patience_s=1.0)
    first = queue.submit(1)
    assert work.entered.wait(60)
    late = [queue.submit(item) for item in (2, 3)]
    time.sleep(1.1)
    kept = queue.submit(4)  # the queue was full, of items that nobody waits for any more
    work.gate.set()
    assert (first.result(60), kept.result(60)) == (2, 8)
    for future in late:
        with pytest.raises(EncoderTimeoutError):
            future.result(60)
    assert work.batches == [[1], [4]]
    assert queue.counts.late == 2
    queue.close()


def test_a_full_queue_of_abandoned_items_has_room(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=2, name="t")
    first = queue.submit(1)
    assert work.entered.wait(60)
    assert all([queue.submit(2).cancel(), queue.submit(3).cancel()])
    kept = queue.submit(4)
    work.gate.set()
    assert (first.result(60), kept.result(60)) == (2, 8)
    assert queue.counts.cancelled == 2
    queue.close()


def test_items_of_like_size_go_together_the_oldest_first(work: Work) -> None:
    queue = Batcher(work, batch=8, waiting=10, name="t", size=lambda item: item, overhead=10)
    first = queue.submit(1)
    assert work.entered.wait(60)
    futures = [queue.submit(item) for item in (90, 5, 80, 6, 7)]
    work.gate.set()
    assert [future.result(60) for future in (first, *futures)] == [2, 180, 10, 160, 12, 14]
    assert work.batches == [[1], [90, 80], [5, 6, 7]]
    queue.close()


def test_a_refusal_says_how_long_the_queue_takes(work: Work) -> None:
    queue = Batcher(work, batch=4, waiting=9, name="t")
    queue.learn_pace([1, 1, 1, 1], 8.0)  # two seconds an item
    queue.submit(1)
    assert work.entered.wait(60)
    for item in range(9):
        queue.submit(item)
    with pytest.raises(EncoderBusyError) as refused:
        queue.submit(10)
    assert refused.value.retry_after == 20
    work.gate.set()
    queue.close()


def test_a_slow_machine_gets_smaller_batches(work: Work) -> None:
    queue = Batcher(work, batch=32, waiting=40, name="t", patience_s=20.0)
    queue.learn_pace([1], 1.0)
    first = queue.submit(0)
    assert work.entered.wait(60)
    futures = [queue.submit(item) for item in range(20, 40)]
    work.gate.set()
    assert first.result(60) == 0
    assert [future.result(60) for future in futures] == [2 * item for item in range(20, 40)]
    assert len(work.batches[1]) < 20, "no batch takes more than a quarter of what its items can wait"
    queue.close()


@given(
    items=st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=30),
    batch=st.integers(1, 8),
    waiting=st.integers(1, 20),
    overhead=st.integers(0, 20),
)
@settings(deadline=None, max_examples=60)
def test_every_item_has_its_own_end(items: list[tuple[int, bool]], batch: int, waiting: int, overhead: int) -> None:
    """Whatever is queued, cancelled, refused and failing: no future is lost, none gets another's result."""
    work = Work()
    queue = Batcher(work, batch=batch, waiting=waiting, name="t", size=lambda item: 1 + item, overhead=overhead)
    queue.submit(0)
    assert work.entered.wait(60)
    futures, refused = list[tuple[int, Future[int]]](), 0
    for item, cancelled in items:
        try:
            future = queue.submit(item)
        except EncoderBusyError:
            assert queue.waiting == waiting
            refused += 1
            continue
        futures.append((item, future))
        if cancelled:
            assert future.cancel()
    work.gate.set()
    queue.close()
    for item, future in futures:
        assert future.done()
        if future.cancelled():
            continue
        if item == 13:
            assert isinstance(future.exception(), ValueError)
        else:
            assert future.result() == 2 * item
    counts, dropped = queue.counts, sum(future.cancelled() for _, future in futures)
    assert all(len(some) <= batch for some in work.batches)
    assert (counts.refused, counts.cancelled) == (refused, dropped)
    assert counts.answered + counts.failed == 1 + len(futures) - dropped
