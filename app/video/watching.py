"""A folder into which recorders put videos: each becomes a job once it has stopped growing.

What was taken is remembered by the database: the job of a file has a key made of its path, size and time, so that a
watcher that is started again queues nothing twice, and two watchers do not either. A file that is written anew under
the same name is another video.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from app.database.sessions import Database
from app.errors import IdempotencyKeyError, SourceError
from app.jobs.schemas import JobOut
from app.video.plan import Plan
from app.video.service import camera_of, queue_video, videos_in


@dataclass(frozen=True, slots=True)
class _Look:
    size: int
    changed_ns: int
    since: float


class Watcher:
    """Looks at one folder again and again.

    Args:
        plan: collection, camera and frames per second of every video.
        settle_s: seconds for which neither size nor time of a file may change before it is taken.
        clock: of `settle_s`, in seconds.
    """

    def __init__(
        self,
        database: Database,
        folder: Path,
        plan: Plan,
        *,
        settle_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not folder.is_dir():
            raise SourceError(f"{folder} is no folder; name one that exists")
        self._database, self._folder, self._plan = database, folder.resolve(), plan
        self._settle_s, self._clock = settle_s, clock
        self._seen: dict[Path, _Look] = {}
        self._taken: set[str] = set()

    def look(self) -> Iterator[JobOut]:
        """Queue what has settled; yields the jobs that are new."""
        now = self._clock()
        present: dict[Path, _Look] = {}
        for path in videos_in(self._folder):
            try:
                facts = path.stat()
            except OSError:
                continue  # moved away meanwhile
            look = _Look(facts.st_size, facts.st_mtime_ns, now)
            before = self._seen.get(path)
            if before is not None and (before.size, before.changed_ns) == (look.size, look.changed_ns):
                look = before
            present[path] = look
            if look.size and now - look.since >= self._settle_s and (key := _key(path, look)) not in self._taken:
                job = self._queue(path, key)
                self._taken.add(key)
                if job is not None:
                    yield job
        self._seen = present

    def _queue(self, path: Path, key: str) -> JobOut | None:
        """The job of a file; None if it has one."""
        camera = self._plan.camera or camera_of(self._folder, path)
        plan = replace(self._plan, path=path, name=path.relative_to(self._folder).as_posix(), camera=camera)
        try:
            job, fresh = queue_video(self._database, plan, key=key)
        except IdempotencyKeyError:
            return None  # a watcher with another camera or collection took it
        return job if fresh else None


def _key(path: Path, look: _Look) -> str:
    told = f"{path}\0{look.size}\0{look.changed_ns}"
    return f"watch:{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()}"
