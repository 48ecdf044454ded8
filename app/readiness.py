"""Whether this process would answer a search now, and how far it is behind the log.

A look runs on a thread of its own, one at a time, and those who ask wait for it for a bounded time: a database or an
encoder that hangs makes the process not ready, and never makes /readyz hang. A process that is behind catches up within
the look; so it is ready again when it can be, whoever asks.
"""

import asyncio
import logging
import threading
import time
from concurrent.futures import Future

from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from app.core import Core
from app.errors import DatabaseUnreachableError, StorageError
from app.registry.active import LoadedModel
from app.search.query import Part, Query
from app.search.schemas import SearchOptions
from app.search.service import SearchService
from app.vectors.repository import HeadRow, LogRepository
from models.errors import DescryError

_log = logging.getLogger(__name__)
_PROBE = "a person in a black coat"


class Reason(BaseModel):
    """One thing that is missing. Programs match on `code`."""

    code: str = Field(
        examples=["replica_behind"],
        description="database_unreachable, no_active_model, model_not_loaded, replica_behind, encoder_stalled, "
        "search_failed, search_too_slow, or the code of the error of the picture store.",
    )
    message: str


class Behind(BaseModel):
    """How far the views of this process are behind the log, as far as is known."""

    head: int | None = Field(description="The last sequence number of the log when it was last read.")
    applied: int | None = Field(description="The last sequence number that every view has; null: no model is loaded.")
    entries: int | None = Field(description="Entries of the log that a view lacks.")
    seconds: float | None = Field(description="Since the database was last read; null: it never was.")


class Readiness(BaseModel):
    """Whether a search would be answered now; if not, what is missing."""

    ready: bool
    missing: list[str] = Field(description="The reasons as text.")
    reasons: list[Reason]
    behind: Behind


class _Look:
    """One look. `reasons` is its result; `stage` says what it waits for meanwhile."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.stage = Reason(code=DatabaseUnreachableError.code, message="database: it does not answer")
        self.reasons: Future[list[Reason]] = Future()


class ReadinessWatch:
    """Looks, when it is asked to, whether a search would be answered."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._starting = threading.Lock()
        self._look: _Look | None = None
        self._head: HeadRow | None = None
        self._read_at: float | None = None

    async def readiness(self) -> Readiness:
        """What a look finds, or what it waits for when the time (`ready_within_s`) is up."""
        look, limit = self._present(), self._core.settings.ready_within_s
        left = look.began + limit - time.monotonic()
        try:
            reasons = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(look.reasons)), max(0.0, left))
        except TimeoutError:
            stage = look.stage
            reasons = [Reason(code=stage.code, message=f"{stage.message}; given up after {limit:g} s")]
        missing = [reason.message for reason in reasons]
        return Readiness(ready=not reasons, missing=missing, reasons=reasons, behind=self._behind())

    def _present(self) -> _Look:
        """The look that is under way, or a new one."""
        with self._starting:
            if self._look is None or self._look.reasons.done():
                self._look = _Look()
                threading.Thread(target=self._run, args=(self._look,), name="descry-readiness", daemon=True).start()
            return self._look

    def _behind(self) -> Behind:
        loaded, head = self._core.active.loaded, None if self._head is None else self._head.sequence
        applied = None if loaded is None else _applied(loaded)
        return Behind(
            head=head,
            applied=applied,
            # The keeper may have followed further than the last look read.
            entries=None if head is None or applied is None else max(0, head - applied),
            seconds=None if self._read_at is None else round(time.monotonic() - self._read_at, 3),
        )

    def _run(self, look: _Look) -> None:
        try:
            look.reasons.set_result(self._missing(look))
        except Exception as error:  # noqa: BLE001  whatever goes wrong, those who wait are told
            _log.exception("whether this process is ready could not be found out")
            look.reasons.set_result([Reason(code="search_failed", message=f"search: {type(error).__name__}")])

    def _missing(self, look: _Look) -> list[Reason]:
        try:
            with self._core.database.read() as session:
                self._head = LogRepository(session).head()
        except (DescryError, SQLAlchemyError) as error:
            _log.warning("not ready: the database cannot be read: %s", error)
            return [Reason(code=DatabaseUnreachableError.code, message="database: it does not answer")]
        self._read_at = time.monotonic()
        place = self._core.store.place
        look.stage = Reason(code=StorageError.code, message=f"image store {place}")
        try:
            self._core.store.check()
        except StorageError as error:
            return [Reason(code=error.code, message=f"image store {place}: {error.code}: {error.message}")]
        active, held = self._head.active_version_id, self._core.active
        look.stage = _unloaded(active)
        if held.loaded is not None and held.loaded.version_id != active and active is not None and held.ready(active):
            try:
                held.follow()  # it is in memory and does not answer yet, as long as nobody searches
            except (DescryError, SQLAlchemyError) as error:
                return [_failed(error)]
        loaded = held.loaded
        if loaded is None or loaded.version_id != active:
            return [_unloaded(active)]
        return self._caught_up(look, loaded, self._head.sequence)

    def _caught_up(self, look: _Look, loaded: LoadedModel, head: int) -> list[Reason]:
        searching = Reason(code="search_too_slow", message="search")
        if (trouble := loaded.encoder.trouble) is not None:
            return [Reason(code="encoder_stalled", message=trouble)]  # at once: a probe would wait as queries do
        behind = max(0, head - _applied(loaded))
        look.stage = Reason(code="replica_behind", message=f"index: {behind:,} entries behind the log at {head:,}")
        try:
            loaded.catch_up(head)
            look.stage = searching
            self._search(loaded)
        except TimeoutError:
            return [searching]
        except (DescryError, SQLAlchemyError, RuntimeError) as error:
            return [_failed(error)]
        return []

    def _search(self, loaded: LoadedModel) -> None:
        """A real query, from the words to the page."""
        started = time.perf_counter()
        probe = loaded.encoder.submit_text(_PROBE, probe=True).result(self._core.settings.query_timeout_s)
        query = Query((Part(probe.vector, "text"),), {"text": _PROBE})
        options = SearchOptions(limit=1, images_per_identity=1)
        SearchService(self._core.database, loaded).answer(query, options, started=started)


def _applied(loaded: LoadedModel) -> int:
    return min(view.sequence for view in loaded.views.values())


def _failed(error: Exception) -> Reason:
    if isinstance(error, DescryError):
        return Reason(code=error.code, message=f"search: {error.code}")
    return Reason(code="search_failed", message="search")


def _unloaded(active: int | None) -> Reason:
    if active is None:
        return Reason(code="no_active_model", message="active model: none")
    return Reason(code="model_not_loaded", message=f"model version {active}: not loaded (yet); the log says why")
