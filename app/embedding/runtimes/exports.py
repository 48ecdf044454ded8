"""Exports of checkpoints: a cache in the data folder, by checkpoint and library versions. Nothing of it is a pickle.

runtimes/<fingerprint>/<library>-<version>-torch-<version>/    the exported files and export.json
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.embedding.runtimes.names import version_of
from app.errors import RuntimeRefusedError
from app.files import check_free, sync_folder
from models.encoder import PersonEncoder

Write = Callable[[PersonEncoder, Path], None]
_log = logging.getLogger(__name__)
_MANIFEST, _FORMAT = "export.json", 1
_PARTIAL = ".partial-"
_SAID = 200
"""Characters of a library's error that are passed on."""


def exported(home: Path, library: str, encoder: PersonEncoder, write: Write, *, least_free: int | None) -> Path:
    """The folder of a checkpoint's export, which is made if there is none that is whole.

    It appears whole or not at all: one process exports at a time, under another name, while others wait.

    Args:
        home: folder of the checkpoint's exports.
        library: the package that reads the export.
        least_free: see `check_free`.

    Raises:
        RuntimeRefusedError: the network cannot be exported.
        DiskLowError: there is no room for it.
    """
    folder = home / f"{library}-{version_of(library)}-torch-{version_of('torch')}"
    if is_whole(folder):
        return folder
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home):
        if is_whole(folder):
            return folder
        for left in home.glob(f"{_PARTIAL}*"):  # of processes that were killed: whoever exports has the lock
            shutil.rmtree(left, ignore_errors=True)
        size = sum(tensor.numel() * tensor.element_size() for tensor in encoder.state_dict().values())
        check_free(home, least_free, coming=2 * size)
        _log.info("exporting the encoder for %s into %s (once for each checkpoint and version)", library, folder)
        _make(folder, library, encoder, write)
        for other in home.glob(f"{library}-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    return folder


def _make(folder: Path, library: str, encoder: PersonEncoder, write: Write) -> None:
    partial = folder.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
    partial.mkdir()
    try:
        try:
            write(encoder, partial)
        except OSError:
            raise
        except Exception as error:
            raise RuntimeRefusedError(
                f"{encoder.spec.method} on {encoder.spec.backbone} cannot be exported for {library} "
                f"({type(error).__name__}: {brief(error)}); use another DESCRY_RUNTIME"
            ) from error
        files = {path.name: _digest(path) for path in sorted(partial.iterdir())}
        (partial / _MANIFEST).write_text(json.dumps({"format": _FORMAT, "sha256": files}, indent=1) + "\n")
        for path in partial.iterdir():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        sync_folder(partial)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        partial.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether a folder holds an export as it was written."""
    try:
        found = json.loads((folder / _MANIFEST).read_text())
        return found["format"] == _FORMAT and all(
            _digest(folder / name) == digest for name, digest in found["sha256"].items()
        )
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        _log.warning("the export in %s is damaged and will be made anew: %s", folder, error)
        return False


def brief(error: Exception) -> str:
    """What a library says of an error, in one line without the colours that it is meant to have on a terminal."""
    words = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    return words if len(words) <= _SAID else f"{words[:_SAID]}..."


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    with (home / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
