"""How every search over HTTP is answered: encoded and ranked by one model version, from beginning to end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.audit.note import noted, noted_all
from app.core import Core
from app.errors import EncoderTimeoutError, ModelNotLoadedError
from app.metrics.instruments import observe_search
from app.registry.active import LoadedModel
from app.search.purpose import asked_with, check_purpose
from app.search.query import Query
from app.search.schemas import SearchOptions
from app.search.service import SearchService, SupersededError
from app.search.written import WrittenAnswer
from app.tracing import record, span

K = TypeVar("K")
R = TypeVar("R")
_LOAD_CHECK_S, _LOAD_CHECKS = 0.05, 10
_SWITCHES = 3
"""Changes of the version that one query follows."""


async def answer(
    core: Core,
    encode: Callable[[LoadedModel], Awaitable[Query]],
    options: SearchOptions,
    started: float,
    *,
    sent_as_it_is: bool = True,
) -> WrittenAnswer:
    """Encode and search with one version, from beginning to end; again, if another one has taken over meanwhile.

    One that has taken over and is being loaded is waited for where the present one cannot answer.
    The query is kept, off the path of its answer.

    Args:
        sent_as_it_is: whether nothing that can fail comes between this and the client. Then the entry of the audit,
            for which the client waits, is begun at once.

    Raises:
        NoActiveModelError: no version answers. And what `encode` and `SearchService.answer` raise.
    """
    noted(**asked_with(options))  # also of a search that fails
    check_purpose(options, core.settings)
    narrow = options.collection is not None or bool(options.filters)
    deadline, switches = time.monotonic() + core.settings.query_timeout_s, 0
    while True:
        model = core.active.current()
        with span("encode"):
            query = await encode(model)
        ready = core.active.ready if switches < _SWITCHES else _never
        service = SearchService(core.database, model, ready, core.settings.protected_attributes)
        try:
            found = await core.lanes(narrow=narrow or len(query.parts) > 1).run(
                _written, service, query, options, started, entered=sent_as_it_is
            )
        except SupersededError:
            switches += 1
            await run_in_threadpool(core.active.follow)
        except ModelNotLoadedError as error:
            if time.monotonic() > deadline:
                raise
            await _loaded(core, error.version_id)
        else:
            core.recorder.note(query, options, found.query_id, found.version_id)
            observe_search(found.took)
            record({"search": found.took.search, "fetch": found.took.fetch})
            return found


def _written(
    service: SearchService, query: Query, options: SearchOptions, started: float, *, entered: bool
) -> WrittenAnswer:
    found = service.written(query, options, started=started)
    if entered:
        noted_all()
    return found


def sent(found: WrittenAnswer) -> Response:
    """An answer as it goes over the wire. It was written to its schema; the framework need not do that again."""
    return Response(found.json, media_type="application/json")


def _never(version_id: int) -> bool:
    return False


async def _loaded(core: Core, version_id: int) -> None:
    """Wait a moment for a version; in vain, if the database names yet another one meanwhile."""
    for _ in range(_LOAD_CHECKS):
        if core.active.ready(version_id):
            await run_in_threadpool(core.active.follow)
            return
        await asyncio.sleep(_LOAD_CHECK_S)


async def gathered(queued: "Mapping[K, Future[R]]", request: Request, timeout_s: float) -> dict[K, R]:
    """Wait for several results; give all their places in the queues back if one fails, if the client goes away, or if
    the time is up.

    Raises:
        EncoderTimeoutError: it takes longer than `timeout_s`.
        ClientDisconnect: nobody waits for the answer any more.
    """
    if all(future.done() for future in queued.values()):  # known from before
        return {key: future.result() for key, future in queued.items()}
    waiting = {key: asyncio.wrap_future(future) for key, future in queued.items()}
    gone = asyncio.ensure_future(_gone(request))
    pending: set[asyncio.Future[Any]] = set(waiting.values())
    deadline = time.monotonic() + timeout_s
    try:
        while pending:
            left = max(0.0, deadline - time.monotonic())
            done, _ = await asyncio.wait({gone, *pending}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if gone in done:
                raise ClientDisconnect
            if not done:
                raise EncoderTimeoutError(f"the encoder did not answer within {timeout_s:g} s; try again in a moment")
            for one in pending & done:
                one.result()
            pending -= done
        return {key: one.result() for key, one in waiting.items()}
    finally:
        gone.cancel()
        for one in waiting.values():
            one.cancel()


async def encoded(future: "Future[R]", request: Request, timeout_s: float) -> R:
    """`gathered` for one."""
    return (await gathered({0: future}, request, timeout_s))[0]


async def _gone(request: Request) -> None:
    """Returns when the client goes away. The body was read before, so that nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
