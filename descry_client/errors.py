"""Errors of the client.

ClientError
|-- ConnectionFailedError       no answer came: the address, the network, or the server is away
|-- UnexpectedAnswerError       an answer that is none of this API
|-- JobEndedError               a job that was waited for failed, or was cancelled or superseded (`job`)
|-- WaitTimeoutError            a job has not ended within the time that was given (`job`)
`-- ProblemError                the server refused; `code` is stable, programs match on it
    |-- NotAuthorisedError      401
    |-- ForbiddenError          403
    |-- NotFoundError           404
    |-- ConflictError           409
    |-- InvalidRequestError     400, 408, 413, 415, 422
    |-- RateLimitedError        429
    `-- ServerError             5xx
"""

from pydantic import ValidationError

from descry_client.models import JobOut, Problem

_MOST_CHARS = 200


class ClientError(Exception):
    """The root."""


class ConnectionFailedError(ClientError):
    """No answer came. What was sent may have been done or not."""


class UnexpectedAnswerError(ClientError):
    """An answer came that is none of this API: another server, a proxy, or a server of another version."""


class JobEndedError(ClientError):
    """A job failed, or was cancelled or superseded."""

    def __init__(self, job: JobOut) -> None:
        why = f": {job.error.code}: {job.error.message}" if job.error else ""
        super().__init__(f"the job {job.id} ({job.kind}) {job.state}{why}")
        self.job = job


class WaitTimeoutError(ClientError):
    """A job goes on; it was not waited for any longer."""

    def __init__(self, job_id: str, waited_s: float) -> None:
        super().__init__(f"the job {job_id} has not ended within {waited_s:g} s; it goes on")
        self.job_id = job_id


class ProblemError(ClientError):
    """The server's answer is a problem document (RFC 9457), which is `problem`."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail}")
        self.problem, self.retry_after_s = problem, retry_after_s

    @property
    def code(self) -> str:
        """What is wrong, as a word that does not change."""
        return self.problem.code

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def request_id(self) -> str:
        """Names the request in the server's log."""
        return self.problem.request_id


class NotAuthorisedError(ProblemError):
    """There is no key, or not a valid one."""


class ForbiddenError(ProblemError):
    """The key may not do this."""


class NotFoundError(ProblemError):
    """What was named does not exist, or the key may not see it."""


class ConflictError(ProblemError):
    """The request contradicts the present state."""


class InvalidRequestError(ProblemError):
    """The request, or a part of it, cannot be accepted."""


class RateLimitedError(ProblemError):
    """Too much at once; `retry_after_s` says when to ask again."""


class ServerError(ProblemError):
    """The server cannot answer now, or failed."""


_KINDS: dict[int, type[ProblemError]] = {
    401: NotAuthorisedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitedError,
}


def refusal(status: int, content: bytes, retry_after_s: float | None = None) -> ClientError:
    """The error for an answer that is no success."""
    try:
        problem = Problem.model_validate_json(content)
    except ValidationError:
        text = content[:_MOST_CHARS].decode(errors="replace")
        return UnexpectedAnswerError(f"status {status} without a problem document: {text!r}")
    kind = _KINDS.get(status, ServerError if status >= 500 else InvalidRequestError)
    return kind(problem, retry_after_s)
