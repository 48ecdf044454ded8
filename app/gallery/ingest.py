"""Ingest: read, hash, deduplicate, store and encode pictures; one transaction for each chunk.

Several chunks are under way at any time. One thread begins them in order (reads, hashes, and leaves out what is
known), a pool of one thread a core takes their pictures, a few at a time (`app.gallery.taking`), and the caller's
thread commits them in order. The files of a chunk are on stable storage before its rows are committed, so that an
outcome that was reported survives a power failure. Everything is keyed by the hash of the bytes: an ingest that was
interrupted is continued by running it again.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.embedding.service import EncoderService
from app.errors import InvalidError, ModelChangedError, ServiceError
from app.gallery.repository import ImageRepository
from app.gallery.sources import Entry, Refused, Source
from app.gallery.store import ImageStore, StoreChange
from app.gallery.taking import Hashed, Prepared, Taken, Waiting, read, take
from app.identities.repository import IdentityRepository, Track
from app.lanes import cores
from app.settings import Settings
from app.vectors.repository import LogRepository, NewEmbedding

Status = Literal["ingested", "duplicate", "rejected"]
_AHEAD = 3
"""Chunks that are under way while one is committed."""
_READ_TOGETHER = 16
_CORES = cores()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry.

    Attributes:
        image_id: of the image that was made, or of the one that has the same bytes already.
        near_duplicate_of: an image that looks the same as this one; it was ingested nevertheless.
        code, message: why it was rejected.
    """

    name: str
    status: Status
    image_id: int | None = None
    code: str | None = None
    message: str | None = None
    near_duplicate_of: int | None = None


Record = Callable[[Session, Sequence[Outcome]], None]
"""Writes the outcomes of a chunk in the transaction that makes them true; what it raises undoes the chunk."""


@dataclass(slots=True)
class _Chunk:
    """A chunk between its beginning and its commit. `files` ends its threads, then settles what was stored."""

    files: ExitStack
    length: int
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    fresh: dict[int, Hashed] = field(default_factory=dict)
    copies: dict[int, Hashed] = field(default_factory=dict)
    """Entries with the bytes of others that are under way."""
    change: StoreChange | None = None
    batches: list[Future[Taken]] = field(default_factory=list)

    def halt(self) -> None:
        """Wait until no thread works on the chunk; what was not begun is not begun any more."""
        for batch in self.batches:
            batch.cancel()
        wait(self.batches)


class Ingest:
    """Takes sources into one collection for one model version, which must be active all the time."""

    def __init__(
        self,
        database: Database,
        store: ImageStore,
        version_id: int,
        encoder: EncoderService,
        settings: Settings,
        collection_id: int,
    ) -> None:
        self._database, self._store, self._encoder, self._settings = database, store, encoder, settings
        self._version_id, self._collection_id = version_id, collection_id
        self._under_way: deque[dict[str, ServiceError | None]] = deque(maxlen=2 * _AHEAD)
        """By hash what the latest chunks began with, and why it was rejected, as soon as that is known."""

    def run(self, source: Source, record: Record | None = None) -> Iterator[Outcome]:
        """Ingest every entry; yields their outcomes in order, each after the commit that makes it true.

        `record` is called once for each chunk, within its transaction.

        Raises:
            ModelChangedError: another model version became active; run the ingest again.
            StorageError: the pictures cannot be stored; the chunks before are in the gallery.
        """
        entries, size = source.entries, self._settings.ingest_chunk
        self._under_way.clear()
        coming: deque[Future[_Chunk]] = deque()
        with (
            ThreadPoolExecutor(_CORES) as taking,
            ThreadPoolExecutor(_CORES) as reading,
            ThreadPoolExecutor(1) as ahead,
        ):
            try:
                for start in range(0, len(entries), size):
                    coming.append(ahead.submit(self._begin, entries[start : start + size], reading, taking))
                    if len(coming) > _AHEAD:
                        yield from self._finish(coming.popleft().result(), record)
                while coming:
                    yield from self._finish(coming.popleft().result(), record)
            finally:
                # Each of them, whatever becomes of another: one that is left to the collector of garbage is closed
                # anywhere, also where this thread holds the lock of writers, for which closing then waits.
                with ExitStack() as left:
                    for chunk in coming:
                        if not chunk.cancel() and chunk.exception() is None:
                            left.push(chunk.result().files)

    def _begin(
        self, entries: Sequence[Entry | Refused], reading: ThreadPoolExecutor, taking: ThreadPoolExecutor
    ) -> _Chunk:
        with ExitStack() as files:
            chunk = _Chunk(files, len(entries))
            self._sort(entries, chunk, reading)
            if chunk.fresh:
                change = chunk.change = files.enter_context(self._store.change(new=len(chunk.fresh)))
                files.callback(chunk.halt)
                waiting = [
                    Waiting(position, hashed, name)
                    for (position, hashed), name in zip(chunk.fresh.items(), change.names, strict=True)
                ]
                size = self._encoder.batch_size
                if self._encoder.device.type == "cpu":  # a short chunk is everybody's, too
                    size = min(size, -(-len(waiting) // (2 * _CORES)))
                for start in range(0, len(waiting), size):
                    part = waiting[start : start + size]
                    chunk.batches.append(taking.submit(take, part, change, self._encoder, self._settings))
            chunk.files = files.pop_all()
        return chunk

    def _sort(self, entries: Sequence[Entry | Refused], chunk: _Chunk, reading: ThreadPoolExecutor) -> None:
        """Read the entries: which are new, which are copies of new ones, and the outcome of all others."""
        positions = [position for position, entry in enumerate(entries) if isinstance(entry, Entry)]
        parts = [positions[start : start + _READ_TOGETHER] for start in range(0, len(positions), _READ_TOGETHER)]
        found: dict[int, Hashed | InvalidError] = {}
        for some in reading.map(lambda part: self._read(entries, part), parts):
            found |= some
        for position, entry in enumerate(entries):
            error = entry.error if isinstance(entry, Refused) else found[position]
            if isinstance(error, ServiceError):
                chunk.outcomes[position] = _rejected(entry.name, error)
        hashes = {position: hashed for position, hashed in found.items() if isinstance(hashed, Hashed)}
        # Before the question to the database: what is committed in between is then in one of the two.
        begun = set().union(*list(self._under_way))
        with self._database.read() as session:
            known = ImageRepository(session).known((h.sha256 for h in hashes.values()), self._collection_id)
        own: dict[str, ServiceError | None] = {}
        self._under_way.append(own)
        for position, hashed in hashes.items():
            if (image_id := known.get(hashed.sha256)) is not None:
                chunk.outcomes[position] = Outcome(hashed.entry.name, "duplicate", image_id)
            elif hashed.sha256 in begun or hashed.sha256 in own:
                chunk.copies[position] = hashed
            else:
                own[hashed.sha256] = None
                chunk.fresh[position] = hashed

    def _read(self, entries: Sequence[Entry | Refused], positions: list[int]) -> dict[int, Hashed | InvalidError]:
        found: dict[int, Hashed | InvalidError] = {}
        for position in positions:
            entry = entries[position]
            assert isinstance(entry, Entry)
            try:
                found[position] = read(entry, self._settings)
            except InvalidError as error:
                found[position] = error
        return found

    def _finish(self, chunk: _Chunk, record: Record | None) -> list[Outcome]:
        with chunk.files:
            waiting: list[tuple[int, Prepared]] = []
            for taken in [batch.result() for batch in chunk.batches]:
                waiting += taken.prepared.items()
                for position, error in taken.refused.items():
                    hashed = chunk.fresh[position]
                    self._note_refusal(hashed.sha256, error)
                    chunk.outcomes[position] = _rejected(hashed.entry.name, error)
            if chunk.change is not None:
                chunk.change.seal()
            with self._database.write() as session:
                outcomes = self._commit(session, chunk, waiting)
                if record is not None:
                    record(session, outcomes)
        return outcomes

    def _note_refusal(self, sha256: str, error: ServiceError) -> None:
        for begun in list(self._under_way):
            if sha256 in begun:
                begun[sha256] = error

    def _commit(self, session: Session, chunk: _Chunk, waiting: list[tuple[int, Prepared]]) -> list[Outcome]:
        log = LogRepository(session)
        if log.lock().active_version_id != self._version_id:
            raise ModelChangedError("another model version became active; run the ingest again")
        images = ImageRepository(session)
        # Another process may have been faster.
        known = images.known((item.sha256 for _, item in waiting), self._collection_id)
        new = [item for _, item in waiting if item.sha256 not in known]
        ids = self._insert(images, IdentityRepository(session), new)
        near = images.mark_near_duplicates(
            {image_id: item.look for image_id, item in zip(ids, new, strict=True) if item.look is not None},
            self._collection_id,
        )
        log.add(
            [
                NewEmbedding(image_id, self._version_id, space, vector)
                for image_id, item in zip(ids, new, strict=True)
                for space, vector in item.vectors.items()
            ]
        )
        made = {item.sha256: image_id for image_id, item in zip(ids, new, strict=True)}
        for position, item in waiting:
            image_id = made.get(item.sha256)
            chunk.outcomes[position] = (
                Outcome(item.entry.name, "duplicate", known[item.sha256])
                if image_id is None
                else Outcome(item.entry.name, "ingested", image_id, near_duplicate_of=near.get(image_id))
            )
        self._settle_copies(chunk, images)
        return [chunk.outcomes[position] for position in range(chunk.length)]

    def _settle_copies(self, chunk: _Chunk, images: ImageRepository) -> None:
        """What has the bytes of a picture shares its fate."""
        if not chunk.copies:
            return
        known = images.known((hashed.sha256 for hashed in chunk.copies.values()), self._collection_id)
        for position, hashed in chunk.copies.items():
            name, error = hashed.entry.name, None
            for begun in list(self._under_way):
                error = begun.get(hashed.sha256) or error
            image_id = known.get(hashed.sha256)
            if image_id is None and error is not None:
                chunk.outcomes[position] = _rejected(name, error)
            else:
                chunk.outcomes[position] = Outcome(name, "duplicate", image_id)

    def _insert(self, images: ImageRepository, identities: IdentityRepository, items: list[Prepared]) -> list[int]:
        named = identities.resolve(item.entry.identity for item in items if item.entry.identity is not None)
        owners = self._owners([item.entry for item in items], named, identities)
        return images.add(
            [
                {
                    "identity_id": owner,
                    "collection_id": self._collection_id,
                    "sha256": item.sha256,
                    "width": item.size[0],
                    "height": item.size[1],
                    "camera": item.entry.camera,
                    "track": item.entry.track,
                    "captured_at": item.entry.captured_at,
                    "description": item.entry.description,
                    "attributes": item.entry.attributes,
                    "source_name": item.entry.name,
                    "store_name": item.store_name,
                    **{f"look_{band}": value for band, value in enumerate(item.look or (None,) * 4)},
                }
                for item, owner in zip(items, owners, strict=True)
            ]
        )

    def _owners(self, entries: list[Entry], named: dict[str, int], identities: IdentityRepository) -> list[int]:
        """The identity of each entry: by name, else by track, else one of its own."""
        tracks: dict[Track, None] = {}
        known: dict[Track, int] = {}
        for entry in entries:
            if entry.track is not None and entry.identity is None:
                tracks[entry.camera, entry.track] = None
            elif entry.track is not None and entry.identity is not None:
                known[entry.camera, entry.track] = named[entry.identity]
        known |= identities.of_tracks(tracks, self._collection_id)
        new = [track for track in tracks if track not in known]
        alone = sum(entry.identity is None and entry.track is None for entry in entries)
        fresh = iter(identities.add_provisional(len(new) + alone))
        known |= {track: next(fresh) for track in new}
        owners: list[int] = []
        for entry in entries:
            if entry.identity is not None:
                owners.append(named[entry.identity])
            else:
                owners.append(next(fresh) if entry.track is None else known[entry.camera, entry.track])
        return owners


def _rejected(name: str, error: ServiceError) -> Outcome:
    return Outcome(name, "rejected", code=error.code, message=error.message)
