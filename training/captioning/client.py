"""One request to an OpenAI-compatible chat endpoint, and what can come of it.

AnswerError
+-- BusyError        429, 408 or 5xx: ask again, not before `wait` seconds
+-- LostError        no usable answer: time-out, cut connection, a broken body; it may have been worked on and billed
+-- RefusedError     this request is not taken (another 4xx): asking again is of no use
+-- ClosedError      no request will be taken: wrong key, wrong address, no credit
"""

import asyncio
import email.utils
import ipaddress
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from training.captioning.ledger import Usage
from training.errors import DescriptionsError

MOST_BYTES = 1 << 20
KEY_VARIABLE = "DESCRY_DESCRIBE_KEY"
_SHOWN = 200


class AnswerError(Exception):
    """No usable answer to one request."""


class BusyError(AnswerError):
    """The endpoint asks to come back later; `wait` in seconds, None where it does not say when."""

    def __init__(self, reason: str, wait: float | None) -> None:
        super().__init__(reason)
        self.wait = wait


class LostError(AnswerError):
    """No usable answer came; `may_be_billed` where the request had reached the endpoint."""

    def __init__(self, reason: str, *, may_be_billed: bool) -> None:
        super().__init__(reason)
        self.may_be_billed = may_be_billed


class RefusedError(AnswerError):
    """The endpoint does not take this request."""


class ClosedError(AnswerError):
    """The endpoint takes no request of ours."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how to ask.

    Attributes:
        url: the base, such as http://127.0.0.1:8080/v1; "/chat/completions" is added.
        key: sent as a bearer token; never shown, logged or written.
        timeout: seconds for one whole request.
        most_tokens: limit of an answer's length.
        json_object: ask for `response_format: json_object`, which not every server knows.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    most_tokens: int = 600
    temperature: float = 0.7
    json_object: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said: its text or the refusal field, whether the length cut it, and the tokens if counted."""

    text: str | None
    refusal: str | None
    cut: bool
    usage: Usage | None


def read_key(file: Path | None) -> str | None:
    """The key from a file, else from the environment; not from an option, which every user of the machine could see.

    Raises:
        DescriptionsError: the file cannot be read, or the key cannot be a header.
    """
    try:
        key = file.read_text(encoding="utf-8").strip() if file else os.environ.get(KEY_VARIABLE, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionsError(f"the key file {file} cannot be read") from error
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise DescriptionsError(f"the key in {file or KEY_VARIABLE} has characters that no key has")
    return key or None


def check_consent(url: str, host: str | None) -> bool:
    """Pictures of people leave the machine only for a host that was named; says whether they stay here.

    Raises:
        DescriptionsError: no usable address, a password in it, or a host that was not named.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise DescriptionsError(f"{url!r} is no address: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise DescriptionsError("the endpoint's address begins with http:// or https:// and names a host")
    if parsed.userinfo or parsed.query:
        raise DescriptionsError(f"the endpoint's address holds no password and no query; a key goes in {KEY_VARIABLE}")
    if _is_loopback(parsed.host):
        return True
    if (host or "").lower() != parsed.host.lower():
        raise DescriptionsError(
            f"pictures of people would leave this machine for {parsed.host}; if you may do that, add "
            f"--yes-send-images-to {parsed.host}"
        )
    return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Client:
    """Asks an endpoint; any number of requests at a time."""

    def __init__(self, endpoint: Endpoint, *, concurrency: int, local: bool) -> None:
        self._endpoint = endpoint
        headers = {"authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
        # A proxy of the environment would take pictures off the machine that were to stay on it.
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(endpoint.timeout, connect=min(endpoint.timeout, 10.0)),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            trust_env=not local,
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(self, messages: list[dict[str, Any]]) -> Reply:
        """Send one request.

        Raises:
            AnswerError: one of its kinds.
        """
        endpoint = self._endpoint
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": messages,
            "max_tokens": endpoint.most_tokens,
            "temperature": endpoint.temperature,
        }
        if endpoint.json_object:
            body["response_format"] = {"type": "json_object"}
        try:
            async with asyncio.timeout(endpoint.timeout):  # httpx limits each read, and a trickle of bytes is endless
                status, headers, data = await self._send(f"{endpoint.url.rstrip('/')}/chat/completions", body)
        except TimeoutError as error:
            raise LostError(f"no answer within {endpoint.timeout:g} s", may_be_billed=True) from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise LostError(self._clean(f"not reached: {error}"), may_be_billed=False) from error
        except httpx.TransportError as error:
            raise LostError(self._clean(f"{type(error).__name__}: {error}"), may_be_billed=True) from error
        if status != httpx.codes.OK:
            raise self._refusal(status, headers, data)
        try:
            return _reply(data)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            words = _error_of(data)[1] or type(error).__name__
            raise LostError(
                self._clean(f"an answer that is no chat completion: {words}"), may_be_billed=True
            ) from error

    async def _send(self, url: str, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        async with self._http.stream("POST", url, json=body) as response:
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > MOST_BYTES:
                    raise LostError(f"an answer of more than {MOST_BYTES} bytes", may_be_billed=True)
            return response.status_code, response.headers, bytes(data)

    def _refusal(self, status: int, headers: httpx.Headers, data: bytes) -> AnswerError:
        code, words = _error_of(data)
        reason = self._clean(f"HTTP {status}: {words}")
        if code == "insufficient_quota" or status == httpx.codes.PAYMENT_REQUIRED:
            return ClosedError(reason)
        if status in {408, 409, 425, 429} or status >= 500:
            return BusyError(reason, _wait(headers.get("retry-after")))
        if status in {401, 403}:  # such answers like to quote the key, or a part of it
            return ClosedError(f"HTTP {status}: the endpoint does not take the key (from {KEY_VARIABLE} or --key-file)")
        if status < 400 or status in {404, 405}:
            return ClosedError(f"{reason}; is {self._endpoint.url} the base address, and the model's name right?")
        return RefusedError(reason)

    def _clean(self, text: str) -> str:
        """One line without the key, which some endpoints quote."""
        line = " ".join(text.split())
        return line.replace(self._endpoint.key, "(key)") if self._endpoint.key else line


def _reply(data: bytes) -> Reply:
    body = json.loads(data)
    choice = body["choices"][0]
    message = choice["message"]
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return Reply(
        content if isinstance(content, str) else None,
        refusal if isinstance(refusal, str) and refusal else None,
        choice.get("finish_reason") == "length",
        _usage(body.get("usage")),
    )


def _usage(counted: object) -> Usage | None:
    if not isinstance(counted, dict):
        return None
    numbers = counted.get("prompt_tokens"), counted.get("completion_tokens")
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        return None
    return Usage(int(numbers[0]), int(numbers[1]))  # type: ignore[arg-type]


def _error_of(data: bytes) -> tuple[str, str]:
    """(code, words) of an error's body."""
    text = data.decode("utf-8", "replace")
    try:
        error = json.loads(text)["error"]
        code, words = (error.get("code"), error.get("message")) if isinstance(error, dict) else ("", error)
    except (ValueError, KeyError, TypeError, RecursionError):
        code, words = "", text
    return str(code or ""), str(words or "")[:_SHOWN]


def _wait(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which is a number or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None
