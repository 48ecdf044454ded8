"""Micro-batching: one worker thread that starts at once and takes along whatever is waiting."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from app.errors import EncoderBusyError

T = TypeVar("T")
R = TypeVar("R")
_log = logging.getLogger(__name__)
IDLE_S = 60.0
"""Seconds without work after which the thread ends, so that a model that was replaced can be freed."""


class Batcher(Generic[T, R]):
    """Calls `work` with lists of waiting items on a thread of its own.

    Nothing waits for a batch to fill: an item that comes alone is worked on alone, and items that come meanwhile
    form the next batch. A future that was cancelled before its turn is dropped. When a batch fails its items are
    tried one by one, so that each gets its own answer or its own error; the thread survives either way.

    Args:
        work: maps a list of items to the list of their results.
        batch: most items in one call.
        waiting: most items in the queue; one more raises `EncoderBusyError`.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], *, batch: int, waiting: int, name: str) -> None:
        self._work, self._batch, self._waiting, self._name = work, batch, waiting, name
        self._queue: deque[tuple[T, Future[R]]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, item: T) -> "Future[R]":
        """Queue an item.

        Raises:
            EncoderBusyError: the queue is full, or closed for shutdown.
        """
        future: Future[R] = Future()
        with self._changed:
            if self._closed:
                raise EncoderBusyError("the encoder is shutting down; try again in a moment")
            if len(self._queue) >= self._waiting:
                raise EncoderBusyError(f"{self._waiting} queries are waiting for the encoder; try again in a moment")
            self._queue.append((item, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    if not self._changed.wait(IDLE_S) and not self._queue:
                        break
                if not self._queue:
                    self._thread = None  # the next `submit` starts another
                    return
                taken = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            live = [(item, future) for item, future in taken if future.set_running_or_notify_cancel()]
            if live:
                self._answer(live)

    def _answer(self, live: list[tuple[T, "Future[R]"]]) -> None:
        try:
            results = self._work([item for item, _ in live])
        except Exception as error:  # noqa: BLE001  whatever the work raises belongs to its caller, not to this thread
            if len(live) == 1:
                live[0][1].set_exception(error)
                return
            _log.warning("a batch of %d failed, trying its items one by one: %s", len(live), error)
            for pair in live:
                self._answer([pair])
            return
        for (_, future), result in zip(live, results, strict=True):
            future.set_result(result)
