"""The worker: takes queued jobs and runs each as a durable workflow of DBOS Transact.

What users see lives in our tables; DBOS keeps, in the same database, which workflow is under way in which executor and
which of its steps are done. It starts a killed worker's workflows again under the same executor id; a worker that never
comes back is noticed here, by its heartbeat.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn, TypeVar

from dbos import DBOS, Serializer, SetWorkflowID
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.audit.pruning import prune_by_rule
from app.batches.staging import reduce_staged, sweep
from app.core import Core
from app.database.sessions import service_error
from app.database.tables import now
from app.errors import (
    DatabaseUnreachableError,
    JobGivenUpError,
    JobTakenError,
    ServiceError,
    StorageError,
    UnavailableError,
)
from app.exports.results import sweep_exports
from app.jobs.helping import Helper
from app.jobs.kinds import KINDS, Hands, Work
from app.jobs.repository import JobRepository
from app.jobs.service import JobService
from app.registry.changes import keep_standby
from app.registry.retention import Retention
from app.retention.service import apply
from app.retraining.places import sweep_data
from app.tracing import span
from app.video.kept import sweep_videos
from models.errors import DescryError

T = TypeVar("T")
_log = logging.getLogger(__name__)
_VERSION = "1"
"""Of the workflow's shape. Fixed, because DBOS resumes only workflows of its own version and would else derive it from
the source code: any edit would leave running jobs behind."""
_SWEEP_S, _AGAIN_S = 30.0, 2.0
"""Seconds between two looks at what killed processes left, and between two tries to write how a job ended."""
_ENDED = {"SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}


class _Json(Serializer):
    """DBOS pickles by default; nothing here ever reads a pickle."""

    def serialize(self, data: Any) -> str:  # noqa: ANN401  DBOS's signature
        return json.dumps(data, default=repr)

    def deserialize(self, serialized_data: str) -> Any:  # noqa: ANN401
        return json.loads(serialized_data)

    def name(self) -> str:
        return "descry_json"


class Worker:
    """One worker of a data folder; `name` is its own and stays the same when it is started again."""

    def __init__(self, core: Core, name: str) -> None:
        self._core, self.name, self._settings = core, name, core.settings
        self._stopping = threading.Event()
        self._active: set[str] = set()
        self._lock = threading.Lock()
        self._helper = Helper(core, name, idle=lambda: not self._stopping.is_set() and not self._busy())

    def run(self) -> None:
        """Work until `stop`. The process must end after that: threads of unfinished jobs are parked, not ended."""
        with self._core.database.write() as session:  # what DBOS starts again now must not look lost meanwhile
            jobs = JobRepository(session)
            jobs.beat([job.id for job in jobs.running(worker=self.name)], self.name)
        self._launch()
        for job_id in self._unstarted():
            self._start(job_id)
        beats = threading.Thread(target=self._beat, name="descry-heartbeat", daemon=True)
        beats.start()
        _log.info("worker %s is ready", self.name)
        swept = -_SWEEP_S
        while not self._stopping.wait(self._settings.worker_poll_s):
            try:
                if time.monotonic() >= swept + _SWEEP_S:
                    swept = time.monotonic()
                    self._sweep()
                self._reclaim()
                self._claim()
                self._helper.look()
            except (SQLAlchemyError, ServiceError, OSError):
                _log.exception("the database or the staging area did not answer; trying again")
        deadline = time.monotonic() + 30
        while (self._busy() or self._helper.busy) and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        """End `run` when the chunks under way are committed."""
        self._stopping.set()

    def _launch(self) -> None:
        url = self._settings.database
        DBOS(
            config={
                "name": "descry",
                "system_database_url": url,
                "executor_id": self.name,
                "application_version": _VERSION,
                "serializer": _Json(),
                "log_level": "WARNING",
                "enable_otlp": False,
            }
        )

        # Attempts are counted in our table, where they begin anew with each progress.
        @DBOS.workflow(name="descry_job", max_recovery_attempts=None)
        def descry_job(job_id: str) -> str:
            return self._work(job_id)

        self._workflow = descry_job
        DBOS.launch()

    def _work(self, job_id: str) -> str:
        """The workflow. It never raises: how a job ended is written in our table."""
        with self._lock:
            self._active.add(job_id)
        try:
            return self._steps(job_id)
        except DescryError as error:
            return self._end(job_id, error)
        except Exception as error:  # noqa: BLE001  the job fails, the worker goes on
            _log.exception("job %s failed unexpectedly", job_id)
            unknown = ServiceError("an unexpected error; the worker's log has the details")
            return self._end(job_id, service_error(error) or unknown)
        finally:
            with self._lock:
                self._active.discard(job_id)

    def _steps(self, job_id: str) -> str:
        # Beginning is no step: whoever runs the workflow, also after a replay, must write its name.
        if not self._when_it_answers(job_id, lambda: self._begun(job_id)):
            return "ended"
        kind_name = self._when_it_answers(job_id, lambda: self._kind(job_id))
        kind = KINDS[kind_name]
        hands = Hands(self._core, job_id, self.name, self._stopping)
        work: Work | None = None

        def step(name: str, act: Callable[[Work], T]) -> T:
            nonlocal work
            work = work or kind.start(hands)
            try:
                with span(f"job {name}", {"descry.job_kind": kind_name, "descry.job_id": job_id}):
                    return act(work)
            except DatabaseUnreachableError:
                work = None  # as a worker that was killed, it begins this step anew
                raise

        def durable(name: str, act: Callable[[Work], T]) -> Callable[[], T]:
            return partial(self._unless_taken, job_id, lambda: self._when_it_answers(job_id, lambda: step(name, act)))

        DBOS.run_step({"name": "prepare"}, durable("prepare", lambda work: work.prepare()))
        while DBOS.run_step({"name": "advance"}, durable("advance", lambda work: work.advance())):
            if self._stopping.is_set():
                self._hold(job_id)
        return self._end(job_id, None)

    def _begun(self, job_id: str) -> bool:
        with self._core.database.write() as session:
            return JobService(session).begin(job_id, self.name)

    def _kind(self, job_id: str) -> str:
        with self._core.database.read() as session:
            return JobService(session).find(job_id).kind

    def _when_it_answers(self, job_id: str, act: Callable[[], T]) -> T:
        """A database that is away fails no job: it is waited for."""
        while True:
            try:
                return act()
            except DatabaseUnreachableError as error:
                _log.warning("job %s: %s", job_id, error.message)
            if self._stopping.wait(_AGAIN_S):
                self._hold(job_id)

    def _unless_taken(self, job_id: str, step: Callable[[], T]) -> T:
        """A step's error is written down for whoever runs the workflow; that another worker has it is not one."""
        try:
            return step()
        except JobTakenError as error:
            _log.warning("job %s: %s", job_id, error.message)
            self._hold(job_id)

    def _hold(self, job_id: str) -> NoReturn:
        """Hold a workflow for ever: to DBOS that is a killed worker, and it goes on at the restart."""
        with self._lock:
            self._active.discard(job_id)
        while True:
            threading.Event().wait()

    def _end(self, job_id: str, error: DescryError | None) -> str:
        """Write how a job ended, as soon as that can be written."""
        while True:
            try:
                return self._ended(job_id, error)
            except (SQLAlchemyError, StorageError, UnavailableError):
                _log.exception("the end of job %s could not be written; trying again in %g s", job_id, _AGAIN_S)
            if self._stopping.wait(_AGAIN_S):
                self._hold(job_id)  # it is still running in the database, and goes on at the next start

    def _ended(self, job_id: str, error: DescryError | None) -> str:
        with self._core.database.write() as session:
            service = JobService(session)
            job = service.find(job_id)
            if job.worker != self.name or job.state != "running":
                return job.state  # the work has ended it itself, or another worker has it
            complete = job.total is not None and job.done >= job.total
            if error is not None:
                service.finish(job, "failed", error)
            else:
                service.finish(job, "succeeded" if complete else "cancelled")
            state, parameters = job.state, job.parameters
            needed = service.needed(job) if parameters.get("staged") else None
        if parameters.get("staged"):  # what a retry may need stays until `sweep`
            reduce_staged(self._settings, parameters["folder"], needed)
        return state

    def _claim(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._core.database.write() as session:
                    job = JobService(session).claim(self.name)
            except IntegrityError:
                return  # another worker took a job of the same resource at the same moment
            if job is None:
                return
            self._start(job.id)

    def _start(self, job_id: str) -> None:
        with self._lock:
            self._active.add(job_id)  # its heart beats from now on
        try:
            with SetWorkflowID(job_id):
                DBOS.start_workflow(self._workflow, job_id)
        except BaseException:
            with self._lock:
                self._active.discard(job_id)  # it has no execution: when its heart has stopped, it is reclaimed
            raise

    def _unstarted(self) -> list[str]:
        """Jobs that this worker claimed before it was killed, so early that DBOS does not know them."""
        with self._core.database.read() as session:
            mine = [job.id for job in JobRepository(session).running(worker=self.name)]
        return [job_id for job_id in mine if DBOS.get_workflow_status(job_id) is None]

    def _reclaim(self) -> None:
        """Take over jobs whose worker is silent. Which worker gets them in the end is DBOS's choice."""
        silent = now() - timedelta(seconds=self._settings.worker_lost_s)
        with self._core.database.read() as session:
            if not JobRepository(session).running(silent_since=silent):
                return
        with self._core.database.write() as session:
            busy = self._busy()
            lost = [job for job in JobRepository(session).running(silent_since=silent) if job.id not in busy]
            for job in lost:
                JobService(session).adopt(job, self.name)
        for job in lost:
            status = DBOS.get_workflow_status(job.id)
            if status is None:
                self._start(job.id)
            elif status.status in _ENDED:
                self._end(job.id, JobGivenUpError(f"its execution ended without a result ({status.status})"))
            else:
                DBOS.resume_workflow(job.id)

    def _sweep(self) -> None:
        sweep(self._settings, self._core.database)
        with self._core.database.read() as session:
            jobs = JobRepository(session).open()
        sweep_exports(self._settings, {job.id for job in jobs})
        in_use = {job.parameters.get("first", job.id) for job in jobs}
        sweep_data(self._settings, in_use)
        sweep_videos(self._settings, in_use)
        self._core.store.recover()  # what a store that was away has left over
        apply(self._core)
        prune_by_rule(self._core.database, self._settings)
        Retention(self._core.database, self._settings).sweep()
        keep_standby(self._core.database, self._settings)
        self._core.tidy()

    def _busy(self) -> set[str]:
        with self._lock:
            return set(self._active)

    def _beat(self) -> None:
        while not self._stopping.wait(self._settings.heartbeat_s):
            if busy := self._busy():
                try:
                    with self._core.database.write() as session:
                        JobRepository(session).beat(sorted(busy), self.name)
                except (SQLAlchemyError, StorageError, UnavailableError):
                    _log.exception("a sign of life could not be written")
