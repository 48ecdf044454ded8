"""Micro-batching: one worker thread that starts at once and takes along whatever is waiting."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from app.embedding.grouping import next_group
from app.embedding.watchdog import WATCHDOG, give_up
from app.errors import EncoderBusyError, EncoderStalledError, EncoderTimeoutError

T = TypeVar("T")
R = TypeVar("R")
_log = logging.getLogger(__name__)
IDLE_S = 60.0
"""Seconds without work after which the thread ends, so that a model that was replaced can be freed."""
MOST_ABANDONED = 2
"""Threads of a queue that may hang at the same time; with one more the process is at its end."""
_FADING = 0.8
"""How much of the memory of earlier passes remains after the next one, in what passes take."""
_SHARE = 0.25
"""Part of an item's patience that one pass may take, where there is a choice."""
_SLOWER = 8.0
"""How many times the expected time a pass may take before it counts as hung, if that is longer than `stall_s`."""
_MOST_STALLS = 4.0
"""How many times `stall_s` that may be."""
_LONGEST_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class Guarding:
    """What to do about a pass that does not end.

    Attributes:
        stall_s: seconds after which it counts as hung.
        trial: a small pass, with which a new thread shows that passes end again.
        end: called with the reason when too many threads hang; ends the process.
    """

    stall_s: float
    trial: Callable[[], object]
    end: Callable[[str], object] = give_up


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[T, R]):
    item: T
    size: int
    limit: float
    """`time.monotonic()` at which nobody waits for it any more."""
    future: "Future[R]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Counts:
    """What became of the items of a queue: answered with a result, failed, refused, dropped because they were
    cancelled or late; and how many passes there were, and how many threads were given up."""

    answered: int = 0
    failed: int = 0
    refused: int = 0
    cancelled: int = 0
    late: int = 0
    passes: int = 0
    abandoned: int = 0


class Batcher(Generic[T, R]):
    """Calls `work` with lists of waiting items on a thread of its own.

    Nothing waits for a batch to fill: an item that comes alone is worked on alone, and items that come meanwhile
    form the next batches. An item that was cancelled, or whose patience ended, before its turn is dropped. When a
    batch fails its halves are tried, down to single items, so that each gets its own answer or its own error. The
    thread survives that; if it hangs, another takes its place.

    Args:
        work: maps a list of items to the list of their results.
        batch: most items in one call.
        waiting: most items in the queue; one more raises `EncoderBusyError`.
        size: what an item costs, if that differs: items of like size are worked on together (`grouping`).
        overhead: what a call costs by itself, in the same unit.
        patience_s: seconds for which an item may wait.
        guarding: what to do when a call hangs; without it nothing is done.
        waited: told the seconds that each item was in the queue, when its turn has come.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        *,
        batch: int,
        waiting: int,
        name: str,
        size: Callable[[T], int] = lambda item: 1,
        overhead: int = 0,
        patience_s: float = math.inf,
        guarding: Guarding | None = None,
        waited: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self._work, self._batch, self._waiting, self._name = work, batch, waiting, name
        self._size, self._overhead, self._patience_s, self._guarding = size, overhead, patience_s, guarding
        self._waited = waited
        self._queue: list[_Waiting[T, R]] = []
        self._taken: list[_Waiting[T, R]] = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._generation = 0
        self._hanging = 0
        self._stalled_at: float | None = None
        self._closed = False
        self._spent_s, self._units = 0.0, 0.0
        self.counts = Counts()

    @property
    def trouble(self) -> str | None:
        """Why nothing is answered at present, if that is so."""
        stalled_at = self._stalled_at
        if stalled_at is None:
            return None
        return f"the encoder hangs; it was given up {time.monotonic() - stalled_at:.0f} s ago and is being replaced"

    @property
    def closed(self) -> bool:
        """Whether it takes no items any more."""
        return self._closed

    @property
    def waiting(self) -> int:
        """Items in the queue."""
        return len(self._queue)

    def submit(self, item: T) -> "Future[R]":
        """Queue an item. Its future has the result, or what `work` raised; or `EncoderTimeoutError` if its time came
        before its turn, or `EncoderStalledError` if the call hung.

        Raises:
            EncoderBusyError: the queue is full, or closed for shutdown.
            EncoderStalledError: the thread hangs, and it is not known yet whether another one gets on.
        """
        waiting: _Waiting[T, R] = _Waiting(item, self._size(item), time.monotonic() + self._patience_s)
        with self._changed:
            if self._closed:
                raise EncoderBusyError("the encoder is shutting down; try again in a moment")
            if (trouble := self.trouble) is not None:
                self.counts.refused += 1
                raise EncoderStalledError(f"{trouble}; try again in a moment")
            if len(self._queue) >= self._waiting:
                self._drop()
            if len(self._queue) >= self._waiting:
                self.counts.refused += 1
                seconds = self._seconds_to_wait()
                raise EncoderBusyError(
                    f"{self._waiting} queries are waiting for the encoder; try again in {seconds} s",
                    retry_after=seconds,
                )
            self._queue.append(waiting)
            if self._thread is None:
                self._start()
            else:
                self._changed.notify()
        return waiting.future

    def learn_pace(self, sizes: Sequence[int], seconds: float) -> None:
        """Tell how long a call with items of these sizes takes, before there was one."""
        with self._changed:
            self._remember(sizes, seconds)

    def close(self) -> None:
        """Finish what is queued, then end the thread. Does not wait for one that hangs."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        while (thread := self._thread) is not None:
            thread.join(0.1)

    def _start(self, *, trial: bool = False) -> None:
        self._thread = threading.Thread(target=self._run, args=(self._generation, trial), name=self._name, daemon=True)
        self._thread.start()

    def _run(self, generation: int, trial: bool) -> None:
        if trial and not self._tried(generation):
            return
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    if not self._changed.wait(IDLE_S) and not self._queue:
                        break
                if not self._queue:
                    self._thread = None  # the next `submit` starts another
                    return
                taken = self._taken = self._take()
            if taken:
                self._tell_waits(taken)
                self._answer(taken, generation)
                if self._left(generation):
                    return
            # Or this frame would hold the last items, and what they hold, for as long as it waits.
            taken = []

    def _tell_waits(self, taken: list[_Waiting[T, R]]) -> None:
        began = time.monotonic()
        for waiting in taken:
            self._waited(began - waiting.since)

    def _take(self) -> list[_Waiting[T, R]]:
        """The next batch, out of the queue."""
        self._drop()
        if not self._queue:
            return []
        sizes = [waiting.size for waiting in self._queue]
        group = next_group(sizes, self._batch, self._overhead)
        if (pace := self._pace()) is not None and self._patience_s < math.inf:
            largest = max(sizes[place] for place in group)
            most = (self._patience_s * _SHARE / pace - self._overhead) / max(1, largest)
            group = group[: max(1, int(min(most, self._batch)))]
        chosen = set(group)
        taken = [waiting for place, waiting in enumerate(self._queue) if place in chosen]
        self._queue = [waiting for place, waiting in enumerate(self._queue) if place not in chosen]
        live = [waiting for waiting in taken if waiting.future.set_running_or_notify_cancel()]
        self.counts.cancelled += len(taken) - len(live)
        return live

    def _drop(self) -> None:
        """Leave out what nobody waits for any more."""
        now, kept = time.monotonic(), list[_Waiting[T, R]]()
        for waiting in self._queue:
            if waiting.future.cancelled():
                self.counts.cancelled += 1
            elif waiting.limit < now:
                self.counts.late += 1
                self._fail(
                    waiting, EncoderTimeoutError("the encoder did not come to it in time; try again in a moment")
                )
            else:
                kept.append(waiting)
        self._queue = kept

    def _answer(self, taken: list[_Waiting[T, R]], generation: int) -> None:
        began = time.monotonic()
        try:
            with self._watched(taken, generation):
                results = self._work([waiting.item for waiting in taken])
            if len(results) != len(taken):
                raise RuntimeError(f"{len(taken)} items gave {len(results)} results")
        except BaseException as error:  # noqa: BLE001  whatever the work raises belongs to its caller, not to this thread
            if self._generation != generation:
                return
            if len(taken) == 1:
                self.counts.failed += 1
                self._fail(taken[0], error)
                return
            _log.warning("a batch of %d failed, trying its halves: %s", len(taken), error)
            middle = len(taken) // 2
            self._answer(taken[:middle], generation)
            if self._generation == generation:
                self._answer(taken[middle:], generation)
            return
        with self._changed:
            self.counts.passes += 1
            if self._generation == generation:  # else it hung, and says nothing about others
                self.counts.answered += len(taken)
                self._remember([waiting.size for waiting in taken], time.monotonic() - began)
        for waiting, result in zip(taken, results, strict=True):
            with suppress(InvalidStateError):  # it was given up meanwhile
                waiting.future.set_result(result)

    def _fail(self, waiting: _Waiting[T, R], error: BaseException) -> None:
        with suppress(InvalidStateError):
            waiting.future.set_exception(error)

    def _pace(self) -> float | None:
        """Seconds for a unit of size, of late."""
        return self._spent_s / self._units if self._units else None

    def _remember(self, sizes: Sequence[int], seconds: float) -> None:
        self._spent_s = _FADING * self._spent_s + seconds
        self._units = _FADING * self._units + self._overhead + len(sizes) * max(sizes)

    def _seconds_to_wait(self) -> int:
        """How long the queue takes at the present pace, for people who come back."""
        pace = self._pace() or 0.0
        ahead = [waiting.size for waiting in (*self._taken, *self._queue)]
        units = sum(ahead) + self._overhead * math.ceil(len(ahead) / self._batch)
        return min(_LONGEST_RETRY_S, max(1, math.ceil(units * pace)))

    def _watched(self, taken: list[_Waiting[T, R]], generation: int) -> AbstractContextManager[None]:
        if self._guarding is None:
            return nullcontext()
        expected = (self._pace() or 0.0) * (self._overhead + len(taken) * max((w.size for w in taken), default=1))
        limit = min(max(1.0, _SLOWER * expected / self._guarding.stall_s), _MOST_STALLS) * self._guarding.stall_s
        return WATCHDOG.watching(limit, lambda: self._abandon(generation, limit))

    def _abandon(self, generation: int, limit_s: float) -> None:
        """Give up the thread, which hangs, and start another one that shows first that it does not."""
        assert self._guarding is not None
        with self._changed:
            if self._generation != generation:
                return
            self._generation += 1
            self._hanging += 1
            self.counts.abandoned += 1
            self._stalled_at = self._stalled_at or time.monotonic()
            lost, self._taken = self._taken, []
            hopeless = self._hanging > MOST_ABANDONED
            _log.error(
                "%s has not ended a pass within %.1f s; it is given up, with %d queries (%d threads hang)",
                self._name, limit_s, len(lost), self._hanging,
            )  # fmt: skip
            if hopeless:
                self._thread = None
            else:
                self._start(trial=True)
        for waiting in lost:
            if not waiting.future.done():
                self.counts.failed += 1
            self._fail(waiting, EncoderStalledError("the encoder hung and was given up; try again in a moment"))
        if hopeless:
            self._guarding.end(f"{self._name}: {self._hanging} threads hang")

    def _tried(self, generation: int) -> bool:
        """Whether a new thread gets through a small pass, as the one before it did not."""
        assert self._guarding is not None
        try:
            with self._watched([], generation):
                self._guarding.trial()
        except Exception:  # noqa: BLE001  it ended, which is what was asked; queries will say what is wrong
            _log.exception("%s: the first pass of the new thread failed", self._name)
        if self._left(generation):
            return False
        with self._changed:
            self._stalled_at = None
        _log.warning("%s gets on again, on a new thread", self._name)
        return True

    def _left(self, generation: int) -> bool:
        """After a pass: whether this thread was given up during it."""
        with self._changed:
            if self._generation == generation:
                self._taken = []
                return False
            self._hanging -= 1
        _log.warning("%s: a pass that was given up has ended after all", self._name)
        return True
