"""The typed client of a Descry server: `Client`, and `AsyncClient` for asyncio.

with Client("https://descry.example.org", key) as descry:
    job = descry.gallery.upload_folder(Path("pictures"))
    descry.jobs.wait(job.id)
    for candidate in descry.search.text("a woman in a red coat", purpose="case 17").candidates:
        print(candidate.identity.id, candidate.score)
"""

from descry_client._async.client import AsyncClient
from descry_client._sync.client import Client
from descry_client.errors import (
    ClientError,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidRequestError,
    JobEndedError,
    NotAuthorisedError,
    NotFoundError,
    ProblemError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "ConflictError",
    "ConnectionFailedError",
    "ForbiddenError",
    "InvalidRequestError",
    "JobEndedError",
    "NotAuthorisedError",
    "NotFoundError",
    "ProblemError",
    "RateLimitedError",
    "ServerError",
    "UnexpectedAnswerError",
    "WaitTimeoutError",
]
