"""The kinds of jobs: what each needs for itself, and who does it.

A server reads this table to queue jobs; only a worker calls `start`, which is where the modules that do the work are
imported.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.core import Core


class Work(Protocol):
    """One job in the hands of one worker. Each method is a durable step, which a worker that is killed does again."""

    def prepare(self) -> None:
        """List the items and set the job's total, unless that was done before.

        Raises:
            ServiceError: the job cannot be done.
        """

    def advance(self) -> bool:
        """Do the next part, each with its progress in the transaction that makes it true; False when none is left.

        Returns early when the job is to be cancelled or the worker is stopping; never after another worker has it.

        Raises:
            ServiceError: the job cannot go on.
        """


@dataclass(frozen=True, slots=True)
class Hands:
    """What a worker gives to the work.

    Attributes:
        worker: its name, for `JobService.owned`.
        stopping: set when the worker is asked to end.
    """

    core: Core
    job_id: str
    worker: str
    stopping: threading.Event


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job.

    Attributes:
        resource: what it needs for itself; jobs of one resource run one after the other.
        start: makes the work of one job.
    """

    resource: str
    start: Callable[[Hands], Work]


def _ingest(hands: Hands) -> Work:
    from app.jobs.ingesting import IngestJob

    return IngestJob(hands)


def _associate(hands: Hands) -> Work:
    from app.association.work import AssociationJob

    return AssociationJob(hands)


KINDS: dict[str, Kind] = {
    "ingest": Kind("encoder", _ingest),
    # It reads vectors that are there already, so that images may come in meanwhile; but not beside another grouping.
    "association": Kind("identities", _associate),
}
