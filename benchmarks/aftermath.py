"""What must be true of a fleet and its data when clients and kills have ended."""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from sqlalchemy import func, select, text

from app.core import Core, opened
from app.database.sessions import Database
from app.database.tables import Embedding, Head, Image, Job, ModelVersion
from app.jobs.repository import FINAL
from app.settings import Settings
from benchmarks.acknowledged import Ledger
from benchmarks.fleet import LIMIT_S, Caller, Fleet, Front

_ORDERLY = (0, -15)
"""Exit codes of what ended in order: a server ends by the signal that asked for it."""
_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""


def settle(core: Core, fleet: Fleet, ledger: Ledger, front: Front, look: Callable[[], None]) -> list[str]:
    """Everything that is not as it must be while the fleet still runs and nobody asks anything.

    Args:
        look: compares answers of every replica with the ledger.
    """
    data, found = core.settings.data_dir, list[str]()
    _until(lambda: not _open_jobs(core), "an open job is left", found)
    _until(lambda: not _names(data / "staging"), "a staged batch is left", found)
    _until(lambda: not _names(core.settings.images_dir / "journal"), "a journal is left", found)
    found += unlike(core, ledger)
    with Caller(front) as caller:
        for version in sorted(ledger.tables, key=lambda one: one == ledger.version):
            if (switched := _switch(caller, version)) is not None:
                found.append(switched)
                continue
            ledger.activated(version)
            look()
            found += _active(core, version)
            found += _vectors(core, version, len(ledger.present))
    wanted = (1 + fleet.processes) * len(fleet.replicas) + len(fleet.workers)  # a replica is a supervisor and children
    if len(alive := fleet.all_processes()) != wanted:
        found.append(f"{len(alive)} processes work for the data folder, not {wanted}")
    return found


def end(fleet: Fleet, settings: Settings, versions: Collection[int], images: int) -> list[str]:
    """Stop a fleet in order; what is not as it must be after that, and after a start of each version's index."""
    found = [f"{name} ended with {code}" for name, code in fleet.stop().items() if code not in _ORDERLY]
    _until(lambda: not fleet.all_processes(), "a process outlived the fleet", found)
    database = Database(settings.database)
    with database.read() as session:
        if settings.database_url and (held := session.scalar(text(_CONNECTIONS))):
            found.append(f"{held} connections to the database outlived the fleet")
    database.close()
    with opened(settings) as core:
        for version in versions:
            for space, view in core.active.views(version).items():
                view.open()
                kept = view.count
                view.rebuild()
                if {kept, view.count} != {images}:
                    counts = f"{kept} vectors after a start, {view.count} after a rebuild, and {images} images"
                    found.append(f"index of {space} of version {version}: {counts}")
    # Only now: what was killed while it saved an index leaves a part, which the next process removes.
    found += [f"half an index file is left: {path.name}" for path in settings.index_dir.glob("*.partial")]
    return found


def _until(reached: Callable[[], bool], what: str, found: list[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not reached():
        if time.monotonic() > deadline:
            found.append(f"{what} after {LIMIT_S:.0f} s")
            return
        time.sleep(0.2)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _open_jobs(core: Core) -> int:
    with core.database.read() as session:
        return session.scalar(select(func.count()).select_from(Job).where(Job.state.not_in(FINAL))) or 0


def unlike(core: Core, ledger: Ledger) -> list[str]:
    """Rows against what clients were told, and against the files of the store."""
    folder, found = core.settings.images_dir, list[str]()
    with core.database.read() as session:
        rows = dict(session.execute(select(Image.id, Image.store_name)).all())
        states = dict(session.execute(select(Job.state, func.count()).group_by(Job.state)).all())
    if set(rows) != set(ledger.present):
        odd = set(rows) ^ set(ledger.present)
        found.append(f"images in the database and not reported, or the other way round: {sorted(odd)}")
    files = {str(path.relative_to(folder)).removesuffix(".jpg") for path in folder.glob("??/??/*.jpg")}
    pictures = {name for name in files if not name.endswith(".thumb")}
    if odd_files := pictures ^ set(rows.values()):
        found.append(f"pictures without a row, or the other way round: {sorted(odd_files)[:5]}")
    if stray := {name.removesuffix(".thumb") for name in files - pictures} - pictures:
        found.append(f"thumbnails without a picture: {sorted(stray)[:5]}")
    if set(states) - {"succeeded", "superseded"}:  # an activation by a later one
        found.append(f"jobs that did not succeed: {states}")
    return found


def _switch(caller: Caller, version: int) -> str | None:
    """Let a version answer, and see the job to its end that does it; says what went wrong."""
    response = caller.insist("POST", f"/v1/models/{version}/activate")
    if response.status_code == 200:
        return None
    if response.status_code != 202:
        return f"activation of {version} at the end: {response.status_code} {response.text[:300]}"
    path, deadline = f"/v1/jobs/{response.json()['id']}", time.monotonic() + LIMIT_S
    while (job := caller.insist("GET", path).json())["state"] not in FINAL:
        if time.monotonic() > deadline:
            return f"the activation of {version} at the end is {job['state']} after {LIMIT_S:.0f} s"
        time.sleep(0.2)
    if job["state"] != "succeeded":
        return f"the activation of {version} at the end {job['state']}: {job['error']}"
    return None


def _active(core: Core, version: int) -> list[str]:
    with core.database.read() as session:
        heads = session.scalars(select(Head.active_version_id)).all()
        known = session.scalar(select(func.count()).select_from(ModelVersion))
    return [] if list(heads) == [version] and known == 2 else [f"active: {heads} of {known}, not {version} alone of 2"]


def _vectors(core: Core, version: int, images: int) -> list[str]:
    with core.database.read() as session:
        where = Embedding.model_version_id == version
        vectors = session.scalar(select(func.count()).select_from(Embedding).where(where))
    return [] if vectors == images else [f"{vectors} vectors of {images} images under version {version}"]
