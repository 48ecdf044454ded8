"""The application: `create_app(settings)`."""

import logging
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.staticfiles import PathLike
from starlette.types import Scope

from app import health, openapi, problems
from app.access.directory import Directory
from app.access.door import Door
from app.access.endpoints import router as access
from app.association.endpoints import router as association
from app.audit.endpoints import router as audit
from app.audit.layer import Audited
from app.audit.pruning import prune_by_rule
from app.batches.endpoints import router as batches
from app.batches.room import Room
from app.collections.endpoints import router as collections
from app.collector import leave_imports_alone
from app.core import Core, open_core
from app.errors import StorageError, UnavailableError
from app.explanations.endpoints import router as explanations
from app.explanations.explainer import Explainer
from app.exports.endpoints import router as exports
from app.gallery.endpoints import router as gallery
from app.guard import Guard
from app.identifications.endpoints import router as identifications
from app.identities.endpoints import router as identities
from app.jobs.endpoints import router as jobs
from app.metrics.endpoints import router as metrics
from app.metrics.service import Metrics
from app.queries.endpoints import router as queries
from app.queries.service import sweep
from app.readiness import ReadinessWatch
from app.reference.endpoints import router as reference
from app.registry.endpoints import router as registry
from app.retention.endpoints import router as retention
from app.retention.service import apply
from app.retraining.endpoints import router as retraining
from app.search.composed import router as composed
from app.search.endpoints import router as search
from app.settings import Settings
from app.video.endpoints import router as videos

_log = logging.getLogger(__name__)
_PAGE = Path(__file__).parent / "web" / "static"
_FOLLOW_S, _RETRY_S = 1.0, 10.0
_ROUTERS = (
    search,
    composed,
    queries,
    identities,
    identifications,
    explanations,
    association,
    gallery,
    batches,
    videos,
    collections,
    registry,
    retention,
    retraining,
    jobs,
    exports,
    access,
    audit,
    health.router,
    metrics,
    reference,
)


@dataclass(frozen=True, slots=True)
class Several:
    """Which of several processes on one port a server is.

    Attributes:
        place: from 0.
        name: what these processes have in common, and no others on the machine.
        relieved: others answer already.
    """

    place: int
    name: str
    relieved: bool = False


def create_app(settings: Settings, several: Several | None = None) -> FastAPI:
    """The whole HTTP service over the data folder of the settings, which is opened when the server starts.

    Args:
        several: set for one of `settings.processes`. One that cannot search does not start while others answer: a part
            of all requests would fail for nothing.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        core = await run_in_threadpool(open_core, settings)
        core.active.warm = True
        app.state.core, app.state.room, app.state.explainer = core, Room(settings), Explainer()
        app.state.readiness = ReadinessWatch(core)
        app.state.metrics = Metrics(core) if several is None else Metrics(core, several.place, several.name)
        app.state.directory = Directory(core.database, may_be_open=settings.may_be_open)
        keeper = _Keeper(core)
        try:
            leave_imports_alone()  # nothing is answered while a collection looks at all of it
            await run_in_threadpool(_look_at_store, core)
            if not await run_in_threadpool(keeper.follow) and several is not None and several.relieved:
                raise UnavailableError("this process cannot search, and others can; it is started again")
            keeper.start()
            yield
        finally:
            await run_in_threadpool(keeper.stop)
            await run_in_threadpool(app.state.metrics.close)
            await run_in_threadpool(app.state.explainer.close)
            await run_in_threadpool(core.close, save=True)

    app = FastAPI(
        title="Descry",
        summary="Find a person in a gallery of images from a description in words or an example picture.",
        version=metadata.version("descry"),
        lifespan=lifespan,
        docs_url=None,  # the framework's pages load scripts from other hosts; ours is `app.reference`
        redoc_url=None,
    )
    for router in _ROUTERS:
        app.include_router(router)
    problems.install(app)
    openapi.install(app)
    _mount_page(app)
    app.add_middleware(Door, settings=settings)
    app.add_middleware(Audited)
    app.add_middleware(Guard, settings=settings)  # outermost
    return app


def _look_at_store(core: Core) -> None:
    """Say at once what is wrong with the pictures' store. It does not keep searches from being answered."""
    try:
        core.store.check()
    except StorageError as error:
        _log.error("pictures are not available: %s: %s", error.code, error.message)


def _mount_page(app: FastAPI) -> None:
    if not _PAGE.is_dir():
        return
    app.mount("/static", _Fresh(directory=_PAGE), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(_PAGE / "index.html", headers={"Cache-Control": "no-cache"})


class _Fresh(StaticFiles):
    """The page's files, asked for again each time (an ETag answers): no old module beside a new page."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Keeper:
    """The housekeeping thread: follows what other processes activate, write and erase, compacts and saves indexes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=f"descry-{name}", daemon=True)
            for name, work in (("keeper", self._run), ("standby", self._prepare))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def follow(self) -> bool:
        """Follow activations and the log; False, with a line in the log, when that failed.

        A model that cannot be loaded must not keep the server from starting: /readyz names it, pictures and
        identities are still served, and another version can be activated.
        """
        try:
            self._core.follow_erasures()
            self._core.active.follow()
        except Exception:  # noqa: BLE001  a thread that ended would follow nothing any more, without a word
            _log.exception("cannot follow the database; trying again in %g s", _RETRY_S)
            return False
        return True

    def _prepare(self) -> None:
        """Its own thread: loading a version takes long, and the log and a rollback must be followed meanwhile."""
        pause = _FOLLOW_S
        while not self._stopped.wait(pause):
            pause = _FOLLOW_S
            try:
                self._core.active.prepare()
            except Exception:  # noqa: BLE001  as above
                pause = _RETRY_S
                _log.exception("a model version cannot be made ready beside the one that answers")

    def _run(self) -> None:
        maintained = time.monotonic()
        pause = _FOLLOW_S
        while not self._stopped.wait(pause):
            pause = _FOLLOW_S if self.follow() else _RETRY_S
            if time.monotonic() - maintained >= self._core.settings.maintenance_s:
                maintained = time.monotonic()
                try:
                    self._core.active.maintain()
                    self._core.store.recover()  # what a store that was away has left over
                    apply(self._core)
                    self._core.database.forget_pages()
                    sweep(self._core.database, self._core.settings.query_keep_s)
                    prune_by_rule(self._core.database, self._core.settings)
                    self._core.tidy()
                except Exception:  # noqa: BLE001  retention would end for ever, and nobody would know
                    _log.exception("an index or what a change left could not be settled; the next round tries again")
