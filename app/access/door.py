"""Every request passes here before anything of its body is read: who asks, may they, and not too often."""

import math

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access.directory import Directory
from app.access.limits import Limiter
from app.access.principal import Principal
from app.access.rules import Need, need_of
from app.access.tokens import Token
from app.audit.note import noted_refusal
from app.database.visible import seeing
from app.errors import (
    KeyExpiredError,
    KeyInvalidError,
    KeyRequiredError,
    KeyRevokedError,
    RateLimitedError,
    ServiceError,
)
from app.problems import service_problem
from app.settings import Settings

COOKIE = "descry_key"
_GUESSES_A_MINUTE, _GUESSES = 10, 10


class Door:
    """The layer below `Guard`. It puts the `Principal` into the request's state."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._uses = Limiter(settings.key_rate_per_minute, settings.key_rate_burst)
        self._guesses = Limiter(_GUESSES_A_MINUTE, _GUESSES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer in the route's place."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        need = need_of(scope["method"], scope["path"])
        if need is Need.PUBLIC:
            await self._app(scope, receive, send)
            return
        try:
            principal = await self._admitted(scope, need)
        except ServiceError as error:
            noted_refusal()
            await _refusal(scope["path"], error)(scope, receive, send)
            return
        with seeing(principal.visible):
            await self._app(scope, receive, send)

    async def _admitted(self, scope: Scope, need: Need) -> Principal:
        directory: Directory = scope["app"].state.directory
        given = _given(Headers(scope=scope))
        address = (scope.get("client") or ("",))[0]
        if given is None:
            known = directory.remembered(None)
            principal = await run_in_threadpool(directory.nobody) if known is None else known
        else:
            principal = await self._recognised(directory, given, address)
        scope.setdefault("state", {})["principal"] = principal  # also of who is refused: the audit names them
        principal.require(need)
        if principal.key_id is not None and (wait := self._uses.take(principal.key_id)):
            raise RateLimitedError(f"the key {principal.name!r} is used too often; wait {wait:.1f} s", wait)
        return principal

    async def _recognised(self, directory: Directory, given: str, address: str) -> Principal:
        # Whoever guesses waits, with a right key too: a guess that succeeds must not be told from one that does not.
        if wait := self._guesses.wait(address):
            raise RateLimitedError("too many wrong keys came from this address; wait", wait)
        try:
            token = Token.parse(given)
            if token is None:
                raise KeyInvalidError("this is no key of Descry: they look like descry_xxxxxxxx_...")
            known = directory.remembered(token)
            return await run_in_threadpool(directory.holder, token) if known is None else known
        except (KeyRevokedError, KeyExpiredError):
            raise  # who held it does not guess
        except KeyInvalidError:
            self._guesses.take(address)
            raise


def _given(headers: Headers) -> str | None:
    """The key of a request: of its Authorization header, else of the page's cookie."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    return cookie_parser(headers.get("cookie", "")).get(COOKIE) or None


def _refusal(path: str, error: ServiceError) -> Response:
    response = service_problem(path, error)
    if isinstance(error, KeyRequiredError | KeyInvalidError):
        response.headers["WWW-Authenticate"] = 'Bearer realm="descry"'
    if isinstance(error, RateLimitedError):
        response.headers["Retry-After"] = str(max(1, math.ceil(error.wait_s)))
    return response
