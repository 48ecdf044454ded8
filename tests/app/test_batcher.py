"""The micro-batching queue: starts at once, batches what waits, drops the abandoned, survives errors."""

import threading
from collections.abc import Sequence

import pytest

from app.embedding import batcher
from app.embedding.batcher import Batcher
from app.errors import EncoderBusyError


class Work:
    """Doubles numbers; waits at the gate; refuses 13."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.gate.wait(5)
        if 13 in items:
            raise ValueError("unlucky")
        return [2 * item for item in items]


@pytest.fixture
def work() -> Work:
    return Work()


def test_what_waits_is_worked_on_together(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=10, name="t")
    first = queue.submit(1)
    assert work.entered.wait(5)
    rest = [queue.submit(item) for item in (2, 3, 4, 5)]
    work.gate.set()
    assert [future.result(5) for future in (first, *rest)] == [2, 4, 6, 8, 10]
    assert work.batches == [[1], [2, 3, 4], [5]]
    queue.close()


def test_a_full_queue_refuses_and_recovers(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=2, name="t")
    futures = [queue.submit(1)]
    assert work.entered.wait(5)
    futures += [queue.submit(2), queue.submit(3)]
    with pytest.raises(EncoderBusyError):
        queue.submit(4)
    work.gate.set()
    assert [future.result(5) for future in futures] == [2, 4, 6]
    assert queue.submit(5).result(5) == 10
    queue.close()
    with pytest.raises(EncoderBusyError, match="shutting down"):
        queue.submit(6)


def test_abandoned_items_are_dropped(work: Work) -> None:
    queue = Batcher(work, batch=3, waiting=10, name="t")
    first = queue.submit(1)
    assert work.entered.wait(5)
    abandoned, kept = queue.submit(2), queue.submit(3)
    assert abandoned.cancel()
    work.gate.set()
    assert (first.result(5), kept.result(5)) == (2, 6)
    assert work.batches == [[1], [3]]
    queue.close()


def test_one_bad_item_fails_alone_and_the_thread_survives(work: Work) -> None:
    queue = Batcher(work, batch=5, waiting=10, name="t")
    work.gate.set()
    good = [queue.submit(item) for item in (1, 2)]
    bad = queue.submit(13)
    good.append(queue.submit(3))
    assert [future.result(5) for future in good] == [2, 4, 6]
    with pytest.raises(ValueError, match="unlucky"):
        bad.result(5)
    assert queue.submit(4).result(5) == 8
    queue.close()


def test_an_idle_thread_ends_and_a_new_one_starts(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher, "IDLE_S", 0.01)
    queue = Batcher(work, batch=5, waiting=10, name="idle-test")
    work.gate.set()
    assert queue.submit(1).result(5) == 2
    for thread in threading.enumerate():
        if thread.name == "idle-test":
            thread.join(5)
    assert queue.submit(2).result(5) == 4
    queue.close()
