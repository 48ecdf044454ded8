"""An uploaded checkpoint: written beside the others, tried out, and only then kept."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from app.errors import CheckpointRefusedError, StorageError
from app.files import check_free
from app.registry.adoption import adopt_with
from app.settings import Settings
from models.calibration import CALIBRATION
from models.checkpoint import CARD, SPEC, WEIGHTS, CheckpointInfo
from models.errors import CheckpointError
from models.trial import try_out

_NAMES = {"weights": WEIGHTS, "spec": SPEC, "card": CARD, "calibration": CALIBRATION}


def receive(files: Mapping[str, IO[bytes]], settings: Settings) -> CheckpointInfo:
    """Keep the parts of a checkpoint (`weights`, `spec`, `card`, `calibration`) under its fingerprint.

    Raises:
        CheckpointRefusedError: it cannot be loaded, or does not do what its spec says.
        StorageError: it cannot be written.
    """
    settings.models_dir.mkdir(parents=True, exist_ok=True)
    size = 0
    for file in files.values():
        size += file.seek(0, 2)
        file.seek(0)
    check_free(settings.models_dir, settings.min_free_bytes, size)

    def write(folder: Path) -> None:
        for part, file in files.items():
            with (folder / _NAMES[part]).open("xb") as target:
                shutil.copyfileobj(file, target)
                target.flush()
                os.fsync(target.fileno())
        try_out(folder)

    try:
        return adopt_with(settings.models_dir, write)
    except CheckpointError as error:
        raise CheckpointRefusedError(error.message) from error
    except OSError as error:
        raise StorageError(f"the checkpoint cannot be written: {error.strerror}") from error
