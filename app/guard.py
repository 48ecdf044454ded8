"""What goes round every request: who may talk to us, how much, and what every answer carries."""

import asyncio
import logging
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.rules import route_of
from app.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    HostNotAllowedError,
    InvalidError,
    OriginNotAllowedError,
    ServerBusyError,
    ServiceError,
)
from app.metrics.instruments import observe_request
from app.problems import service_problem, unexpected_problem
from app.settings import Settings, is_loopback
from app.telemetry import FIELDS, begin_request
from app.tracing import span
from app.values import holds_half_characters

_log = logging.getLogger(__name__)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MULTIPART_OVERHEAD = 64 * 1024
_VIDEOS = "/v1/gallery/videos"
_SEARCH = "/v1/search/"
_BATCHES, _MODELS, _COMPOSED = "/v1/gallery/batches", "/v1/models", "/v1/search/composed"
_PICTURES = 4
"""Largest pictures that one composed query may come with; of smaller ones it may be more."""
CSP = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._searches = _Searches(settings.max_searches)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, pass on, decorate the answer, write the access line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = begin_request(headers.get("x-request-id"))
        limit = self._body_limit(scope["path"], headers)
        route = route_of(scope["path"])
        searches = self._searches if scope["path"].startswith(_SEARCH) else None
        exchange = _Exchange(scope["path"], request_id, receive, send, limit, self._settings, searches)
        exchange.is_text = scope["path"] != _VIDEOS and not _is_form(headers)
        if searches is not None and searches.full:
            await searches.refused(scope["path"])(scope, receive, exchange.send)
            observe_request(scope["method"], route, exchange.status, exchange.milliseconds() / 1000)
            return
        try:
            with span(f"{scope['method']} {route}", {"http.route": route, "descry.request_id": request_id}) as told:
                await self._pass(scope, receive, exchange, headers)
                told["http.response.status_code"] = exchange.status
        except ClientDisconnect:
            _log.info("the client of %s %s went away", scope["method"], scope["path"])
        except Exception:  # noqa: BLE001  the last line before the socket: logs all, tells the client nothing
            _log.exception("unexpected error in %s %s", scope["method"], scope["path"])
            if not exchange.status:
                await unexpected_problem(scope["path"])(scope, receive, exchange.send)
        finally:
            exchange.leave()
            _note(scope, route, exchange.status, exchange.milliseconds())

    async def _pass(self, scope: Scope, receive: Receive, exchange: "_Exchange", headers: Headers) -> None:
        if (refusal := self._refusal(scope, headers)) is not None:
            await refusal(scope, receive, exchange.send)
            return
        await self._app(scope, exchange.receive, exchange.send)
        if exchange.left:
            raise ClientDisconnect

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        path = scope["path"]
        host = headers.get("host", "")
        if not self._host_allowed(host):
            return service_problem(
                path,
                HostNotAllowedError(
                    "this server answers under its own name only; add the name to DESCRY_ALLOWED_HOSTS if it is right"
                ),
            )
        origin = headers.get("origin")
        if scope["method"] not in _SAFE_METHODS and origin is not None and _place(origin) != host:
            return service_problem(path, OriginNotAllowedError("pages of other origins may not change anything here"))
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._body_limit(path, headers):
            return service_problem(path, _too_large(self._body_limit(path, headers)))
        return None

    def _host_allowed(self, host: str) -> bool:
        """On loopback a page elsewhere could rebind its own name to us; its Host header gives it away."""
        if not self._settings.on_loopback:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return is_loopback(name) or name in self._settings.allowed_hosts

    def _body_limit(self, path: str, headers: Headers) -> int:
        if path == _VIDEOS:
            return self._settings.max_video_bytes
        if _is_form(headers):
            if path == _BATCHES:
                # Each part has headers of its own.
                return self._settings.max_batch_bytes + 1024 * self._settings.max_batch_files
            if path == _MODELS:
                return self._settings.max_checkpoint_bytes + _MULTIPART_OVERHEAD
            pictures = _PICTURES if path == _COMPOSED else 1
            return pictures * self._settings.max_upload_bytes + _MULTIPART_OVERHEAD
        return self._settings.max_body_bytes


def _is_form(headers: Headers) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def _place(origin: str) -> str | None:
    """Host and port of an origin; None for what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


class _Searches:
    """How many searches are being answered. One counts from the end of its request: a slow client takes no place."""

    def __init__(self, most: int) -> None:
        self._most, self.count = most, 0
        self._refused, self._told = 0, time.monotonic()

    @property
    def full(self) -> bool:
        return self.count >= self._most

    def refused(self, path: str) -> Response:
        """The answer to one too many. One line in the log for all of a second: it must cost less than a search."""
        self._refused += 1
        if (now := time.monotonic()) - self._told >= 1:
            _log.warning("%d searches were refused: %d are being answered", self._refused, self.count)
            self._refused, self._told = 0, now
        return service_problem(
            path, ServerBusyError(f"{self.count} searches are being answered; try again in a moment")
        )


def _note(scope: Scope, route: str, status: int, milliseconds: float) -> None:
    """The access line, and its part of the metrics. Never the query string: words may stand there."""
    method, path = scope["method"], scope["path"]
    observe_request(method, route, status, milliseconds / 1000)
    key_id = getattr(scope.get("state", {}).get("principal"), "key_id", None)
    fields = {"method": method, "route": route, "path": path, "status": status, "ms": round(milliseconds, 1)}
    _log.info(
        "%s %s status=%d ms=%.1f key=%s",
        *(method, path, status, milliseconds, "-" if key_id is None else key_id),
        extra={FIELDS: {**fields, "key_id": key_id}},
    )


class _Exchange:
    """One request and its answer: limits what comes in, decorates what goes out."""

    def __init__(
        self,
        path: str,
        request_id: str,
        receive: Receive,
        send: Send,
        limit: int,
        settings: Settings,
        searches: "_Searches | None" = None,
    ) -> None:
        self._path, self._id, self._receive, self._send, self._limit = path, request_id, receive, send, limit
        self._pace = _Pace(settings.body_idle_s, settings.body_min_rate)
        self._searches, self._entered = searches, False
        self._received = 0
        self._complete = False
        self._started = time.perf_counter()
        self._fault: ServiceError | None = None
        self.status = 0
        self.is_text = False
        """Whether the body is read as text: JSON, for all that is no upload."""
        self._text = bytearray()
        self.left = False
        """Whether the client went away before its request was read."""

    def milliseconds(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    async def receive(self) -> Message:
        if self._complete:  # all that can come now is that the client goes away
            return await self._receive()
        try:
            message = await self._pace.wait(self._receive)
            self._received += len(message.get("body", b""))
            if self._received > self._limit:
                raise _too_large(self._limit)
            self._check_text(message)
        except ServiceError as error:
            self._fault = error
            raise
        if message["type"] == "http.disconnect":
            # It may come before a body that has arrived; the framework makes a 400 of it, for nobody.
            self.left = True
            return message
        self._complete = not message.get("more_body", False)
        if self._complete and self._searches is not None and message["type"] == "http.request":
            self._searches.count += 1
            self._entered = True
        return message

    def _check_text(self, message: Message) -> None:
        """What is half a character could be stored, and no answer that holds it could be written."""
        if self.is_text:
            self._text += message.get("body", b"")
            if not message.get("more_body", False) and holds_half_characters(bytes(self._text)):
                raise InvalidError("body: the text is not valid Unicode: it holds half of a surrogate pair")

    def leave(self) -> None:
        """The search is over, if it was one."""
        if self._entered and self._searches is not None:
            self._searches.count -= 1

    async def send(self, message: Message) -> None:
        if self.left:
            return
        if self._fault is not None:
            # The framework turns what `receive` raises into a 400 of its own; the truth is this.
            if message["type"] != "http.response.start" or self.status:
                return
            self.status = self._fault.status
            response = service_problem(self._path, self._fault)
            close = [(b"connection", b"close")] if isinstance(self._fault, BodyTimeoutError) else []
            await self._send(self._start(response.status_code, [*response.raw_headers, *close]))
            await self._send({"type": "http.response.body", "body": response.body})
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = self._start(message["status"], message.get("headers", []))
        await self._send(message)

    def _start(self, status: int, raw: list[tuple[bytes, bytes]]) -> Message:
        headers = MutableHeaders(raw=list(raw))
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        headers["X-Request-ID"] = self._id
        return {"type": "http.response.start", "status": status, "headers": headers.raw}


def _too_large(limit: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the request body is larger than the {limit / 2**20:.1f} MiB that are accepted here")


class _Pace:
    """Ends a body that does not get on. Only the time counts that we spend waiting for the client."""

    def __init__(self, idle_s: float, min_rate: int) -> None:
        self._idle_s, self._least = idle_s, max(1, round(min_rate * idle_s))
        self._waited, self._bytes = 0.0, 0

    async def wait(self, receive: Receive) -> Message:
        """The next message.

        Raises:
            BodyTimeoutError: it does not come, or too little came for a while.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, self._idle_s - self._waited)):
                message = await receive()
        except TimeoutError:
            raise self._too_slow() from None
        self._waited += time.monotonic() - began
        self._bytes += len(message.get("body", b""))
        if self._bytes >= self._least:
            self._waited, self._bytes = 0.0, 0
        elif self._waited >= self._idle_s and message.get("more_body", False):
            raise self._too_slow()
        return message

    def _too_slow(self) -> BodyTimeoutError:
        return BodyTimeoutError(
            f"{self._bytes:,} bytes of the request body arrived within {self._idle_s:g} s; at least "
            f"{self._least:,} are expected (DESCRY_BODY_IDLE_S, DESCRY_BODY_MIN_RATE)"
        )
