"""A worker that has nothing to do helps with the encoding that another one has."""

import logging
import threading
import time
from collections.abc import Callable

from app.core import Core
from app.database.tables import Job
from app.errors import JobTakenError
from app.jobs.repository import JobRepository
from app.jobs.shards import PHASE, place
from models.errors import DescryError

_log = logging.getLogger(__name__)
_WORTH = 4
"""Chunks that must be left, or it is done before the model is loaded."""
_LOOK_S = 0.5


class Helper:
    """Takes shards on a thread of its own, for as long as `idle` says that the worker has no job itself."""

    def __init__(self, core: Core, worker: str, idle: Callable[[], bool]) -> None:
        self._core, self._worker, self._idle = core, worker, idle
        self._thread: threading.Thread | None = None
        self._cannot: set[str] = set()

    def look(self) -> None:
        """Begin to help if there is a reason to."""
        if self._core.settings.help_encoding == "never" or not self._idle() or self.busy:
            return
        with self._core.database.read() as session:
            job = next((job for job in JobRepository(session).running() if self._wanted(job)), None)
        if job is not None:
            arguments = (job.id, job.parameters["version"])
            self._thread = threading.Thread(target=self._help, args=arguments, name="descry-helper", daemon=True)
            self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether it helps."""
        return self._thread is not None and self._thread.is_alive()

    def _wanted(self, job: Job) -> bool:
        told, settings = job.progress or {}, self._core.settings
        if job.kind != "indexing" or told.get("phase") != PHASE or job.cancel_requested or job.id in self._cannot:
            return False
        left = (job.total or 0) - job.done
        if job.worker == self._worker or left < _WORTH * settings.ingest_chunk:
            return False
        there = {told["place"], *(one["place"] for one in told["shards"] if one["seat"])}
        return settings.help_encoding == "always" or place(settings) not in there

    def _help(self, job_id: str, version_id: int) -> None:
        from app.jobs.encoding import ShardWork

        try:
            work = ShardWork(self._core, job_id, self._worker, version_id)
            _log.info("helping with job %s", job_id)
            while self._needed(job_id):
                if work.one(lambda: self._needed(job_id)) is None:
                    time.sleep(_LOOK_S)
        except JobTakenError:
            pass  # it has ended
        except DescryError as error:
            self._give_up(job_id, error)
        except Exception as error:  # noqa: BLE001  a helper that fails must not take its worker along, nor the job
            _log.exception("help with job %s failed unexpectedly", job_id)
            self._give_up(job_id, error)

    def _needed(self, job_id: str) -> bool:
        """Whether somebody else runs the job still, and nothing of this worker's own waits."""
        if not self._idle():
            return False
        with self._core.database.read() as session:
            job = JobRepository(session).get(job_id)
        return job is not None and job.state == "running" and job.worker != self._worker and not job.cancel_requested

    def _give_up(self, job_id: str, error: Exception) -> None:
        self._cannot.add(job_id)
        try:
            with self._core.database.write() as session:
                JobRepository(session).log(job_id, f"{self._worker} cannot help: {error}", "warning")
        except Exception:  # noqa: BLE001  the job has another worker
            _log.exception("that %s cannot help could not be written", self._worker)
