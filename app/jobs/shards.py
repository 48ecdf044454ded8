"""Shards of an encoding: ranges of image ids that workers take, one each, until nothing is left.

What is given out lies in `jobs.progress`, changed only within the write lock: how far the ids are given out, and the
shards in hand, each with its worker and that one's last sign of life. A shard is cut when somebody asks for one, small
enough that all workers end at about the same time. Which images of it are done is not kept here: the vectors say that,
so a shard that was lost goes to the next worker as it is, and nothing is encoded twice or left out (decision 0027).
"""

import secrets
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.database.tables import Job, ModelVersion, now
from app.errors import JobTakenError
from app.gallery.repository import ImageRepository
from app.jobs.repository import JobRepository
from app.jobs.service import JobService
from app.settings import Settings

if TYPE_CHECKING:
    from app.registry.encoding import Unreadable  # with PyTorch behind it, which a worker that waits does without

PHASE = "encoding"
_CHUNKS, _EACH = 16, 4
"""Most chunks of one shard, and shards for each worker in what is left."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Who has a shard in hand: one process, which encodes one shard at a time.

    A worker that was killed and started again has its old name and another token: what it had in hand is then known to
    be lost at once.
    """

    token: str = field(default_factory=lambda: secrets.token_hex(8))
    taken: threading.Lock = field(default_factory=threading.Lock)


SEAT = Seat()
"""This process's."""


def place(settings: Settings) -> str:
    """The machine and device of this process: two encoders in one place only take each other's time."""
    return f"{socket.gethostname()} {settings.device}"


def shown(progress: dict[str, Any] | None) -> dict[str, Any] | None:
    """What a job tells, without what only workers need: a sign of life alone is no news."""
    if not progress or progress.get("phase") != PHASE:
        return progress
    told = {name: progress[name] for name in ("phase", "images_per_second", "seconds_left") if name in progress}
    seen = ("worker", "after", "upto", "done")
    return told | {"shards": [{name: one[name] for name in seen} for one in progress["shards"] if one["seat"]]}


class Shards:
    """The shards of one job, as one worker sees them."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        job_id: str,
        worker: str,
        version: ModelVersion,
        seat: Seat = SEAT,
    ) -> None:
        self._database, self._settings = database, settings
        self._job_id, self._worker, self._version, self.seat = job_id, worker, version, seat
        self._beaten = now()

    def begin(self) -> None:
        """Give out all ids from the first one on, unless that goes on already.

        Raises:
            JobTakenError: the job has ended.
        """
        with self._database.write() as session:
            job = _running(session, self._job_id)
            before = job.progress if job.progress and job.progress.get("shards") else {"given": 0, "shards": []}
            job.progress = {**before, "phase": PHASE, "place": place(self._settings)}

    def take(self) -> tuple[int, int] | None:
        """A shard for this worker, as the id before it and its last id: one that was lost, else a new one.

        None if all are in hand or done, or the job is at something else. A worker has one at a time.

        Raises:
            JobTakenError: the job has ended.
        """
        with self._database.write() as session:
            job = _running(session, self._job_id)
            told, shards = _parts(job)
            if told.get("phase") != PHASE:
                return None
            found = next((one for one in shards if self._lost(one)), None)
            if found is not None:
                shards.remove(found)
                words = f"images {found['after'] + 1:,} to {found['upto']:,} left by {found['worker']}"
                JobRepository(session).log(self._job_id, f"{self._worker} goes on with {words}", "warning")
            elif (upto := self._cut(session, job, len(shards) + 1)) is not None:
                found = {"after": told["given"], "upto": upto}
                told["given"] = upto
            else:
                return None
            mine = {"after": found["after"], "upto": found["upto"], "done": 0, "worker": self._worker}
            mine |= {"place": place(self._settings), "seat": self.seat.token, "since": _text(), "at": _text()}
            job.progress = {**told, "shards": [*shards, mine]}
            return mine["after"], mine["upto"]

    def open(self) -> bool:
        """Whether a shard is given out that is not done."""
        with self._database.read() as session:
            return bool(_parts(JobService(session).find(self._job_id))[1])

    def reach(self, session: Session, count: int) -> bool:
        """Note that images of the shard in hand are done, in the transaction of their vectors; False: go no further.

        Raises:
            JobTakenError: the shard or the job is somebody else's now; the transaction must not be committed.
        """
        job = _running(session, self._job_id)
        told, shards = _parts(job)
        mine = next((one for one in shards if one["seat"] == self.seat.token), None)
        if mine is None:
            raise JobTakenError("another worker has the shard now")
        mine["done"], mine["at"] = mine["done"] + count, _text()
        job.done += count
        job.total = max(job.total or 0, job.done)  # what came meanwhile is done too
        job.attempts = 1
        rate = sum(_rate(one) for one in shards)
        left = round((job.total - job.done) / rate, 1) if rate else None
        job.progress = {**told, "images_per_second": round(rate, 2), "seconds_left": left, "shards": shards}
        return not job.cancel_requested

    def refuse(self, session: Session, unreadable: "Sequence[Unreadable]") -> int:
        """Name images that cannot be read as items of the job; returns how many of them are so named already."""
        images = ImageRepository(session)
        rows = ((one, images.get(one.image_id)) for one in unreadable)
        errors = {row.id: (row.source_name or f"image {row.id}", one.error) for one, row in rows if row is not None}
        return len(errors) - JobRepository(session).add_rejected(self._job_id, errors)

    def give_back(self, *, done: bool) -> None:
        """Lay down the shard in hand, done or for somebody else to go on with; nothing if it was lost."""
        with self._database.write() as session:
            job = JobService(session).find(self._job_id)
            told, shards = _parts(job)
            others = [one for one in shards if one["seat"] != self.seat.token]
            mine = [{**one, "seat": ""} for one in shards if one["seat"] == self.seat.token and not done]
            if job.state == "running" and told.get("phase") == PHASE:
                job.progress = {**told, "shards": others + mine}

    def going(self) -> bool:
        """Whether to go on with the shard in hand. Asked often, it also gives the sign of life."""
        with self._database.read() as session:
            job = JobService(session).find(self._job_id)
            mine = any(one["seat"] == self.seat.token for one in _parts(job)[1])
            if job.state != "running" or job.cancel_requested or not mine:
                return False
        if now() - self._beaten >= timedelta(seconds=self._settings.heartbeat_s):
            self._beat()
        return True

    def _beat(self) -> None:
        with self._database.write() as session:
            job = JobService(session).find(self._job_id)
            told, shards = _parts(job)
            for one in shards:
                if one["seat"] == self.seat.token:
                    one["at"] = _text()
            job.progress = {**told, "shards": shards}
        self._beaten = now()

    def _lost(self, shard: dict[str, Any]) -> bool:
        """Whether nobody is at a shard: given back, of this worker before it was killed, or of one that is silent."""
        if shard["seat"] == self.seat.token:
            return False
        silent = now() - timedelta(seconds=self._settings.worker_lost_s)
        at = datetime.fromisoformat(shard["at"])
        return not shard["seat"] or shard["worker"] == self._worker or at < silent

    def _cut(self, session: Session, job: Job, workers: int) -> int | None:
        """The last id of the next shard; None if nothing above what is given out lacks a vector."""
        chunk, left = self._settings.ingest_chunk, (job.total or 0) - job.done
        size = chunk * min(_CHUNKS, max(1, left // (_EACH * workers * chunk)))
        rows = ImageRepository(session).lacking(self._version, after=_parts(job)[0]["given"], limit=size)
        return rows[-1][0] if rows else None


def _running(session: Session, job_id: str) -> Job:
    job = JobService(session).find(job_id)
    if job.state != "running":
        raise JobTakenError(f"the job is {job.state}")
    return job


def _parts(job: Job) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Copies of what a job tells, and of its shards: a change of the row's own JSON would not be seen."""
    told = dict(job.progress or {})
    return told, [dict(one) for one in told.pop("shards", ())]


def _rate(shard: dict[str, Any]) -> float:
    took = (datetime.fromisoformat(shard["at"]) - datetime.fromisoformat(shard["since"])).total_seconds()
    return float(shard["done"] / took) if took > 0 else 0.0


def _text() -> str:
    return now().isoformat()
