"""How every search over HTTP is answered: encoded and ranked by one model version, from beginning to end."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.core import Core
from app.errors import EncoderTimeoutError
from app.registry.active import LoadedModel
from app.search.query import Query
from app.search.schemas import SearchAnswer, SearchOptions
from app.search.service import SearchService, SupersededError

K = TypeVar("K")
R = TypeVar("R")
_DISCONNECT_CHECK_S = 0.25
_SWITCHES = 3
"""Changes of the version that one query follows."""


async def answer(
    core: Core, encode: Callable[[LoadedModel], Awaitable[Query]], options: SearchOptions, started: float
) -> SearchAnswer:
    """Encode and search with one version, from beginning to end; again, if another one has taken over meanwhile.

    The query is kept, off the path of its answer.

    Raises:
        NoActiveModelError: no version answers. And what `encode` and `SearchService.answer` raise.
    """
    narrow = options.collection is not None or bool(options.filters)
    for _ in range(_SWITCHES):
        model = core.active.current()
        query = await encode(model)
        service = SearchService(core.database, model, core.active.ready, core.settings.protected_attributes)
        try:
            found = await core.lanes(narrow=narrow or len(query.parts) > 1).run(
                service.answer, query, options, started=started
            )
        except SupersededError:
            await run_in_threadpool(core.active.follow)
            continue
        core.recorder.note(query, options, found)
        return found
    model = core.active.current()
    query = await encode(model)
    service = SearchService(core.database, model, protected=core.settings.protected_attributes)
    found = await core.lanes(narrow=narrow or len(query.parts) > 1).run(service.answer, query, options, started=started)
    core.recorder.note(query, options, found)
    return found


async def gathered(queued: "Mapping[K, Future[R]]", request: Request, timeout_s: float) -> dict[K, R]:
    """`encoded` for several at once; when one fails, all give their places back."""
    if len(queued) == 1:
        return {key: await encoded(future, request, timeout_s) for key, future in queued.items()}
    waiting = [asyncio.ensure_future(encoded(future, request, timeout_s)) for future in queued.values()]
    try:
        found = await asyncio.gather(*waiting)
    finally:
        for one in waiting:
            one.cancel()
    return dict(zip(queued, found, strict=True))


async def encoded(future: "Future[R]", request: Request, timeout_s: float) -> R:
    """Wait for the encoder; give the place in the queue back if the client goes away or the time is up.

    Raises:
        EncoderTimeoutError: it takes longer than `timeout_s`.
        ClientDisconnect: nobody waits for the answer any more.
    """
    deadline = time.monotonic() + timeout_s
    waiting = asyncio.wrap_future(future)
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=_DISCONNECT_CHECK_S)
            if done:
                return waiting.result()
            if await request.is_disconnected():
                raise ClientDisconnect
            if time.monotonic() > deadline:
                raise EncoderTimeoutError(f"the encoder did not answer within {timeout_s:g} s; try again in a moment")
    finally:
        waiting.cancel()
