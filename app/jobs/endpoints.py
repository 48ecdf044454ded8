"""/v1/jobs."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse

from app.access.principal import Principal
from app.access.service import KeyService
from app.core import Core
from app.database.tables import now
from app.dependencies import CoreDep
from app.errors import (
    InvalidError,
    JobFinishedError,
    JobNotFoundError,
    JobNotRetryableError,
    JobResultGoneError,
    responses,
)
from app.exports.results import existing_result
from app.jobs.repository import FINAL, JobRepository, State
from app.jobs.schemas import JobDetail, JobItemList, JobItemOut, JobLine, JobList, JobOut
from app.jobs.service import JobService

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_LOOK_S, _COMMENT_S, _LINES = 0.3, 15.0, 200
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("", responses=responses(JobNotFoundError, InvalidError))
def list_jobs(core: CoreDep, state: State | None = None, limit: Limit = 50, before: str | None = None) -> JobList:
    """Jobs, newest first."""
    with core.database.read() as session:
        jobs = JobRepository(session)
        last = JobService(session).find(before) if before is not None else None
        rows = jobs.page(limit, last, state)
        counts = jobs.counts(row.id for row in rows)
        return JobList(
            jobs=[JobOut.of(row, counts.get(row.id, {})) for row in rows],
            next_before=rows[-1].id if len(rows) == limit else None,
        )


@router.get("/{job_id}", responses=responses(JobNotFoundError))
def get_job(job_id: str, core: CoreDep) -> JobDetail:
    """A job with its log."""
    return _detail(core, job_id)


@router.get("/{job_id}/items", responses=responses(JobNotFoundError, InvalidError))
def list_items(
    job_id: str,
    core: CoreDep,
    status: Literal["ingested", "duplicate", "rejected"] | None = None,
    limit: Limit = 100,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
) -> JobItemList:
    """What became of each entry, in the order of the source."""
    with core.database.read() as session:
        JobService(session).find(job_id)
        rows = JobRepository(session).items(job_id, after=after, limit=limit, status=status)
        return JobItemList(
            items=[JobItemOut.of(row) for row in rows], next_after=rows[-1].position if len(rows) == limit else None
        )


@router.get(
    "/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **responses(JobNotFoundError)},
)
def job_events(job_id: str, request: Request, core: CoreDep) -> StreamingResponse:
    """Server-sent events until the job has ended: `job` with its state whenever it changed, `log` with each line.

    The stream also ends when the key does that asked for it.
    """
    _detail(core, job_id)
    principal: Principal = request.state.principal
    events = _events(core, job_id, principal.key_id)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


@router.get(
    "/{job_id}/result",
    response_class=FileResponse,
    responses={200: {"content": {"application/zip": {}}}, **responses(JobNotFoundError, JobResultGoneError)},
)
def job_result(job_id: str, core: CoreDep) -> FileResponse:
    """The file that a job left, whole or by ranges."""
    with core.database.read() as session:
        job = JobService(session).find(job_id)
    path = existing_result(core.settings, job)
    name = f"descry-{job.created_at:%Y-%m-%d}-{job.id[:8]}.zip"
    return FileResponse(path, media_type="application/zip", filename=name, headers={"Cache-Control": "no-store"})


@router.post(
    "/{job_id}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    responses=responses(JobNotFoundError, JobFinishedError),
)
def cancel_job(job_id: str, core: CoreDep) -> JobDetail:
    """End a job: at once if it waits, at its next safe point if it runs. What it did until then stays."""
    with core.database.write() as session:
        JobService(session).cancel(job_id)
    return _detail(core, job_id)


@router.post(
    "/{job_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    responses=responses(JobNotFoundError, JobNotRetryableError),
)
def retry_job(job_id: str, core: CoreDep, response: Response) -> JobDetail:
    """Queue a new run over what the job did not do: items rejected or never reached, or the rest of the work.

    Of a batch: over those that could end otherwise, from the files that were kept for a day.
    """
    with core.database.write() as session:
        again = JobService(session).retry(job_id).id
    response.headers["Location"] = f"/v1/jobs/{again}"
    return _detail(core, again)


def _detail(core: Core, job_id: str, after: int = 0) -> JobDetail:
    with core.database.read() as session:
        row, jobs = JobService(session).find(job_id), JobRepository(session)
        out = JobOut.of(row, jobs.counts([job_id]).get(job_id, {}))
        lines = [JobLine.of(line) for line in jobs.lines(job_id, after=after, limit=_LINES)]
    return JobDetail(**out.model_dump(), log=lines)


def _standing(core: Core, key_id: int | None) -> str | None:
    with core.database.read() as session:
        return KeyService(session).standing(key_id, now())


async def _events(core: Core, job_id: str, key_id: int | None) -> AsyncIterator[str]:
    shown, line, spoke = "", 0, time.monotonic()
    held = await run_in_threadpool(_standing, core, key_id)
    while held is not None and held == await run_in_threadpool(_standing, core, key_id):
        detail = await run_in_threadpool(_detail, core, job_id, line)
        for entry in detail.log:
            line, spoke = entry.id, time.monotonic()
            yield f"event: log\ndata: {entry.model_dump_json()}\n\n"
        # The heartbeat alone is no news.
        state = JobOut(**detail.model_dump(exclude={"log", "heartbeat_at"}), heartbeat_at=None).model_dump_json()
        if state != shown:
            shown, spoke = state, time.monotonic()
            yield f"event: job\ndata: {state}\n\n"
        if detail.state in FINAL:
            return
        if time.monotonic() - spoke > _COMMENT_S:
            spoke = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(_LOOK_S)
