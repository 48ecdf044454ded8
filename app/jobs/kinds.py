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
        Work whose end is more than its last item (a switch, a file that gets its name) ends its job itself, in the
        transaction that makes the end true; what it leaves running ends by its counts.

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
        unit: what `done` and `total` count.
        start: makes the work of one job.
        has_result: whether it leaves a file to download.
        listed: whether it lists items, of which a retry takes over those that are left.
    """

    resource: str
    unit: str
    start: Callable[[Hands], Work]
    has_result: bool = False
    listed: bool = False


def _ingest(hands: Hands) -> Work:
    from app.jobs.ingesting import IngestJob

    return IngestJob(hands)


def _indexing(hands: Hands) -> Work:
    from app.jobs.indexing import indexing_job

    return indexing_job(hands)


def _export(hands: Hands) -> Work:
    from app.jobs.exporting import ExportJob

    return ExportJob(hands)


def _retraining(hands: Hands) -> Work:
    from app.jobs.retraining import RetrainingJob

    return RetrainingJob(hands)


def _associate(hands: Hands) -> Work:
    from app.association.work import AssociationJob

    return AssociationJob(hands)


def _video(hands: Hands) -> Work:
    from app.video.work import VideoJob

    return VideoJob(hands)


KINDS: dict[str, Kind] = {
    "ingest": Kind("encoder", "items", _ingest, listed=True),
    # Not the encoder's: pictures that come in for days must not wait until another version has the whole gallery.
    "indexing": Kind("indexing", "images", _indexing),
    "export": Kind("export", "images", _export, has_result=True),
    "retraining": Kind("training", "steps", _retraining),
    # A video of hours must not keep pictures waiting: it asks for the encoder now and then only.
    "video": Kind("video", "seconds", _video),
    # It reads vectors that are there already, so that images may come in meanwhile; but not beside another grouping.
    "association": Kind("identities", "groups", _associate, listed=True),
}
