"""The pool that decodes pictures: bounded, and what nobody waits for any more is not begun."""

import threading

import pytest

from app.embedding.decoding import DecodePool
from app.errors import EncoderBusyError


def test_more_than_may_wait_are_refused_and_places_come_back() -> None:
    pool, gate, entered, begun = DecodePool(waiting=2, threads=1), threading.Event(), threading.Event(), list[int]()

    def job(number: int) -> int:
        begun.append(number)
        entered.set()
        assert gate.wait(60)
        return number

    first = pool.submit(lambda: job(1))
    assert entered.wait(60)
    second, third = pool.submit(lambda: job(2)), pool.submit(lambda: job(3))
    with pytest.raises(EncoderBusyError) as refused:
        pool.submit(lambda: job(4))
    assert refused.value.retry_after is not None
    assert second.cancel()
    fifth = pool.submit(lambda: job(5))
    gate.set()
    assert [future.result(60) for future in (first, third, fifth)] == [1, 3, 5]
    assert begun == [1, 3, 5]
    pool.close()
    with pytest.raises(EncoderBusyError, match="shutting down"):
        pool.submit(lambda: job(6))
