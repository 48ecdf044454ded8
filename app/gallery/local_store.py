"""The image store that is a folder of this machine."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.errors import StorageError
from app.files import sync_files, sync_folder
from app.gallery.store import BLURRED, KINDS, PICTURE, THUMBNAIL, ImageStore, Referenced

_NEW = ".new"
"""Follows the name of a file until it is whole."""


class LocalStore(ImageStore):
    """Pictures as files under `folder`, beside its `journal`."""

    def __init__(self, folder: Path, referenced: Referenced) -> None:
        super().__init__(folder / "journal", referenced)
        self.folder = folder

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def check(self) -> None:
        """See whether the folder is there."""
        if not self.folder.is_dir():
            raise StorageError(f"the folder of pictures {self.folder} is gone; bring it back, or restore a backup")

    def picture_path(self, name: str) -> Path:
        """Where the upright picture of a store name lies."""
        return self.folder / f"{name}{PICTURE}"

    def thumbnail_path(self, name: str) -> Path:
        """Where the thumbnail of a store name lies; a small picture is its own (a file less to make for each crop)."""
        path = self.folder / f"{name}{THUMBNAIL}"
        return path if path.exists() else self.picture_path(name)

    def path(self, name: str, *, thumbnail: bool = False) -> Path | None:
        """The file, if there is one."""
        path = self.thumbnail_path(name) if thumbnail else self.picture_path(name)
        return path if path.is_file() else None

    def read(self, name: str, *, thumbnail: bool = False) -> bytes | None:
        """The bytes of the file."""
        return self._read(self.thumbnail_path(name) if thumbnail else self.picture_path(name))

    def read_blurred(self, name: str) -> bytes | None:
        """The bytes of the file."""
        return self._read(self.folder / f"{name}{BLURRED}")

    def holds(self, name: str, kind: str) -> bool:
        """Asks the file system."""
        return (self.folder / f"{name}{kind}").is_file()

    def _read(self, path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"a picture in {self.folder} cannot be read: {error.strerror}") from error

    def names(self, *, older_than_s: float = 0.0) -> Iterator[str]:
        """Walks the folders."""
        latest = time.time() - older_than_s
        for path in self.folder.glob("??/??/*.jpg"):
            if not path.name.endswith((THUMBNAIL, BLURRED)) and path.stat().st_mtime <= latest:
                yield str(path.relative_to(self.folder))[: -len(PICTURE)]

    def _begin(self, folder: str) -> None:
        (self.folder / folder).mkdir(parents=True, exist_ok=True)

    def _write(self, name: str, picture: bytes, thumbnail: bytes | None) -> None:
        try:
            _create(f"{self.folder}/{name}{PICTURE}", picture)
            if thumbnail is not None:
                _create(f"{self.folder}/{name}{THUMBNAIL}", thumbnail)
        except OSError as error:
            raise StorageError(f"a picture cannot be stored in {self.folder}: {error.strerror}") from error

    def _write_blurred(self, name: str, data: bytes) -> None:
        try:
            _create(f"{self.folder}/{name}{BLURRED}", data)
        except OSError as error:
            raise StorageError(f"a picture cannot be stored in {self.folder}: {error.strerror}") from error

    def _put(self, name: str, kind: str, data: bytes) -> None:
        path = self.folder / f"{name}{kind}"
        new = path.with_name(f"{path.name}{_NEW}")
        try:
            new.unlink(missing_ok=True)  # of a process that was killed
            _create(str(new), data, sync=True)
            new.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise StorageError(f"a thumbnail cannot be stored in {self.folder}: {error.strerror}") from error

    def _drop(self, name: str, kind: str) -> None:
        try:
            (self.folder / f"{name}{kind}").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"a thumbnail in {self.folder} cannot be removed: {error.strerror}") from error

    def _seal(self, folder: str) -> None:
        place = self.folder / folder
        try:
            sync_files(place, sorted(place.iterdir()))
        except OSError as error:
            raise StorageError(f"pictures cannot be stored in {self.folder}: {error.strerror}") from error

    def _remove(self, names: Sequence[str]) -> None:
        folders = set()
        try:
            for name in names:
                for kind in KINDS:
                    (self.folder / f"{name}{kind}").unlink(missing_ok=True)
                for kind in (THUMBNAIL, BLURRED):
                    (self.folder / f"{name}{kind}{_NEW}").unlink(missing_ok=True)
                folders.add(self.picture_path(name).parent)
            for folder in folders:  # erased means erased, also after a power failure
                if folder.is_dir():
                    sync_folder(folder)
        except OSError as error:
            raise StorageError(f"pictures in {self.folder} cannot be removed: {error.strerror}") from error


def _create(path: str, data: bytes, *, sync: bool = False) -> None:
    # No rename: nothing reads a name before its row is committed, and a torn file has no row. No file object either:
    # every system call beyond these three is one more wait for the interpreter's lock.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
