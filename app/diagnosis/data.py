"""The database, and what must agree with it: pictures, model, index, memory, keys."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.access.repository import KeyRepository
from app.database.migrate import HEAD_REVISION, revision_of
from app.database.sessions import Database, service_error
from app.database.tables import ModelVersion, now
from app.diagnosis.machine import answers, workers
from app.diagnosis.model import checkpoint, index, memory
from app.diagnosis.schemas import Finding, fail, ok, warn
from app.errors import ServiceError, StorageError
from app.gallery.open_store import open_store
from app.gallery.repository import ImageRepository
from app.jobs.repository import JobRepository
from app.registry.service import ModelService, remainder
from app.settings import Settings
from app.vectors.repository import HeadRow, LogRepository

_AHEAD = timedelta(minutes=5)


def data(settings: Settings) -> Iterator[Finding]:
    """Everything that lies behind the database; only as much of it as can be reached."""
    file = None if settings.database.startswith("postgres") else make_url(settings.database).database
    if file and not Path(file).exists():
        yield warn(
            "database", f"there is none yet at {file}", "descry demo makes a gallery to try; descry serve an empty one"
        )
        return
    if file and not (os.access(file, os.W_OK) and os.access(Path(file).parent, os.W_OK)):
        # SQLite would be waited for: it says the same when another process has it for a moment.
        yield fail("database", f"{file} cannot be written", "give it and its folder to the user that runs Descry")
        return
    try:
        database = Database(settings.database)
    except ServiceError as error:
        yield fail("database", error.message, "correct DESCRY_DATABASE_URL")
        return
    try:
        found = _database(database)
        yield found
        if found.status == "ok":
            yield from _behind(settings, database)
    finally:
        database.close()


def _database(database: Database) -> Finding:
    kind = database.engine.dialect.name
    try:
        revision = revision_of(database)
    except SQLAlchemyError as error:
        known = service_error(error)
        message = known.message if known is not None else f"it cannot be read: {type(error).__name__}"
        return fail("database", f"{kind}: {message}", "start it, check DESCRY_DATABASE_URL, or restore a backup")
    if revision is None:
        return warn("database", f"{kind}: it is empty", "descry demo, or descry serve, makes its tables")
    if revision > HEAD_REVISION:
        return fail(
            "database", f"{kind}: its schema {revision} is newer than this Descry's {HEAD_REVISION}", "update Descry"
        )
    if revision < HEAD_REVISION:
        return warn(
            "database",
            f"{kind}: schema {revision}, this Descry has {HEAD_REVISION}",
            "back it up; the next start upgrades it",
        )
    return ok("database", f"{kind}: reachable, schema {revision}")


@dataclass(frozen=True, slots=True)
class _Known:
    head: HeadRow
    images: int
    version: ModelVersion | None
    missing: int


def _behind(settings: Settings, database: Database) -> Iterator[Finding]:
    with database.read() as session:
        log, images = LogRepository(session), ImageRepository(session).count()
        head = log.head()
        models = ModelService(session)
        version = None if head.active_version_id is None else models.find(head.active_version_id)
        known = _Known(head, images, version, 0 if version is None else models.missing(version))
        jobs = _jobs(settings, session)
        keys = _keys(settings, session)
    yield _store(settings)
    yield from _model(settings, known)
    yield jobs
    yield keys
    yield clock(database)


def _store(settings: Settings) -> Finding:
    try:
        store = open_store(settings, lambda names: set(names))
        try:
            store.check()
        finally:
            store.close()
    except (StorageError, ServiceError) as error:
        return fail(
            "pictures", f"{error.code}: {error.message}", "bring it back; searches are answered without pictures"
        )
    return ok("pictures", f"the store {settings.image_store or settings.images_dir} answers")


def _model(settings: Settings, known: _Known) -> Iterator[Finding]:
    if known.version is None:
        yield fail("model", "no model version is active", "descry models register --shipped --activate")
        return
    named = f"model version {known.version.id} ({known.version.name})"
    yield from checkpoint(settings, known.version)
    if known.missing > remainder(settings):
        advice = f"descry index encode {known.version.id}; until then they are not found"
        yield fail("complete", f"{named} lacks {known.missing:,} of {known.images:,} images", advice)
    elif known.missing:
        yield warn("complete", f"{named} lacks {known.missing:,} images", f"descry index encode {known.version.id}")
    else:
        yield ok("complete", f"{named} has all {known.images:,} images")
    if settings.vector_engine == "faiss":
        yield from index(settings, known.version, known.head)
        yield memory(settings, known.version, known.images, serving=answers(settings))


def _jobs(settings: Settings, session: Session) -> Finding:
    jobs = JobRepository(session)
    queued = sum(job.state == "queued" for job in jobs.open())
    silent = len(jobs.running(silent_since=now() - timedelta(seconds=settings.worker_lost_s)))
    return workers(settings, queued=queued, silent=silent)


def _keys(settings: Settings, session: Session) -> Finding:
    keys, at = KeyRepository(session).all(), now()
    make = "descry keys create NAME --scope admin"
    valid = [key for key in keys if key.revoked_at is None and (key.expires_at is None or key.expires_at > at)]
    if not keys and settings.on_loopback:
        return ok("access", "there is no key yet: everyone on this machine may do everything")
    if not keys and settings.allow_open:
        return warn(
            "access", f"there is no key, and DESCRY_ALLOW_OPEN lets in everyone who reaches {settings.host}", make
        )
    if not keys:
        return fail("access", f"there is no key, so that nobody can use a server at {settings.host}", make)
    if not any("admin" in key.scopes for key in valid):
        return warn("access", f"{len(valid)} keys are valid, and none has the scope admin", make)
    return ok("access", f"{len(valid)} of {len(keys)} keys are valid")


def clock(database: Database) -> Finding:
    """Whether time goes on: what the database has seen must not lie in the future."""
    with database.read() as session:
        jobs = JobRepository(session).page(1, None, None)
        last = max((job.created_at for job in jobs), default=None)
        used = max((key.last_used_at for key in KeyRepository(session).all() if key.last_used_at), default=None)
    at, newest = now(), max((one for one in (last, used) if one is not None), default=None)
    if newest is not None and newest > at + _AHEAD:
        told = f"this machine's clock says {at:%Y-%m-%d %H:%M} UTC, and the database has seen {newest:%Y-%m-%d %H:%M}"
        return fail("clock", told, "set the clock (timedatectl set-ntp true): keys and jobs go by it")
    return ok("clock", f"{at:%Y-%m-%d %H:%M} UTC")
