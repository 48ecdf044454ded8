"""What has to be committed with a change, or not at all: the entry of the audit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sqlalchemy.orm import Session

Companion = Callable[[Session], Callable[[], None] | None]
"""Writes into the session of a change, before its commit; what it returns is called after it."""
_companion: ContextVar[Companion | None] = ContextVar("descry_companion", default=None)


@contextmanager
def committing(companion: Companion | None) -> Iterator[None]:
    """Let units of work of a block, and of threads that `run_in_threadpool` gives it, take something along."""
    token = _companion.set(companion)
    try:
        yield
    finally:
        _companion.reset(token)


def companion() -> Companion | None:
    """What a unit of work takes along now."""
    return _companion.get()
