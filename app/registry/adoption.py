"""Checkpoints come into the data folder: whole or not at all, and only if they work."""

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from app.files import sync_folder
from models.calibration import CALIBRATION
from models.checkpoint import CARD, SPEC, WEIGHTS, CheckpointInfo, read_info
from models.trial import try_out


def adopt(checkpoint: Path, models_dir: Path) -> CheckpointInfo:
    """Copy a checkpoint into the data folder, under its fingerprint; whole or not at all.

    It is tried out first, so that a checkpoint which cannot work is refused now and not when it is needed.

    Raises:
        CheckpointError: it cannot be loaded, or does not do what its spec says.
    """
    try_out(checkpoint)
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
