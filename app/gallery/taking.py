"""The part of an ingest that all cores do at once: a few pictures from their bytes to stored files and vectors.

One thread takes a few pictures all the way. It has no partner to wait for, and the pixels are still in its cache when
the encoder wants them.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from app.embedding.service import EncoderService
from app.errors import (
    EncoderMemoryError,
    FileChangedError,
    FileMissingError,
    FileTooLargeError,
    FileUnreadableError,
    InvalidError,
    ServiceError,
)
from app.gallery import pictures
from app.gallery.likeness import Look, look
from app.gallery.showing import blurred_thumbnail
from app.gallery.sources import Entry
from app.gallery.store import StoreChange
from app.settings import Settings
from app.vectors.contract import Half
from models.encoder import Space

_KEPT_BYTES = 64 * 1024
"""Files up to this size are read once; larger ones again for their decoding, which costs far more than that."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """An entry that was read. `data` are its bytes, if they are few."""

    entry: Entry
    sha256: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """One picture, decoded, stored and encoded, waiting for its row. `vectors` are (dim,) float16 by space."""

    entry: Entry
    sha256: str
    store_name: str
    size: tuple[int, int]
    look: Look | None
    vectors: dict[Space, Half]


@dataclass(slots=True)
class Taken:
    """What became of some entries, by position in their chunk."""

    prepared: dict[int, Prepared] = field(default_factory=dict)
    refused: dict[int, ServiceError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An entry that is to be taken: its position in the chunk, and the name in the store that is kept for it."""

    position: int
    hashed: Hashed
    store_name: str


def read(entry: Entry, settings: Settings) -> Hashed:
    """Read and hash one file.

    Raises:
        InvalidError: one of its kind, saying why the file cannot be had.
    """
    try:
        # No file object: each system call beyond these three is one more wait for the interpreter's lock.
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, _KEPT_BYTES + 1)
            size = len(data) if len(data) <= _KEPT_BYTES else os.fstat(descriptor).st_size
            if size > settings.max_upload_bytes:
                raise FileTooLargeError(
                    f"the file has {size:,} bytes; at most {settings.max_upload_bytes:,} are accepted "
                    "(DESCRY_MAX_UPLOAD_BYTES)"
                )
            if size > _KEPT_BYTES:
                os.lseek(descriptor, 0, os.SEEK_SET)
                with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as handle:
                    return Hashed(entry, hashlib.file_digest(handle, "sha256").hexdigest(), None)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(error) from error
    return Hashed(entry, hashlib.sha256(data).hexdigest(), data)


def take(waiting: Sequence[Waiting], change: StoreChange, encoder: EncoderService, settings: Settings) -> Taken:
    """Decode, store and encode some pictures, in the calling thread.

    Raises:
        StorageError: they cannot be stored.
    """
    taken = Taken()
    decoded: list[tuple[Waiting, Tensor, tuple[int, int], Look | None]] = []
    for item in waiting:
        try:
            picture = _decode(item.hashed, settings)
        except InvalidError as error:
            taken.refused[item.position] = error
            continue
        _store(picture, item.store_name, change, settings)
        decoded.append((item, encoder.encoder.preprocess(picture.image), picture.size, look(picture.image)))
    for (item, _, size, seen), own in zip(decoded, _encode([one[1] for one in decoded], encoder), strict=True):
        hashed = item.hashed
        if isinstance(own, EncoderMemoryError):
            taken.refused[item.position] = own
            continue
        taken.prepared[item.position] = Prepared(hashed.entry, hashed.sha256, item.store_name, size, seen, own)
    return taken


def _store(picture: pictures.Picture, name: str, change: StoreChange, settings: Settings) -> None:
    if (blurred := blurred_thumbnail(picture, settings)) is None:
        change.write(name, pictures.encode(picture), pictures.thumbnail(picture))
        return
    change.write(name, pictures.encode(picture), None)
    change.write_blurred(name, blurred)


def _encode(pixels: Sequence[Tensor], encoder: EncoderService) -> list[dict[Space, Half] | EncoderMemoryError]:
    """The vectors of each picture, or that it does not fit into memory by itself."""
    if not pixels:
        return []
    try:
        found = encoder.encode_here(pixels)
    except EncoderMemoryError as error:
        return [error] if len(pixels) == 1 else [one for single in pixels for one in _encode([single], encoder)]
    half = {space: vectors.astype(np.float16) for space, vectors in found.items()}
    return [{space: matrix[row] for space, matrix in half.items()} for row in range(len(pixels))]


def _decode(hashed: Hashed, settings: Settings) -> pictures.Picture:
    data = hashed.data
    if data is None:
        try:
            data = hashed.entry.path.read_bytes()
        except OSError as error:
            raise _unreadable(error) from error
        if hashlib.sha256(data).hexdigest() != hashed.sha256:
            raise FileChangedError("the file changed while it was ingested; run the ingest again")
    return pictures.decode(data, max_pixels=settings.max_pixels, max_bytes=settings.max_upload_bytes)


def _unreadable(error: OSError) -> InvalidError:
    if isinstance(error, FileNotFoundError):
        return FileMissingError("the file does not exist (any more)")
    return FileUnreadableError(f"the file cannot be read: {error.strerror or error}")
