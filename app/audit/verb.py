"""Which verb of `descry` runs, and what it was given. Light: `descry --help` imports it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any


@dataclass(slots=True)
class Verb:
    """A verb that runs.

    Attributes:
        given: its arguments and options, by the names of the function's parameters.
        audited: whether its entry is under way; a verb that opens the database twice has one.
    """

    name: str
    given: dict[str, Any]
    audited: bool = False


_verb: ContextVar[Verb | None] = ContextVar("descry_verb", default=None)


def running() -> Verb | None:
    """The verb that runs; None in a library, a test of parts, or a process that no verb started."""
    return _verb.get()


@contextmanager
def named(verb: Verb) -> Iterator[None]:
    """Let a verb be the one that runs."""
    token = _verb.set(verb)
    try:
        yield
    finally:
        _verb.reset(token)


def known(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a verb, which lets be known that it runs."""

    @wraps(function)
    def run(**given: Any) -> Any:  # noqa: ANN401  whatever the verb takes
        with named(Verb(name, given)):
            return function(**given)

    return run
