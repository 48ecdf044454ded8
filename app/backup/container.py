"""A backup as files: a zip if its name ends so, else a folder.

    manifest.json              written last: format, revision, place in the log, counts, the list's and its own SHA-256
    parts.jsonl                a line for each part: path, SHA-256, bytes
    database.sqlite3           every table, whatever database the gallery is in
    pictures.jsonl             a line for each image: store name, SHA-256 of picture and thumbnail
    pictures/ab/<sha256>       pictures and thumbnails by their content; the same bytes are there once
    models/<folder>/<file>     checkpoints

It is written under a temporary name and gets its own when the manifest is in it, so that one that was cut short has no
manifest and not the name either.
"""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from app.errors import BackupError, BackupTargetError, StorageError
from app.files import sync_files, sync_folder

FORMAT = "descry-backup-1"
MANIFEST, PARTS, PICTURES, DATABASE = "manifest.json", "parts.jsonl", "pictures.jsonl", "database.sqlite3"
_BLOCK = 2**20


class BackupWriter:
    """Writes the parts of a new backup.

    Raises:
        BackupTargetError: something has the name already.
        StorageError: the place cannot be written, here and in every method.
    """

    def __init__(self, target: Path) -> None:
        self._target = target.absolute()
        if self._target.exists():
            raise BackupTargetError(f"{target} exists already; choose another name, or remove it")
        self._partial = self._target.with_name(f"{self._target.name}.partial")
        self._parts: dict[str, tuple[str, int]] = {}
        self._zip: zipfile.ZipFile | None = None
        try:
            self.discard()
            self._target.parent.mkdir(parents=True, exist_ok=True)
            if self._target.suffix == ".zip":
                self._zip = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_STORED)
            else:
                self._partial.mkdir()
        except OSError as error:
            raise _unwritable(error) from error

    @property
    def size(self) -> int:
        """Bytes of all parts so far."""
        return sum(size for _, size in self._parts.values())

    def put(self, path: str, data: bytes) -> str:
        """Write a part; returns its SHA-256. A part that is there already is not written again."""
        digest = hashlib.sha256(data).hexdigest()
        if path not in self._parts:
            self._write(path, data)
            self._parts[path] = (digest, len(data))
        return digest

    def put_content(self, data: bytes) -> str:
        """Write bytes under a name that follows from them; returns their SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        self.put(content_path(digest), data)
        return digest

    def drop(self, digest: str) -> None:
        """Leave content out after all. A zip keeps its bytes, which nothing names any more."""
        path = content_path(digest)
        if self._zip is None and self._parts.pop(path, None) is not None:
            (self._partial / path).unlink(missing_ok=True)

    def put_file(self, path: str, source: Path) -> None:
        """Copy a file into a part, block by block."""
        digest, size = hashlib.sha256(), 0
        try:
            with source.open("rb") as reading, self._open(path) as writing:
                while block := reading.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
                    writing.write(block)
        except OSError as error:
            raise _unwritable(error) from error
        self._parts[path] = (digest.hexdigest(), size)

    def finish(self, about: dict[str, Any]) -> dict[str, Any]:
        """Write list and manifest, make all durable, give the backup its name; returns the manifest."""
        lines = (json.dumps({"path": p, "sha256": d, "bytes": n}) + "\n" for p, (d, n) in sorted(self._parts.items()))
        listed = "".join(lines).encode()
        manifest = {"format": FORMAT, **about, "parts": len(self._parts), "bytes": self.size}
        manifest["parts_sha256"] = hashlib.sha256(listed).hexdigest()
        manifest["sha256"] = _own_digest(manifest)
        try:
            self._write(PARTS, listed)
            if self._zip is None:
                sync_files(self._partial, [])
            self._write(MANIFEST, json.dumps(manifest, indent=1).encode())
            if self._zip is not None:
                self._zip.close()
                with self._partial.open("rb") as handle:
                    os.fsync(handle.fileno())
            else:
                sync_files(self._partial, [])
            self._partial.rename(self._target)
            sync_folder(self._target.parent)
        except OSError as error:
            raise _unwritable(error) from error
        return manifest

    def discard(self) -> None:
        """Remove what is unfinished."""
        if self._zip is not None:
            self._zip.close()
            self._zip = None
        if self._partial.is_dir():
            shutil.rmtree(self._partial)
        else:
            self._partial.unlink(missing_ok=True)

    def _open(self, path: str) -> IO[bytes]:
        if self._zip is not None:
            return self._zip.open(path, "w", force_zip64=True)
        place = self._partial / path
        place.parent.mkdir(parents=True, exist_ok=True)
        return place.open("wb")

    def _write(self, path: str, data: bytes) -> None:
        try:
            with self._open(path) as handle:
                handle.write(data)
        except OSError as error:
            raise _unwritable(error) from error


class BackupReader:
    """Reads a backup. `manifest` is what it says of itself; `verify` sees whether it is true.

    Raises:
        BackupError: there is none, it is not whole, or of a format that this release does not know.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._zip: zipfile.ZipFile | None = None
        try:
            if not source.is_dir():
                self._zip = zipfile.ZipFile(source)
            self.manifest: dict[str, Any] = json.loads(self.read(MANIFEST))
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise BackupError(f"{source} is not a whole backup: {error}") from error
        if not isinstance(self.manifest, dict) or self.manifest.get("format") != FORMAT:
            raise BackupError(f"{source} is not a backup in the format {FORMAT}")
        if self.manifest.get("sha256") != _own_digest(self.manifest):
            raise BackupError(f"{source}: its manifest was changed, or is damaged")

    def close(self) -> None:
        """Close the file."""
        if self._zip is not None:
            self._zip.close()

    def parts(self) -> list[dict[str, Any]]:
        """The list of parts (path, sha256, bytes).

        Raises:
            BackupError: it is not the one that the manifest names.
        """
        listed = self.read(PARTS)
        if hashlib.sha256(listed).hexdigest() != self.manifest.get("parts_sha256"):
            raise BackupError(f"{self._source}: the list of its parts was changed, or is damaged")
        return [json.loads(line) for line in listed.splitlines()]

    def verify(self) -> Iterator[int]:
        """Compare every part with its checksum; yields the number of parts that were right so far.

        Raises:
            BackupError: a part is missing or damaged.
        """
        for number, part in enumerate(self.parts(), start=1):
            digest = hashlib.sha256()
            for block in self.blocks(part["path"]):
                digest.update(block)
            if digest.hexdigest() != part["sha256"]:
                raise BackupError(f"{self._source}: {part['path']} is damaged; take another backup")
            yield number

    def read(self, path: str) -> bytes:
        """One part.

        Raises:
            BackupError: it is missing, or cannot be read.
        """
        return b"".join(self.blocks(path))

    def blocks(self, path: str) -> Iterator[bytes]:
        """One part, block by block; see `read`."""
        try:
            with self._zip.open(path) if self._zip is not None else (self._source / path).open("rb") as handle:
                while block := handle.read(_BLOCK):
                    yield block
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise BackupError(f"{self._source}: {path} is missing or damaged ({error})") from error


def content_path(digest: str) -> str:
    """Where bytes of a SHA-256 lie in a backup."""
    return f"pictures/{digest[:2]}/{digest}"


def _own_digest(manifest: dict[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unwritable(error: OSError) -> StorageError:
    return StorageError(f"the backup cannot be written: {error.strerror or error}")
