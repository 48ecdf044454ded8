"""The model version that answers: its encoder and its views, loaded together and switched by one assignment.

A second version may be in memory beside it: the one that a job prepares to answer, or else the one that answered
before. Both follow the log, so that an activation or a rollback that the database names is followed at the next look.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database.sessions import Database
from app.embedding.service import EncoderService
from app.embedding.shelf import EncoderShelf
from app.errors import MemoryShortError, ModelNotFoundError, ModelNotLoadedError, NoActiveModelError, VectorStoreError
from app.gallery.repository import ImageRepository
from app.registry.repository import ModelRepository
from app.registry.service import ModelService
from app.settings import Settings
from app.vectors.engines import Engine, open_engine
from app.vectors.repository import HeadRow, LogRepository
from app.vectors.scrub import remove_stale
from app.vectors.snapshot import SnapshotKey
from app.vectors.view import VectorView
from models.confidence import ConfidenceCurve, confidence_curves
from models.encoder import EncoderSpec, Space
from models.errors import DescryError
from models.presence import PresenceRule, presence_rules

_log = logging.getLogger(__name__)
_CHANGES = 3
"""Activations that come while a version is loaded, and are followed at once."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model version in memory. A query keeps the one that it began with."""

    version_id: int
    name: str
    encoder: EncoderService
    views: dict[Space, VectorView]
    calibration: dict[str, Any] = field(default_factory=dict)
    curves: dict[Space, ConfidenceCurve] = field(default_factory=dict)
    """By the space of the query, where the version is calibrated."""
    rules: dict[Space, PresenceRule] = field(default_factory=dict)
    """Likewise; versions that were calibrated before there were any have none."""

    def view(self, space: Space) -> VectorView:
        """The view in which queries of a space are searched."""
        return self.views[self.encoder.spec.stored(space)]

    def catch_up(self, sequence: int | None = None) -> None:
        """Let every view follow the log."""
        for view in self.views.values():
            view.catch_up(sequence)


class ActiveModel:
    """Holds the loaded active version. Reading it takes no lock."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self.warm = False
        """Whether a version that is loaded runs what queries will run before it can be switched to."""
        self._switching, self._preparing = threading.Lock(), threading.Lock()
        self._engine = open_engine(settings)
        self._encoders = EncoderShelf(settings)
        self._loaded: LoadedModel | None = None
        self._beside: LoadedModel | None = None
        self._failure: VectorStoreError | None = None
        self._too_large: int | None = None
        """The version that was last found too large to be kept ready: said once."""
        self._active_id: int | None = None
        """The version that the database named last."""

    @property
    def loaded(self) -> LoadedModel | None:
        """The version that answers, if one does."""
        return self._loaded

    @property
    def beside(self) -> LoadedModel | None:
        """The version that is ready to answer, if one is."""
        return self._beside

    def current(self) -> LoadedModel:
        """The version that answers.

        Raises:
            NoActiveModelError: none is active.
            ModelNotLoadedError: it is still loading, or cannot be loaded.
            VectorStoreError: it cannot be loaded, because its vectors are away.
        """
        loaded = self._loaded
        if loaded is None:
            if (failure := self._failure) is not None:
                raise type(failure)(failure.message)
            if (active := self._active_id) is not None:
                raise ModelNotLoadedError(active)
            raise NoActiveModelError
        return loaded

    def ready(self, version_id: int) -> bool:
        """Whether a version is in memory, so that `follow` switches to it at once."""
        return self._present(version_id) is not None

    def load_encoder(self, version_id: int) -> tuple[str, str, EncoderService]:
        """Name, fingerprint and encoder of a version, which others may have too.

        Raises:
            ModelNotFoundError, CheckpointError: there is none, or its weights cannot be loaded.
        """
        with self._database.read() as session:
            row = ModelService(session).find(version_id)
        if (present := self._present(version_id)) is not None:
            return row.name, row.fingerprint, present.encoder
        return row.name, row.fingerprint, self._encoders.get(row.fingerprint, self._settings.models_dir / row.folder)

    def load(self, version_id: int) -> LoadedModel:
        """Weights and views of a version, loaded beside the one that answers unless they are in memory.

        Raises:
            ModelNotFoundError, CheckpointError: see `load_encoder`.
            MemoryShortError: see `admit`; not for the first version that is loaded.
            EncoderFailedError, EncoderMemoryError: it does not get through its first passes.
        """
        if self._present(version_id) is None:
            with self._preparing:  # what is being loaded already is not loaded twice
                return self._build(version_id)
        return self._build(version_id)

    def admit(self, version_id: int) -> None:
        """Refuse a version whose indexes, once all images are encoded for it, would not fit into memory here.

        Raises:
            ModelNotFoundError: there is no such version.
            MemoryShortError: they would not; unless the settings say not to look.
        """
        if self.ready(version_id):
            return
        self._engine.admit(*self.size(version_id))

    def size(self, version_id: int) -> tuple[int, list[int]]:
        """Number of vectors in each stored space once all images are encoded for a version; and the dimensions.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        with self._database.read() as session:
            row = ModelService(session).find(version_id)
            count = ImageRepository(session).count()
        spec = EncoderSpec.from_dict(row.spec)
        return count, [spec.spaces[space].dim for space in spec.stored_spaces]

    def _build(self, version_id: int) -> LoadedModel:
        if (present := self._present(version_id)) is not None:
            present.catch_up()
            return _calibrated(present, self._calibration(version_id))  # which may be newer than what was loaded
        if self._loaded is not None:  # what is to answer after a start is loaded in any case
            self.admit(version_id)
        name, _, encoder = self.load_encoder(version_id)
        if self.warm:
            encoder.warm_up()
        views = self.views(version_id)
        for view in views.values():
            view.open()
        return _calibrated(LoadedModel(version_id, name, encoder, views), self._calibration(version_id))

    def _present(self, version_id: int) -> LoadedModel | None:
        held = (found for found in (self._loaded, self._beside) if found is not None)
        return next((found for found in held if found.version_id == version_id), None)

    def _calibration(self, version_id: int) -> dict[str, Any]:
        with self._database.read() as session:
            return ModelRepository(session).calibration(version_id)

    def views(self, version_id: int, engine: Engine | None = None) -> dict[Space, VectorView]:
        """Views of a version, one for each stored space, that hold nothing yet: `open` or `rebuild` them.

        Args:
            engine: what holds their vectors, if not the configured one.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        with self._database.read() as session:
            row = ModelService(session).find(version_id)
            history = LogRepository(session).head().history
        spec = EncoderSpec.from_dict(row.spec)
        keys = {s: SnapshotKey(history, row.fingerprint, s, spec.spaces[s].dim) for s in spec.stored_spaces}
        held = engine or self._engine
        return {
            s: VectorView(self._database, version_id, key, held.storage(version_id, key)) for s, key in keys.items()
        }

    def switch_with(self, version_id: int, commit: Callable[[EncoderService], None]) -> None:
        """Load a version, let `commit` make it the active one in the database, and let it answer here at once.

        Raises:
            ModelNotFoundError, CheckpointError: see `load_encoder`. And what `commit` raises.
        """
        loaded = self.load(version_id)
        with self._switching:  # or `follow` would go back to what it read before
            commit(loaded.encoder)
            self._switch(loaded)

    def _switch(self, loaded: LoadedModel) -> None:
        """Let a loaded version answer from now on. Queries in flight finish on the one before."""
        loaded.catch_up()
        before, self._loaded = self._loaded, loaded
        if before is not None and before.version_id != loaded.version_id:
            self._beside = before if self._settings.standby else None
        _log.info("model version %d (%s) answers", loaded.version_id, loaded.name)

    def follow(self) -> None:
        """Load and switch if the database names another active version; else let the views follow the log.

        Raises:
            VectorStoreError: the store of the vectors is away; `current` says so too while nothing is loaded.
        """
        try:
            self._follow()
        except VectorStoreError as error:
            self._failure = error
            raise
        self._failure = None

    def _follow(self) -> None:
        for _ in range(_CHANGES):
            head, loaded = self._head(), self._loaded
            self._active_id = wanted = head.active_version_id
            if wanted is None or (loaded is not None and loaded.version_id == wanted):
                break
            found = self.load(wanted)
            with self._switching:
                if self._head().active_version_id == wanted:
                    self._switch(found)
                    return
            # Another one was activated while this one was loaded.
        if loaded is None:
            return
        loaded.catch_up(head.sequence)
        calibration = self._calibration(loaded.version_id)
        with self._switching:
            if self._loaded is loaded and calibration != loaded.calibration:
                self._loaded = _calibrated(loaded, calibration)

    def _head(self) -> HeadRow:
        with self._database.read() as session:
            return LogRepository(session).head()

    def prepare(self) -> None:
        """Have in memory, beside the version that answers, the one that will answer next or has answered before.

        Raises:
            CheckpointError: its weights cannot be loaded.
        """
        with self._preparing:
            with self._database.read() as session:
                wanted = self._wanted(session)
            beside = self._beside
            if beside is not None and beside.version_id == wanted:
                beside.catch_up()
                return
            if wanted is None:
                self._beside = None
                return
            try:
                found = self._build(wanted)
            except ModelNotFoundError:
                return  # deleted meanwhile
            except MemoryShortError as error:
                if self._too_large != wanted:
                    _log.warning("model version %d is not kept ready: %s", wanted, error.message)
                self._too_large = wanted
                return
            with self._switching:
                if self._loaded is not None and self._loaded.version_id != wanted:
                    self._beside = found

    def _wanted(self, session: Session) -> int | None:
        active = LogRepository(session).head().active_version_id
        if active is None or self._loaded is None:
            return None
        if coming := ModelService(session).encoding(to_activate=True) - {active}:
            return min(coming)
        before = ModelRepository(session).before(active) if self._settings.standby else None
        return None if before is None or before[1] is not None else before[0]

    def maintain(self) -> None:
        """Compact and save the views where that is worth it; files of other versions that hold what was erased go."""
        there = [held for held in (self._loaded, self._beside) if held is not None]
        for held in there:
            held.encoder.cache.sweep()
            for view in held.views.values():
                view.maintain()
        with self._database.read() as session:
            loaded = {held.version_id for held in there}
            remove_stale(self._settings.index_dir, loaded, LogRepository(session).deleted_after)

    def tidy(self) -> None:
        """Put away encoders that are idle: one that was loaded for a job, and those of versions that were replaced."""
        self._encoders.tidy([held.encoder for held in (self._loaded, self._beside) if held is not None])

    def forget_texts(self) -> None:
        """Forget the texts that were encoded of late: the words that no model knows are names, often."""
        for held in (self._loaded, self._beside):
            if held is not None:
                held.encoder.cache.clear()

    def close(self, *, save: bool) -> None:
        """End the encoder's threads; `save` writes index snapshots first, so that the next start is quick."""
        for held in (self._loaded, self._beside):
            if held is None:
                continue
            for view in held.views.values():
                if save:
                    self._save_last(view)
            held.encoder.close()
        self._engine.close()

    def _save_last(self, view: VectorView) -> None:
        try:
            view.catch_up()  # what was erased a moment ago must not stay in the file until the next start
        except (DescryError, SQLAlchemyError):
            _log.exception("the log could not be followed a last time")
        view.try_save()


def _calibrated(loaded: LoadedModel, calibration: dict[str, Any]) -> LoadedModel:
    if calibration == loaded.calibration:
        return loaded
    return replace(
        loaded,
        calibration=calibration,
        curves=confidence_curves(calibration),
        rules=presence_rules(calibration),
    )
