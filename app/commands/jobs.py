"""descry worker; descry jobs list, show, cancel, retry."""

import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import AsJson, Column, DataDir, print_json, print_rejected, print_table, results

if TYPE_CHECKING:
    from app.database.sessions import Database
    from app.jobs.schemas import JobOut
    from app.settings import Settings

app = typer.Typer(help="Jobs: work that goes on behind the requests.", no_args_is_help=True)
JobId = Annotated[str, typer.Argument(help="Id of the job.")]


def worker(
    name: Annotated[str | None, typer.Option(help="Its name; the machine's with a number if absent.")] = None,
    until_input_ends: Annotated[
        bool, typer.Option("--until-input-ends", help="End when standard input closes, as `serve` does.", hidden=True)
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Do jobs. A worker that is killed goes on where it was when it is started again."""
    from app.allocator import few_arenas, keep_between_batches
    from app.collector import leave_imports_alone
    from app.core import opened
    from app.jobs.manners import step_back
    from app.jobs.names import worker_name
    from app.jobs.worker import Worker
    from app.settings import load_settings
    from app.telemetry import configure_logging
    from app.tracing import configure_tracing, end_tracing

    settings = load_settings(data_dir=data_dir)
    configure_logging(kind=settings.log_format)
    configure_tracing(settings, "worker")
    step_back(settings.worker_niceness)
    few_arenas()
    keep_between_batches()
    leave_imports_alone()
    with worker_name(settings.workers_dir, name) as own, opened(settings) as core:
        running = Worker(core, own)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        if until_input_ends:
            threading.Thread(target=_await_end, args=(running.stop,), daemon=True).start()
        running.run()
    end_tracing()
    sys.stderr.flush()
    # Unfinished workflows are parked in threads that never end; to DBOS this is a kill, from which it recovers.
    os._exit(0)


def _await_end(stop: Callable[[], None]) -> None:
    while os.read(0, 4096):
        pass
    stop()


def queue_ingest(settings: "Settings", path: Path, root: Path | None, collection: str, *, as_json: bool) -> None:
    """Queue an ingest of a folder, manifest or picture of this machine into a collection."""
    from app.collections.service import CollectionService
    from app.jobs.service import JobService

    with database_of(settings) as database:
        with database.write() as session:
            CollectionService(session).resolve(collection)  # a name that cannot be is told now, not by the job
            parameters = {"folder": str(path.resolve()), "collection": collection}
            parameters |= {"root": str(root.resolve())} if root else {}
            job_id = JobService(session).create("ingest", parameters).id
        print_job(database, job_id, as_json=as_json)


def queue_archive(settings: "Settings", archive: Path, collection: str, *, as_json: bool) -> None:
    """Unpack an archive into the staging area, as a batch over HTTP is, and queue its ingest."""
    from app.batches.archives import unpack
    from app.batches.service import queue_stage
    from app.batches.staging import Stage, sweep

    with database_of(settings) as database:
        sweep(settings, database)
        stage = Stage(settings, str(uuid.uuid4()))
        try:
            unpack(archive, stage, settings)
            job, _ = queue_stage(database, stage, collection)
        except BaseException:
            stage.remove()
            raise
        stage.keep()
        print_job(database, job.id, as_json=as_json)


def queue_export(collection: str | None, data_dir: Path | None, *, originals: bool, as_json: bool) -> None:
    """Queue an export of a collection, or of everything."""
    from app.collections.service import CollectionService
    from app.jobs.service import JobService

    with database_of(data_dir) as database:
        with database.write() as session:
            if collection is not None:
                CollectionService(session).find(collection)
            job_id = JobService(session).create("export", {"collection": collection, "originals": originals}).id
        print_job(database, job_id, as_json=as_json)


def queue_rebuild(data_dir: Path | None, *, as_json: bool) -> None:
    """Queue a rebuild of the index of the active model version."""
    from app.errors import NoActiveModelError
    from app.jobs.service import JobService
    from app.vectors.repository import LogRepository

    with database_of(data_dir) as database:
        with database.write() as session:
            if (active := LogRepository(session).head().active_version_id) is None:
                raise NoActiveModelError
            job_id = JobService(session).create_once("indexing", {"version": active, "rebuild": True}).id
        print_job(database, job_id, as_json=as_json)


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most jobs.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show jobs, newest first."""
    from app.jobs.repository import JobRepository
    from app.jobs.schemas import JobOut

    with database_of(data_dir) as database, database.read() as session:
        jobs = JobRepository(session)
        rows = jobs.page(limit, None, None)
        counts = jobs.counts(row.id for row in rows)
        found = [JobOut.of(row, counts.get(row.id, {})) for row in rows]
    if as_json:
        print_json([job.model_dump(mode="json") for job in found])
        return
    _table(found)


@app.command("show")
def show(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show a job, what it rejected, and its log."""
    with database_of(data_dir) as database:
        print_job(database, job_id, as_json=as_json, details=True)


@app.command("cancel")
def cancel(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """End a job: at once if it waits, at its next safe point if it runs."""
    from app.jobs.service import JobService

    with database_of(data_dir) as database:
        with database.write() as session:
            JobService(session).cancel(job_id)
        print_job(database, job_id, as_json=as_json)


@app.command("retry")
def retry(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Queue a new run over what a job did not do."""
    from app.jobs.service import JobService

    with database_of(data_dir) as database:
        with database.write() as session:
            again = JobService(session).retry(job_id).id
        print_job(database, again, as_json=as_json)


@contextmanager
def database_of(found: "Path | Settings | None") -> "Iterator[Database]":
    """The database alone: nothing here needs an encoder."""
    from app.audit.cli import audited_verb
    from app.database.migrate import upgrade
    from app.database.sessions import Database
    from app.settings import Settings, load_settings

    settings = found if isinstance(found, Settings) else load_settings(data_dir=found)
    database = Database(settings.database)
    try:
        upgrade(database)
        with audited_verb(database):
            yield database
    finally:
        database.close()


def print_job(database: "Database", job_id: str, *, as_json: bool, details: bool = False) -> None:
    """Print a job; with `details` also what it rejected, what it tells and its log."""
    from app.jobs.repository import JobRepository
    from app.jobs.schemas import JobDetail, JobItemOut, JobLine, JobOut
    from app.jobs.service import JobService

    with database.read() as session:
        jobs = JobRepository(session)
        out = JobOut.of(JobService(session).find(job_id), jobs.counts([job_id]).get(job_id, {}))
        job = JobDetail(**out.model_dump(), log=[JobLine.of(line) for line in jobs.lines(job_id)])
        rejected = [JobItemOut.of(item) for item in jobs.items(job_id, after=-1, limit=1000, status="rejected")]
    if as_json:
        print_json({**job.model_dump(mode="json"), "rejected": [item.model_dump() for item in rejected]})
        return
    _table([job])
    if details and rejected:
        print_rejected("Rejected", [[item.name, item.code or "", item.message or ""] for item in rejected])
    if details and job.result_url:
        results().print(f"Its file: {job.result_url}", highlight=False, soft_wrap=True)
    if details and job.progress:
        results().print(_told(job.progress), markup=False, highlight=False, soft_wrap=True)
    for line in job.log if details else []:
        results().print(f"{line.at:%Y-%m-%d %H:%M:%S} {line.message}", markup=False, highlight=False)


def _told(progress: dict[str, Any]) -> str:
    """What a job tells beside its counts: losses, what is left, what the gate decided."""
    words = [str(progress.get("phase", ""))]
    words += [f"{name} {value:.3f}" for name, value in (progress.get("losses") or {}).items()]
    if progress.get("images_per_second"):
        words.append(f"{progress['images_per_second']:.1f} images/s")
    if progress.get("seconds_left") is not None:
        words.append(f"{progress['seconds_left'] / 60:.1f} min left")
    if progress.get("version") is not None:
        words.append(f"model version {progress['version']} {'accepted' if progress['accepted'] else 'refused'}")
    for one in progress.get("shards", ()):
        words.append(f"{one['worker']} at images {one['after'] + 1:,} to {one['upto']:,} ({one['done']:,} done)")
    return ", ".join(words)


def _table(jobs: "list[JobOut]") -> None:
    rows = []
    for job in jobs:
        done = f"{job.done:,} of {job.total:,}" if job.total not in (None, job.done) else f"{job.done:,}"
        done += f" {job.unit}"
        counts = job.counts.model_dump(exclude={"waiting"}) if job.counts else {}
        words = [f"{number:,} {name}" for name, number in counts.items() if number]
        words += [job.error.code] if job.error else []
        rows.append([job.id, f"{job.kind} {job.state}", f"{done}: {', '.join(words)}" if words else done])
    # 80 columns must do, and an id takes half of them.
    print_table([Column("Id"), Column("Job", least=10), Column("Done", least=10)], rows)
