"""descry worker; descry jobs list, show, cancel, retry."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from app.commands.output import AsJson, DataDir, print_json, results

if TYPE_CHECKING:
    from app.database.sessions import Database
    from app.jobs.schemas import JobOut

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
    from app.core import opened
    from app.jobs.manners import keep_memory, step_back
    from app.jobs.names import worker_name
    from app.jobs.worker import Worker
    from app.settings import load_settings
    from app.telemetry import configure_logging

    configure_logging()
    settings = load_settings(data_dir=data_dir)
    step_back(settings.worker_niceness)
    keep_memory()
    with worker_name(settings.workers_dir, name) as own, opened(settings) as core:
        running = Worker(core, own)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())
        if until_input_ends:
            threading.Thread(target=_await_end, args=(running.stop,), daemon=True).start()
        running.run()
    sys.stderr.flush()
    # Unfinished workflows are parked in threads that never end; to DBOS this is a kill, from which it recovers.
    os._exit(0)


def _await_end(stop: Callable[[], None]) -> None:
    while os.read(0, 4096):
        pass
    stop()


def queue_ingest(path: Path, collection: str, data_dir: Path | None, *, as_json: bool) -> None:
    """Queue an ingest of a folder of this machine into a collection."""
    from app.collections.service import CollectionService
    from app.jobs.service import JobService

    with _database(data_dir) as database:
        with database.write() as session:
            CollectionService(session).resolve(collection)  # a name that cannot be is told now, not by the job
            parameters = {"folder": str(path.resolve()), "collection": collection}
            job_id = JobService(session).create("ingest", parameters).id
        _print(database, job_id, as_json=as_json)


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most jobs.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show jobs, newest first."""
    from app.jobs.repository import JobRepository
    from app.jobs.schemas import JobOut

    with _database(data_dir) as database, database.read() as session:
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
    with _database(data_dir) as database:
        _print(database, job_id, as_json=as_json, details=True)


@app.command("cancel")
def cancel(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """End a job: at once if it waits, after the present chunk if it runs."""
    from app.jobs.service import JobService

    with _database(data_dir) as database:
        with database.write() as session:
            JobService(session).cancel(job_id)
        _print(database, job_id, as_json=as_json)


@app.command("retry")
def retry(job_id: JobId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Queue a new run over the items that did not get into the gallery."""
    from app.jobs.service import JobService

    with _database(data_dir) as database:
        with database.write() as session:
            again = JobService(session).retry(job_id).id
        _print(database, again, as_json=as_json)


@contextmanager
def _database(data_dir: Path | None) -> "Iterator[Database]":
    """The database alone: nothing here needs an encoder."""
    from app.database.migrate import upgrade
    from app.database.sessions import Database
    from app.settings import load_settings

    database = Database(load_settings(data_dir=data_dir).database)
    try:
        upgrade(database)
        yield database
    finally:
        database.close()


def _print(database: "Database", job_id: str, *, as_json: bool, details: bool = False) -> None:
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
        table = Table("File", "Code", "Why", title="Rejected", title_justify="left")
        for item in rejected:
            table.add_row(*(escape(_plain(text or "")) for text in (item.name, item.code, item.message)))
        results().print(table)
    for line in job.log if details else []:
        results().print(f"{line.at:%Y-%m-%d %H:%M:%S} {line.message}", markup=False, highlight=False)


def _table(jobs: "list[JobOut]") -> None:
    table = Table("Id", "Job", "Done")  # 80 columns must do, and an id takes half of them
    table.columns[0].no_wrap = True
    for job in jobs:
        done = f"{job.done:,}" if job.total is None else f"{job.done:,} of {job.total:,}"
        parts = {"ingested": job.counts.ingested, "duplicate": job.counts.duplicate, "rejected": job.counts.rejected}
        words = [f"{number:,} {name}" for name, number in parts.items() if number]
        words += [job.error.code] if job.error else []
        table.add_row(job.id, f"{job.kind} {job.state}", f"{done}: {', '.join(words)}" if words else done)
    results().print(table)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
