"""Pictures of queries are decoded in a few threads of their own, beside the encoder and never in the event loop.

As many as there are cores: each picture may take hundreds of megabytes while it is decoded, and more threads are not
faster.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from app.errors import EncoderBusyError
from app.lanes import cores

R = TypeVar("R")
_CORES = cores()


class DecodePool:
    """Runs jobs. Methods may be called from any thread.

    Args:
        waiting: jobs that may wait; one more raises `EncoderBusyError`.
    """

    def __init__(self, waiting: int, threads: int = _CORES) -> None:
        self._waiting = waiting
        self._room = threading.Semaphore(waiting + threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="descry-decode")

    def submit(self, job: Callable[[], R]) -> "Future[R]":
        """Queue a job; one that is cancelled before its turn is dropped.

        Raises:
            EncoderBusyError: too many are waiting.
        """
        if not self._room.acquire(blocking=False):
            raise EncoderBusyError(f"{self._waiting} pictures are waiting to be decoded; try again in a moment")
        try:
            future = self._pool.submit(job)
        except RuntimeError as error:
            self._room.release()
            raise EncoderBusyError("the server is shutting down; try again in a moment") from error
        future.add_done_callback(lambda _: self._room.release())
        return future

    def close(self) -> None:
        """Drop what waits, and end the threads."""
        self._pool.shutdown(cancel_futures=True)
