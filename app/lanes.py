"""A few threads for work that the event loop hands over."""

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class Lanes:
    """Threads that start when they are needed.

    Few, for what is handed over runs in the interpreter most of the time, and only one thread does at once: with a
    thread for each of 32 searches, one took 30 ms of processor time instead of 5, most of it for changes of threads.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
        """What `work` returns; it sees the context of the caller."""
        call = partial(contextvars.copy_context().run, work, *args, **options)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Finish what was handed over."""
        self._pool.shutdown()
