"""Passes that hang, on real threads: queries get an error, another thread takes over, and at last the process ends."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest

from app.embedding.batcher import MOST_ABANDONED, Batcher, Guarding
from app.embedding.watchdog import RESTART_CODE, Watchdog
from app.errors import EncoderStalledError
from tests.waiting import PROCESS_S, until

STALL_S = 1.0
"""A pass that nothing holds up takes far less, on a busy machine too."""


class Hanging:
    """Doubles numbers; hangs at numbers for which there is a gate, and in the trial while there is one for 0."""

    def __init__(self) -> None:
        self.gates: dict[int, threading.Event] = {}
        self.trials = 0
        self.entered = threading.Event()

    def gate(self, item: int) -> threading.Event:
        return self.gates.setdefault(item, threading.Event())

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.entered.set()
        for item in items:
            if item in self.gates:
                self.gates[item].wait(60)
        return [2 * item for item in items]

    def trial(self) -> None:
        self.trials += 1
        self([0])


@pytest.fixture
def work() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    for gate in hanging.gates.values():
        gate.set()


def queue_over(work: Hanging, ended: list[str] | None = None) -> Batcher[int, int]:
    reasons = [] if ended is None else ended
    return Batcher(work, batch=4, waiting=10, name="t", guarding=Guarding(STALL_S, work.trial, reasons.append))


def recover(queue: Batcher[int, int]) -> None:
    """Wait until the queue takes queries again."""
    until(lambda: queue.trouble is None, "the queue takes queries again")


def test_a_thread_that_hangs_is_replaced_and_what_waits_is_answered(
    work: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    queue, gate = queue_over(work), work.gate(7)
    stuck = queue.submit(7)
    assert work.entered.wait(60)
    waiting = queue.submit(1)
    with caplog.at_level(logging.WARNING), pytest.raises(EncoderStalledError):
        stuck.result(60)
    assert waiting.result(60) == 2
    recover(queue)
    assert queue.submit(2).result(60) == 4
    assert (queue.counts.abandoned, work.trials) == (1, 1)
    assert "is given up, with 1 queries" in caplog.text
    gate.set()
    queue.close()


def test_while_the_new_thread_hangs_too_nothing_is_taken(work: Hanging) -> None:
    ended: list[str] = []
    queue = queue_over(work, ended)
    work.gate(7)
    work.gate(0)
    with pytest.raises(EncoderStalledError):
        queue.submit(7).result(60)
    with pytest.raises(EncoderStalledError, match="hangs"):
        queue.submit(1)
    assert queue.trouble is not None
    work.gates[0].set()
    recover(queue)
    assert queue.submit(1).result(60) == 2
    work.gates[7].set()
    queue.close()


def test_the_process_is_ended_when_too_many_threads_hang(work: Hanging) -> None:
    ended: list[str] = []
    queue = queue_over(work, ended)
    for item in range(MOST_ABANDONED + 1):
        work.gate(item + 1)
        recover(queue)
        with pytest.raises(EncoderStalledError):
            queue.submit(item + 1).result(60)
    until(lambda: bool(ended), "the process is ended")
    assert ended == [f"t: {MOST_ABANDONED + 1} threads hang"]
    with pytest.raises(EncoderStalledError):
        queue.submit(50)
    queue.close()


def test_threads_that_come_back_do_not_count_any_more(work: Hanging) -> None:
    ended: list[str] = []
    queue = queue_over(work, ended)
    for item in range(2 * MOST_ABANDONED):
        gate = work.gate(item + 1)
        recover(queue)
        with pytest.raises(EncoderStalledError):
            queue.submit(item + 1).result(60)
        gate.set()
        recover(queue)
    assert queue.submit(50).result(60) == 100
    assert ended == []
    queue.close()


def test_a_pass_that_ends_in_time_is_left_alone() -> None:
    watchdog, called = Watchdog(), threading.Event()
    for _ in range(3):
        with watchdog.watching(60, called.set):
            pass
    with watchdog.watching(0.01, called.set):
        assert called.wait(60)


def test_one_that_cannot_be_dealt_with_leaves_the_others_watched() -> None:
    watchdog, called = Watchdog(), threading.Event()

    def fail() -> None:
        raise ValueError("no")

    with watchdog.watching(0.01, fail), watchdog.watching(0.3, called.set):
        assert called.wait(60)


def test_the_end_of_a_process_says_why_in_log_and_code() -> None:
    program = (
        "import logging, threading\n"
        "from app.embedding.watchdog import give_up\n"
        "logging.basicConfig()\n"
        "threading.Thread(target=threading.Event().wait).start()\n"  # no other end gets past a thread that hangs
        "give_up('three threads hang')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PROCESS_S, env=os.environ
    )
    assert ended.returncode == RESTART_CODE
    assert "three threads hang" in ended.stderr
