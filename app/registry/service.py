"""Model versions: registering a checkpoint and listing what is registered."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from app.database.tables import NAME_CHARS, ModelVersion
from app.errors import InvalidError, ModelNameTakenError, ModelNotFoundError
from app.files import sync_folder
from app.gallery.repository import ImageRepository
from app.registry.repository import ModelRepository
from app.registry.schemas import ModelOut
from app.vectors.repository import LogRepository
from models.calibration import CALIBRATION
from models.checkpoint import CARD, SPEC, WEIGHTS, CheckpointInfo, load_checkpoint, read_info


class ModelService:
    """Model versions within one unit of work."""

    def __init__(self, session: Session, models_dir: Path) -> None:
        self._models = ModelRepository(session)
        self._images = ImageRepository(session)
        self._log = LogRepository(session)
        self._models_dir = models_dir

    def find(self, wanted: int | str) -> ModelVersion:
        """A version by id or name.

        Raises:
            ModelNotFoundError: there is none.
        """
        by_id = self._models.get(int(wanted)) if str(wanted).isdecimal() and len(str(wanted)) < 19 else None
        found = by_id or self._models.by_name(str(wanted))
        if found is None:
            raise ModelNotFoundError(wanted)
        return found

    def describe(self, row: ModelVersion) -> ModelOut:
        """A version with its present status."""
        active = self._log.head().active_version_id == row.id
        return ModelOut.of(row, active=active, missing=self._images.count_lacking(row.id))

    def all(self) -> list[ModelOut]:
        """Every version with its present status, oldest first."""
        return [self.describe(row) for row in self._models.all()]

    def register(self, info: CheckpointInfo, name: str) -> ModelVersion:
        """Make a row for a checkpoint that `adopt` copied. The same checkpoint again gives its present row, with the
        calibration that it has now, if it has one.

        Raises:
            ModelNameTakenError: another version has the name.
        """
        if present := self._models.by_fingerprint(info.fingerprint):
            if info.calibration:
                self._models.calibrate(present.id, info.calibration)
                self._models.refresh(present)
            return present
        if not name.strip() or len(name) > NAME_CHARS:
            raise InvalidError(f"a model name has 1 to {NAME_CHARS} characters")
        if self._models.by_name(name):
            raise ModelNameTakenError(f"another model version is called {name!r}; choose a name with --name")
        version_id = self._models.add(
            name=name,
            fingerprint=info.fingerprint,
            spec=info.spec.to_dict(),
            folder=info.path.name,
            metrics={},
            calibration=info.calibration,
        )
        return self.find(version_id)


def adopt(checkpoint: Path, models_dir: Path) -> CheckpointInfo:
    """Copy a checkpoint into the data folder, under its fingerprint; whole or not at all.

    The weights are loaded once, so that a checkpoint which cannot work is refused now and not when it is needed.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    load_checkpoint(checkpoint)
    return adopt_with(models_dir, lambda folder: _copy(checkpoint, folder))


def adopt_with(models_dir: Path, write: Callable[[Path], object]) -> CheckpointInfo:
    """Let `write` make a checkpoint in a new folder, and keep it under its fingerprint."""
    models_dir.mkdir(parents=True, exist_ok=True)
    partial = models_dir / f".partial-{secrets.token_hex(8)}"
    partial.mkdir()
    try:
        write(partial)
        kept = models_dir / read_info(partial).fingerprint[:32]
        if not kept.is_dir():
            sync_folder(partial)
            partial.rename(kept)
            sync_folder(models_dir)
        elif (partial / CALIBRATION).is_file():  # the same vectors, calibrated since
            (partial / CALIBRATION).replace(kept / CALIBRATION)
            sync_folder(kept)
        return read_info(kept)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy(checkpoint: Path, folder: Path) -> None:
    for name in (WEIGHTS, SPEC, CARD, CALIBRATION):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, folder / name)
            with (folder / name).open("rb") as handle:
                os.fsync(handle.fileno())
