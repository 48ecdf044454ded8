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
_THREADS = int(os.environ.get("LANES", "2"))


class Lanes:
    """Few, for what is handed over runs in the interpreter most of the time: with a thread for each of 32 searches, one
    took 30 ms of processor time instead of 7, nearly all of it for the changes of threads.

    Threads start when they are needed.
    """

    def __init__(self, name: str, threads: int = _THREADS) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
        """What `work` returns; it sees the context of the caller."""
        call = partial(contextvars.copy_context().run, work, *args, **options)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Finish what was handed over."""
        self._pool.shutdown()
