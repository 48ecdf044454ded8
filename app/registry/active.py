"""The model version that answers: its encoder and its views, loaded together and switched by one assignment."""

import logging
import threading
from dataclasses import dataclass

from app.database.sessions import Database
from app.embedding.service import EncoderService
from app.errors import NoActiveModelError
from app.registry.service import ModelService
from app.settings import Settings
from app.vectors.repository import LogRepository
from app.vectors.snapshot import SnapshotKey
from app.vectors.view import VectorView
from models.encoder import EncoderSpec, Space

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model version in memory. A query keeps the one that it began with."""

    version_id: int
    name: str
    encoder: EncoderService
    views: dict[Space, VectorView]

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
        self._switching = threading.Lock()
        self._loaded: LoadedModel | None = None

    @property
    def loaded(self) -> LoadedModel | None:
        """The version that answers, if one does."""
        return self._loaded

    def current(self) -> LoadedModel:
        """The version that answers.

        Raises:
            NoActiveModelError: none is active, or it is still loading.
        """
        loaded = self._loaded
        if loaded is None:
            raise NoActiveModelError
        return loaded

    def load_encoder(self, version_id: int) -> tuple[str, str, EncoderService]:
        """Name, fingerprint and encoder of a version.

        Raises:
            ModelNotFoundError, CheckpointError: there is none, or its weights cannot be loaded.
        """
        with self._database.read() as session:
            row = ModelService(session, self._settings.models_dir).find(version_id)
        loaded = self._loaded
        if loaded is not None and loaded.version_id == version_id:
            return row.name, row.fingerprint, loaded.encoder
        return row.name, row.fingerprint, EncoderService.load(self._settings.models_dir / row.folder, self._settings)

    def load(self, version_id: int) -> LoadedModel:
        """Load weights and views of a version beside the one that answers.

        Raises:
            ModelNotFoundError, CheckpointError: see `load_encoder`.
        """
        name, _, encoder = self.load_encoder(version_id)
        views = self.views(version_id)
        for view in views.values():
            view.open()
        return LoadedModel(version_id, name, encoder, views)

    def views(self, version_id: int) -> dict[Space, VectorView]:
        """Views of a version, one for each stored space, that hold nothing yet: `open` or `rebuild` them.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        with self._database.read() as session:
            row = ModelService(session, self._settings.models_dir).find(version_id)
            history = LogRepository(session).head().history
        spec = EncoderSpec.from_dict(row.spec)
        keys = {s: SnapshotKey(history, row.fingerprint, s, spec.spaces[s].dim) for s in spec.stored_spaces}
        return {s: VectorView(self._database, version_id, key, self._settings.index_dir) for s, key in keys.items()}

    def switch(self, loaded: LoadedModel) -> None:
        """Let a loaded version answer from now on. Queries in flight finish on the one before."""
        loaded.catch_up()
        self._loaded = loaded
        _log.info("model version %d (%s) answers", loaded.version_id, loaded.name)

    def follow(self) -> None:
        """Load and switch if the database names another active version; else let the views follow the log."""
        with self._switching:
            with self._database.read() as session:
                head = LogRepository(session).head()
            loaded, wanted = self._loaded, head.active_version_id
            if wanted is not None and (loaded is None or loaded.version_id != wanted):
                self.switch(self.load(wanted))
            elif loaded is not None:
                loaded.catch_up(head.sequence)

    def maintain(self) -> None:
        """Compact and save the views where that is worth it."""
        if (loaded := self._loaded) is not None:
            for view in loaded.views.values():
                view.maintain()

    def close(self, *, save: bool) -> None:
        """End the encoder's threads; `save` writes index snapshots first, so that the next start is quick."""
        if (loaded := self._loaded) is not None:
            for view in loaded.views.values():
                if save:
                    view.try_save()
            loaded.encoder.close()
