"""Requests and answers: the key, retries, errors."""

import json as json_module
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from descry_client.async_tools import HttpClient, Response, pause, streamed
from descry_client.errors import ConnectionFailedError, UnexpectedAnswerError, refusal
from descry_client.uploads import Multipart, Part, Progress, counted

T = TypeVar("T")
Body = BaseModel | Mapping[str, Any] | list[Any]
_BUSY = (429, 503)
_DEFAULT_WAIT_S = 1.0


class AsyncTransport:
    """One server, one key. The key is sent in a header and is nowhere else: in no address, text or `repr`."""

    def __init__(
        self, url: str, key: str | None, *, timeout_s: float, retries: int, most_wait_s: float, http: HttpClient | None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of a server looks like https://descry.example.org")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("the address carries more than a place; give the key as `key`, never within the address")
        if key is not None and (not key or not key.isascii() or not key.isprintable() or " " in key):
            raise ValueError("this is no key: it has characters that no key has")
        self.url = url.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._retries, self._most_wait_s = retries, most_wait_s
        self._own = http is None
        # Redirects are not followed: they would carry the key elsewhere.
        self._http = HttpClient(timeout=timeout_s, follow_redirects=False) if http is None else http

    async def aclose(self) -> None:
        """Close the connections, if they are this one's own."""
        if self._own:
            await self._http.aclose()

    async def json(self, kind: type[T], method: str, path: str, **request: Any) -> T:  # noqa: ANN401
        """Send a request (see `send`) and read its answer as `kind`.

        Raises:
            ProblemError: the server refused.
            ConnectionFailedError, UnexpectedAnswerError: no answer of this API came.
        """
        response = await self.send(method, path, **request)
        try:
            return TypeAdapter(kind).validate_json(response.content)
        except ValidationError as error:
            wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors()[:5])
            name = getattr(kind, "__name__", str(kind))
            raise UnexpectedAnswerError(f"{method} {path} answered with something that is no {name}: {wrong}") from None

    async def send(
        self,
        method: str,
        path: str,
        *,
        ids: Mapping[str, int | str] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        parts: Iterable[Part] | None = None,
        content: Part | None = None,
        progress: Progress | None = None,
        safe: bool | None = None,
        fine: tuple[int, ...] = (),
    ) -> Response:
        """Send a request and read the whole answer. Busy servers are asked again.

        Args:
            path: as the document has it; `ids` fill what is in braces.
            body, parts, content: JSON, a form with files, or a file as the body; one of them, or none.
            safe: whether a request that 503 answered may be sent again; by default what only reads or deletes.
            fine: statuses besides 2xx that are no errors.
        """
        address = self._address(path, ids)
        extra = {**self._headers, **(headers or {})}
        source: Multipart | Part | None = Multipart(parts) if parts is not None else content
        encoded: bytes | None = None
        if source is not None:
            extra |= {"Content-Length": str(source.length), "Content-Type": source.kind}
        elif body is not None:
            extra["Content-Type"], encoded = "application/json", _encoded(body)
        again = method in ("GET", "DELETE") if safe is None else safe
        for left in range(self._retries, -1, -1):
            out: Any = encoded
            if source is not None:
                out = streamed(counted(source.pieces(), source.length, progress))
            with _connected(self.url):
                response = await self._http.request(
                    method, address, params=_params(params), headers=extra, content=out, follow_redirects=False
                )
            if response.is_success or response.status_code in fine:
                return response
            wait = _retry_after(response)
            busy = response.status_code == 429 or (again and response.status_code in _BUSY)
            if not left or not busy or (wait or 0) > self._most_wait_s:
                break
            await pause(wait if wait is not None else _DEFAULT_WAIT_S)
        raise refusal(response.status_code, response.content, _retry_after(response))

    @asynccontextmanager
    async def stream(
        self, path: str, *, ids: Mapping[str, int | str] | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[Response]:
        """Send a GET and read its answer as it comes."""
        address, extra = self._address(path, ids), {**self._headers, **(headers or {})}
        with _connected(self.url):
            async with self._http.stream("GET", address, headers=extra, follow_redirects=False) as response:
                if not response.is_success:
                    await response.aread()
                    raise refusal(response.status_code, response.content, _retry_after(response))
                yield response

    def _address(self, path: str, ids: Mapping[str, int | str] | None) -> str:
        words = {name: str(value) for name, value in (ids or {}).items()}
        if wrong := [name for name, word in words.items() if word in ("", ".", "..")]:
            raise ValueError(f"this is no {wrong[0]}: {words[wrong[0]]!r}")
        return self.url + path.format_map({name: quote(word, safe="") for name, word in words.items()})


@contextmanager
def _connected(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        # Without the cause: it holds the request, and that the key.
        raise ConnectionFailedError(f"{url} does not answer: {type(error).__name__}: {error}") from None


def _encoded(body: Body) -> bytes:
    if isinstance(body, BaseModel):
        return body.model_dump_json(exclude_unset=True).encode()
    return json_module.dumps(jsonable(body)).encode()


def jsonable(value: Any) -> Any:  # noqa: ANN401
    """A body as JSON has it: models by what was set of them, instants as ISO 8601."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return {name: jsonable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def given(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    """What is not None."""
    return {name: value for name, value in values.items() if value is not None}


def _params(params: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: _word(value) for name, value in (params or {}).items() if value is not None}


def _word(value: Any) -> str:  # noqa: ANN401
    return str(value).lower() if isinstance(value, bool) else str(jsonable(value))


def _retry_after(response: Response) -> float | None:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None


def deadline(timeout_s: float | None) -> float:
    """The moment, of the monotonic clock, when waiting ends."""
    return float("inf") if timeout_s is None else time.monotonic() + timeout_s
