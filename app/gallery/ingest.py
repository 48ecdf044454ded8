"""Ingest: read, hash, deduplicate, store and encode pictures; one transaction for each chunk.

Two chunks are under way at any time: while one is encoded and committed, the next is read, decoded and stored by a
pool of threads. The files of a chunk are on stable storage before its rows are committed, so that an outcome that was
reported survives a power failure. Everything is keyed by the hash of the bytes: an ingest that was interrupted is
continued by running it again.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from sqlalchemy.orm import Session
from torch import Tensor

from app.database.sessions import Database
from app.embedding.service import EncoderService
from app.errors import (
    FileChangedError,
    FileMissingError,
    FileTooLargeError,
    FileUnreadableError,
    InvalidError,
    ModelChangedError,
    ServiceError,
)
from app.gallery import pictures
from app.gallery.likeness import Look, look
from app.gallery.repository import ImageRepository
from app.gallery.sources import Entry, Refused, Source
from app.gallery.store import ImageStore, StoreChange
from app.identities.repository import IdentityRepository, Track
from app.settings import Settings
from app.vectors.contract import Half
from app.vectors.repository import LogRepository, NewEmbedding
from models.encoder import Space

Status = Literal["ingested", "duplicate", "rejected"]
_HASH_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry.

    Attributes:
        image_id: of the image that was made, or of the one that has the same bytes already (None if that one was
            only met in this chunk).
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
class _Prepared:
    """One picture, decoded and stored, waiting for its vector and its row."""

    entry: Entry
    sha256: str
    store_name: str
    size: tuple[int, int]
    pixels: Tensor
    look: Look | None


@dataclass(slots=True)
class _Chunk:
    """A chunk between its preparation and its commit. `files` settles what was stored."""

    files: ExitStack
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    prepared: dict[int, _Prepared] = field(default_factory=dict)
    twins: dict[str, list[int]] = field(default_factory=dict)
    """Positions with the bytes of another one of this chunk, by hash: what becomes of that becomes of them."""
    length: int = 0


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
        self._recent: deque[set[str]] = deque(maxlen=2)
        """Hashes of the chunks that may not be committed yet."""

    def run(self, source: Source, record: Record | None = None) -> Iterator[Outcome]:
        """Ingest every entry; yields their outcomes in order, each after the commit that makes it true.

        `record` is called once for each chunk, within its transaction.

        Raises:
            ModelChangedError: another model version became active; run the ingest again.
            StorageError: the pictures cannot be stored; the chunks before are in the gallery.
        """
        entries, size = source.entries, self._settings.ingest_chunk
        chunks = (entries[start : start + size] for start in range(0, len(entries), size))
        with ThreadPoolExecutor(os.cpu_count()) as pool, ThreadPoolExecutor(1) as ahead:
            coming: Future[_Chunk] | None = None
            try:
                for part in chunks:
                    ready, coming = coming, ahead.submit(self._prepare, part, pool)
                    if ready is not None:
                        yield from self._finish(ready.result(), record)
                if coming is not None:
                    ready, coming = coming, None
                    yield from self._finish(ready.result(), record)
            finally:
                if coming is not None and coming.exception() is None:
                    coming.result().files.close()

    def _prepare(self, entries: Sequence[Entry | Refused], pool: ThreadPoolExecutor) -> _Chunk:
        with ExitStack() as files:
            chunk = _Chunk(files, length=len(entries))
            fresh = self._fresh(entries, chunk, pool)
            if fresh:
                change = files.enter_context(self._store.change(new=len(fresh)))
                jobs = [
                    (position, pool.submit(self._store_one, entry, sha256, name, change))
                    for (position, (entry, sha256)), name in zip(fresh.items(), change.names, strict=True)
                ]
                wait(job for _, job in jobs)  # an error must not settle the files while others are still written
                for position, job in jobs:
                    try:
                        chunk.prepared[position] = job.result()
                    except InvalidError as error:
                        entry, sha256 = fresh[position]
                        self._recent[-1].discard(sha256)
                        chunk.outcomes[position] = _rejected(entry.name, error)
                        for twin in chunk.twins.get(sha256, ()):
                            chunk.outcomes[twin] = _rejected(chunk.outcomes[twin].name, error)
                change.seal()
            chunk.files = files.pop_all()
        return chunk

    def _fresh(
        self, entries: Sequence[Entry | Refused], chunk: _Chunk, pool: ThreadPoolExecutor
    ) -> dict[int, tuple[Entry, str]]:
        """The entries whose bytes are new, by position; the outcome of all others goes into the chunk."""
        hashes: dict[int, tuple[Entry, str]] = {}
        jobs = [(i, e, pool.submit(self._hash, e.path)) for i, e in enumerate(entries) if isinstance(e, Entry)]
        for position, entry, job in jobs:
            try:
                hashes[position] = (entry, job.result())
            except InvalidError as error:
                chunk.outcomes[position] = _rejected(entry.name, error)
        chunk.outcomes |= {i: _rejected(e.name, e.error) for i, e in enumerate(entries) if isinstance(e, Refused)}
        with self._database.read() as session:
            known = ImageRepository(session).known((sha256 for _, sha256 in hashes.values()), self._collection_id)
        self._recent.append(set())
        fresh: dict[int, tuple[Entry, str]] = {}
        for position, (entry, sha256) in hashes.items():
            if sha256 in known or any(sha256 in recent for recent in self._recent):
                chunk.outcomes[position] = Outcome(entry.name, "duplicate", known.get(sha256))
                if sha256 in self._recent[-1]:
                    chunk.twins.setdefault(sha256, []).append(position)
            else:
                self._recent[-1].add(sha256)
                fresh[position] = (entry, sha256)
        return fresh

    def _hash(self, path: Path) -> str:
        try:
            if path.stat().st_size > self._settings.max_upload_bytes:
                raise FileTooLargeError(
                    f"the file has {path.stat().st_size:,} bytes; at most {self._settings.max_upload_bytes:,} are "
                    "accepted (DESCRY_MAX_UPLOAD_BYTES)"
                )
            digest = hashlib.sha256()
            with path.open("rb") as handle:
                while block := handle.read(_HASH_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise _unreadable(error) from error
        return digest.hexdigest()

    def _store_one(self, entry: Entry, sha256: str, name: str, change: StoreChange) -> _Prepared:
        try:
            data = entry.path.read_bytes()
        except OSError as error:
            raise _unreadable(error) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise FileChangedError("the file changed while it was ingested; run the ingest again")
        limits = self._settings
        picture = pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
        change.write(name, pictures.encode(picture), pictures.thumbnail(picture))
        pixels = self._encoder.encoder.preprocess(picture.image)
        return _Prepared(entry, sha256, name, picture.size, pixels, look(picture.image))

    def _finish(self, chunk: _Chunk, record: Record | None) -> list[Outcome]:
        with chunk.files:
            waiting = list(chunk.prepared.items())
            vectors = self._encoder.encode_images([item.pixels for _, item in waiting])
            half = {space: found.astype(np.float16) for space, found in vectors.items()}
            with self._database.write() as session:
                outcomes = self._commit(session, chunk, waiting, half)
                if record is not None:
                    record(session, outcomes)
        return outcomes

    def _commit(
        self, session: Session, chunk: _Chunk, waiting: list[tuple[int, _Prepared]], vectors: dict[Space, Half]
    ) -> list[Outcome]:
        log = LogRepository(session)
        if log.lock().active_version_id != self._version_id:
            raise ModelChangedError("another model version became active; run the ingest again")
        images = ImageRepository(session)
        # Another process may have been faster.
        known = images.known((item.sha256 for _, item in waiting), self._collection_id)
        new = [row for row, (_, item) in enumerate(waiting) if item.sha256 not in known]
        ids = self._insert(images, IdentityRepository(session), [waiting[row][1] for row in new])
        looks = {image_id: waiting[row][1].look for image_id, row in zip(ids, new, strict=True)}
        near = images.mark_near_duplicates(
            {image_id: look for image_id, look in looks.items() if look is not None}, self._collection_id
        )
        log.add(
            [
                NewEmbedding(image_id, self._version_id, space, matrix[row])
                for image_id, row in zip(ids, new, strict=True)
                for space, matrix in vectors.items()
            ]
        )
        made = dict(zip(new, ids, strict=True))
        for row, (position, item) in enumerate(waiting):
            status: Status = "ingested" if row in made else "duplicate"
            image_id = made.get(row, known.get(item.sha256))
            copy_of = near.get(made[row]) if row in made else None
            chunk.outcomes[position] = Outcome(item.entry.name, status, image_id, near_duplicate_of=copy_of)
        return [chunk.outcomes[position] for position in range(chunk.length)]

    def _insert(self, images: ImageRepository, identities: IdentityRepository, items: list[_Prepared]) -> list[int]:
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


def _unreadable(error: OSError) -> ServiceError:
    if isinstance(error, FileNotFoundError):
        return FileMissingError("the file does not exist (any more)")
    return FileUnreadableError(f"the file cannot be read: {error.strerror or error}")
