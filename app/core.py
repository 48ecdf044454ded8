"""The service without HTTP: what the server and the verbs of `descry` share.

What encodes is made when it is asked for: PyTorch takes half a gigabyte, and a worker that waits for jobs needs none.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from app.allocator import give_back
from app.audit.cli import audited_verb, has_audit
from app.audit.writer import AuditWriter
from app.collections.service import CollectionService
from app.database.migrate import upgrade
from app.database.sessions import Database
from app.database.tables import DEFAULT_COLLECTION
from app.embedding.decoding import DecodePool
from app.errors import ConfigurationError, NoActiveModelError, StorageError
from app.gallery.blurring import face_blur
from app.gallery.open_store import open_store
from app.gallery.repository import ImageRepository
from app.gallery.showing import Showing
from app.gallery.store import ImageStore
from app.identities.erasures import ErasureRepository
from app.lanes import Lanes
from app.queries.recorder import Recorder
from app.settings import Settings
from app.vectors.repository import LogRepository

if TYPE_CHECKING:
    from app.gallery.ingest import Ingest
    from app.registry.activation import Activation
    from app.registry.active import ActiveModel


_QUICK, _SLOW = 1, 8


@contextmanager
def opened(settings: Settings) -> Iterator["Core"]:
    """`open_core` for the length of a block."""
    core = open_core(settings)
    try:
        with audited_verb(core.database):
            yield core
    finally:
        core.close()


@contextmanager
def looked_into(settings: Settings) -> Iterator[tuple[Database, ImageStore]]:
    """Database and pictures as they are: nothing is migrated or cleaned up, so that an older release goes on.

    Raises:
        ConfigurationError: there is no gallery in the data folder.
    """
    if not settings.database_url and not (settings.data_dir / "descry.sqlite3").is_file():
        raise ConfigurationError(f"there is no gallery in {settings.data_dir}; --data-dir names another folder")
    database = Database(settings.database)
    store = open_store(settings, _all_of_them)
    try:
        # A schema of before the audit has nowhere to write an entry, and is left as it is.
        with audited_verb(database) if has_audit(database) else nullcontext():
            yield database, store
    finally:
        store.close()
        database.close()


def _all_of_them(names: Sequence[str]) -> set[str]:
    return set(names)


class Core:
    """The parts of one running Descry."""

    def __init__(self, settings: Settings, database: Database, store: ImageStore) -> None:
        self.settings, self.database, self.store = settings, database, store
        self.showing = Showing(store, settings)
        self._quick, self._slow = Lanes("descry-search", _QUICK), Lanes("descry-search-slow", _SLOW)
        self.recorder, self.decoding = Recorder(database), DecodePool(settings.query_queue)
        self.audit = AuditWriter(database)
        self._making = threading.Lock()
        self._active: ActiveModel | None = None
        self._erased: int | None = None
        """The last entry of the ledger that was seen; None before the first look, when nothing is kept yet."""

    @property
    def active(self) -> "ActiveModel":
        """The model version that answers."""
        if (found := self._active) is not None:
            return found  # each search asks
        from app.registry.active import ActiveModel

        with self._making:
            if self._active is None:
                self._active = ActiveModel(self.database, self.settings)
            return self._active

    def lanes(self, *, narrow: bool) -> Lanes:
        """Where a search runs: one that may take long, because it is limited to a part of the gallery or because the
        database is far away, does not keep the others waiting."""
        return self._slow if narrow or self.database.remote else self._quick

    @property
    def activation(self) -> "Activation":
        """What prepares other versions."""
        from app.registry.activation import Activation

        return Activation(self.database, self.store, self.settings)

    def ingest(self, collection: str = DEFAULT_COLLECTION) -> "Ingest":
        """An ingest into a collection, which is made if it does not exist, for the version that is active now.

        Raises:
            NoActiveModelError: none is.
            CollectionNameError: the text cannot be a name.
        """
        from app.gallery.ingest import Ingest

        with self.database.read() as session:
            version_id = LogRepository(session).head().active_version_id
        if version_id is None:
            raise NoActiveModelError
        _, _, encoder = self.active.load_encoder(version_id)
        with self.database.write() as session:
            collection_id = CollectionService(session).resolve(collection)
        return Ingest(self.database, self.store, version_id, encoder, self.settings, collection_id)

    def switch(self, version_id: int, *, despite_gate: bool = False) -> None:
        """Make a complete version the active one, here and in the database; loaded before, so that nothing waits.

        Open jobs that were to let another one answer do not any more.

        Raises:
            ModelNotFoundError, ModelRefusedError: there is none, or it may not be activated.
            ModelIncompleteError: more than a few images are not encoded for it.
            MemoryShortError: its indexes would not fit into memory here.
        """
        from app.jobs.order import overtake
        from app.jobs.repository import JobRepository
        from app.registry.service import ModelService

        with self.database.read() as session:
            ModelService(session).admitted(version_id, despite_gate=despite_gate)
        self.activation.check(version_id)
        self.active.admit(version_id)
        self.active.switch_with(
            version_id,
            lambda encoder: self.activation.complete(
                version_id,
                activate=True,
                encoder=encoder,
                despite_gate=despite_gate,
                record=lambda session, _: overtake(JobRepository(session), version_id),
            ),
        )

    def tidy(self) -> None:
        """Put away what nobody uses any more, and give the memory back."""
        if self._active is not None:
            self._active.tidy()
        give_back()

    def follow_erasures(self) -> None:
        """Forget texts that are kept in memory if anything was erased since the last look, by whatever process."""
        with self.database.read() as session:
            last = ErasureRepository(session).last()
        if last != self._erased:
            if self._erased is not None:
                self.forget_texts()
            self._erased = last

    def forget_texts(self) -> None:
        """Forget texts that are kept in memory, in this process."""
        if self._active is not None:
            self._active.forget_texts()

    def close(self, *, save: bool = False) -> None:
        """End threads and connections; `save` writes index snapshots first."""
        if self._active is not None:
            self._active.close(save=save)
        self._quick.close()
        self._slow.close()
        self.decoding.close()
        self.recorder.close()
        self.audit.close()
        self.store.close()
        self.database.close()


def open_core(settings: Settings) -> Core:
    """Open the data folder: make it if absent, migrate the database, clean up after processes that died.

    Raises:
        StorageError: the folder cannot be made or written.
        FaceBlurNotInstalledError: faces are to be blurred, and cannot be here.
    """
    face_blur(settings)  # before anything is made
    try:
        settings.images_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the data folder {settings.data_dir} cannot be made: {error.strerror}") from error
    database = Database(settings.database)
    upgrade(database)

    def referenced(names: Sequence[str]) -> set[str]:
        with database.settled() as session:
            return ImageRepository(session).referenced(names)

    store = open_store(settings, referenced)
    store.recover()
    return Core(settings, database, store)
