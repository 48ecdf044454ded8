"""Jobs, and waiting for them."""

import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

from descry_client._async.transport import AsyncTransport, deadline, given
from descry_client.async_tools import pause
from descry_client.errors import (
    ConnectionFailedError,
    JobEndedError,
    RateLimitedError,
    ServerError,
    WaitTimeoutError,
)
from descry_client.models import JobDetail, JobItemList, JobItemOut, JobLine, JobList, JobOut

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "superseded"]
ItemStatus = Literal["ingested", "duplicate", "rejected"]
ENDED = ("succeeded", "failed", "cancelled", "superseded")
_RECONNECT_S = 1.0


class AsyncJobs:
    """/v1/jobs."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def page(self, *, state: State | None = None, limit: int = 50, before: str | None = None) -> JobList:
        """A page of jobs, newest first."""
        params = given(state=state, limit=limit, before=before)
        return await self._transport.json(JobList, "GET", "/v1/jobs", params=params)

    async def all(self, *, state: State | None = None, page: int = 200) -> AsyncIterator[JobOut]:
        """Every job, newest first."""
        before: str | None = None
        while True:
            found = await self.page(state=state, limit=page, before=before)
            for job in found.jobs:
                yield job
            if (before := found.next_before) is None:
                return

    async def get(self, job_id: str) -> JobDetail:
        """A job with its log."""
        return await self._transport.json(JobDetail, "GET", "/v1/jobs/{job_id}", ids={"job_id": job_id})

    async def items_page(
        self, job_id: str, *, status: ItemStatus | None = None, limit: int = 100, after: int | None = None
    ) -> JobItemList:
        """A page of what became of each entry."""
        params = given(status=status, limit=limit, after=after)
        return await self._transport.json(
            JobItemList, "GET", "/v1/jobs/{job_id}/items", ids={"job_id": job_id}, params=params
        )

    async def items(
        self, job_id: str, *, status: ItemStatus | None = None, page: int = 1000
    ) -> AsyncIterator[JobItemOut]:
        """What became of each entry, in the order of the source."""
        after: int | None = None
        while True:
            found = await self.items_page(job_id, status=status, limit=page, after=after)
            for item in found.items:
                yield item
            if (after := found.next_after) is None:
                return

    async def cancel(self, job_id: str) -> JobDetail:
        """End a job at its next safe point."""
        return await self._transport.json(JobDetail, "POST", "/v1/jobs/{job_id}/cancel", ids={"job_id": job_id})

    async def retry(self, job_id: str) -> JobDetail:
        """Queue a new job over what a job did not do."""
        return await self._transport.json(JobDetail, "POST", "/v1/jobs/{job_id}/retry", ids={"job_id": job_id})

    async def save_result(self, job_id: str, target: Path) -> int:
        """Write the file that a job left, and return its bytes. `target` appears whole or not at all.

        Raises:
            FileExistsError: there is such a file.
        """
        part = _part_of(target)
        try:
            written = 0
            async with self._transport.stream("/v1/jobs/{job_id}/result", ids={"job_id": job_id}) as response:
                with part.open("wb") as file:
                    async for piece in response.aiter_bytes():
                        written += file.write(piece)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
        return written

    async def events(self, job_id: str) -> AsyncIterator[JobOut | JobLine]:
        """The job whenever it changed, and each line of its log, until it has ended or the connection breaks."""
        event, data = "", ""
        accept = {"Accept": "text/event-stream"}
        async with self._transport.stream("/v1/jobs/{job_id}/events", ids={"job_id": job_id}, headers=accept) as found:
            async for line in found.aiter_lines():
                name, _, value = line.partition(":")
                if name == "event":
                    event = value.strip()
                elif name == "data":
                    data = value.strip()
                elif not line and data:
                    if event == "job":
                        yield JobOut.model_validate_json(data)
                    elif event == "log":
                        yield JobLine.model_validate_json(data)
                    event, data = "", ""

    async def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        told: Callable[[JobOut | JobLine], None] | None = None,
        poll_s: float | None = None,
        away_s: float = 120.0,
    ) -> JobDetail:
        """Wait until a job has succeeded.

        Args:
            timeout_s: how long at most; None: as long as it takes. It ends the waiting, not the job.
            told: called with the job whenever it changed and with lines of its log; while polling, with the job.
            poll_s: ask again after so many seconds, instead of listening: for proxies that hold streams back. With
                `timeout_s` that is done each second, for a stream may be silent for long.
            away_s: how long the server may be away or busy; then its error is raised.

        Raises:
            JobEndedError: it failed, was cancelled, or was superseded by a later activation.
            WaitTimeoutError: it has not ended in time.
        """
        end, gone = deadline(timeout_s), deadline(away_s)
        listens = poll_s is None and timeout_s is None
        pause_s = _RECONNECT_S if poll_s is None else poll_s
        while True:
            try:
                job = await self._look(job_id, told, listens=listens)
            except (ConnectionFailedError, RateLimitedError, ServerError):
                # The job goes on without us: a server that starts again, a proxy that ends long answers.
                if time.monotonic() > gone:
                    raise
            else:
                gone = deadline(away_s)
                if job.state == "succeeded":
                    return job
                if job.state in ENDED:
                    raise JobEndedError(job)
            if time.monotonic() >= end:
                raise WaitTimeoutError(job_id, timeout_s or 0.0)
            await pause(min(pause_s, max(0.0, end - time.monotonic())))

    async def _look(self, job_id: str, told: Callable[[JobOut | JobLine], None] | None, *, listens: bool) -> JobDetail:
        if listens:
            async for news in self.events(job_id):
                if told is not None:
                    told(news)
        job = await self.get(job_id)
        if not listens and told is not None:
            told(job)
        return job


def _part_of(target: Path) -> Path:
    if target.exists():
        raise FileExistsError(f"{target} is there already")
    return target.with_name(f"{target.name}.part")
