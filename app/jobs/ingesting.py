"""The kind `ingest`: a folder on this machine, listed once and then taken in, each chunk with its items in one commit.

Because outcomes are written in the transaction of the images, a job that is killed anywhere goes on with exactly the
items that have no outcome: nothing is taken twice, and an image of this job is never reported as its own duplicate.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.orm import Session

from app.errors import FileMissingError, JobSourceChangedError, ModelChangedError
from app.gallery.ingest import Ingest, Outcome
from app.gallery.sources import Entry, Refused, Source, open_source
from app.jobs.duty import Duty
from app.jobs.kinds import Hands
from app.jobs.repository import JobRepository, NewItem

CHUNKS_A_STEP = 256
"""Chunks within one step: they overlap (some are taken while another is committed), steps do not."""


class IngestJob:
    """One ingest job in the hands of one worker."""

    def __init__(self, hands: Hands) -> None:
        self._duty, self._core, self._id, self._stopping = Duty(hands), hands.core, hands.job_id, hands.stopping
        self._source: Source | None = None
        self._ingest: Ingest | None = None
        self._places: dict[str, list[Entry | Refused]] | None = None

    def prepare(self) -> None:
        """List the items, unless that was done before.

        Raises:
            SourceError, ManifestError: the folder cannot be used.
            JobTakenError: another worker has the job.
        """
        if self._duty.row().total is not None:
            return
        source = self._opened()
        items = [NewItem(position, entry.name) for position, entry in enumerate(source.entries)]
        left = f"; {source.ignored:,} other files are no pictures by their names" if source.ignored else ""
        with self._core.database.write() as session:
            job, jobs = self._duty.owned(session), JobRepository(session)
            if job.total is None:
                jobs.add_items(self._id, items)
                job.total = len(items)
                jobs.log(self._id, f"{len(items):,} items listed{left}")

    def advance(self) -> bool:
        """Take in the next chunks; True if more are left. Ends early at a chunk when asked to.

        Raises:
            ServiceError: the job cannot go on.
        """
        size = CHUNKS_A_STEP * self._core.settings.ingest_chunk
        with self._core.database.read() as session:
            waiting = JobRepository(session).unsettled(self._id, limit=size)
        if waiting:
            try:
                self._take(waiting)
            except ModelChangedError:
                self._ingest = None  # the next step encodes for the version that is active then
        if self._duty.row().cancel_requested:
            return False
        with self._core.database.read() as session:
            return bool(JobRepository(session).unsettled(self._id, limit=1))

    def _take(self, waiting: Sequence[NewItem]) -> None:
        entries = [self._find(item) for item in waiting]
        positions = iter([item.position for item in waiting])
        halt = threading.Event()

        def record(session: Session, outcomes: Sequence[Outcome]) -> None:
            job, jobs = self._duty.owned(session), JobRepository(session)
            jobs.settle(self._id, [next(positions) for _ in outcomes], outcomes)
            job.done += len(outcomes)
            job.attempts = 1
            if job.cancel_requested or self._stopping.is_set():
                halt.set()

        if self._ingest is None:
            self._ingest = self._core.ingest(self._duty.parameters["collection"])
        for _ in self._ingest.run(Source(entries, 0), record):
            if halt.is_set():
                return

    def _find(self, item: NewItem) -> Entry | Refused:
        """The entry of an item: where it was listed, or else where its name is now."""
        entries = self._opened().entries
        if item.position < len(entries) and entries[item.position].name == item.name:
            return entries[item.position]
        if self._places is None:
            self._places = {}
            for entry in entries:
                self._places.setdefault(entry.name, []).append(entry)
        match self._places.get(item.name, []):
            case []:
                return Refused(item.name, FileMissingError("the file does not exist (any more)"))
            case [entry]:
                return entry
            case several:
                raise JobSourceChangedError(
                    f"{item.name} is not where it was listed, and named {len(several)} times elsewhere; make a new job"
                )

    def _opened(self) -> Source:
        if self._source is None:
            parameters = self._duty.parameters
            root = parameters.get("root")
            self._source = open_source(Path(parameters["folder"]), Path(root) if root else None)
        return self._source
