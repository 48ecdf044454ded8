"""The stored pictures of a range of images, encoded for a model version: read, decode, encode, one commit a chunk.

Like an ingest (`app.gallery.taking`): each core takes a few pictures all the way, so that reading and decoding overlap
with encoding on a CPU as on a GPU, and no more lies in memory than one batch a core. A few chunks are under way at any
time; they are committed in order. Pictures pass the same functions as in an ingest and in a query.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np
from sqlalchemy.orm import Session
from torch import Tensor

from app.database.sessions import Database
from app.database.tables import ModelVersion
from app.embedding.service import EncoderService
from app.errors import FileMissingError, PictureError, StorageError
from app.gallery import pictures
from app.gallery.repository import ImageRepository
from app.gallery.store import ImageStore
from app.lanes import cores
from app.settings import Settings
from app.vectors.contract import Half
from app.vectors.repository import LogRepository, NewEmbedding
from models.encoder import Space

_CORES = cores()
_AHEAD = 2
"""Chunks that are under way while one is waited for."""
_PIECE_S, _FIRST_PIECE = 2.0, 4
"""Seconds that a core may be at one batch, and pictures in the first ones: whoever stops an encoding waits for them."""
LOOK_S = 0.5
"""Seconds between two looks whether to go on."""
Row = tuple[int, str]
"""Id and store name of an image."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An image whose stored picture is gone or damaged."""

    image_id: int
    error: PictureError

    def raised(self) -> StorageError:
        """As the error that ends whatever cannot go on without the picture."""
        return StorageError(
            f"the stored picture of image {self.image_id} cannot be read ({self.error}); restore it from a backup, or "
            "delete the image, and activate again"
        )


Record = Callable[[Session, int], bool]
"""Told the number of images of a chunk, in the transaction of their vectors; False ends the encoding after it."""
Refuse = Callable[[Session, Sequence[Unreadable]], None]
"""Told before `Record` which of them could not be read, in the same transaction."""


def raise_first(session: Session, unreadable: Sequence[Unreadable]) -> None:
    """A `Refuse` for those who cannot go on without every picture.

    Raises:
        StorageError: a stored picture is missing or damaged.
    """
    del session
    raise unreadable[0].raised()


@dataclass(slots=True)
class _Encoded:
    """What became of some rows; `seen` counts them, deleted ones too."""

    seen: int = 0
    ids: list[int] = field(default_factory=list)
    vectors: list[dict[Space, Half]] = field(default_factory=list)
    """(N, dim) float16 for each stored space and batch."""
    unreadable: list[Unreadable] = field(default_factory=list)

    def joined(self) -> dict[Space, Half]:
        """One matrix for each stored space, in the order of `ids`."""
        spaces = self.vectors[0] if self.vectors else ()
        return {space: np.concatenate([part[space] for part in self.vectors]) for space in spaces}


class GalleryEncoding:
    """Encodes for one version; a chunk is committed only if it is asked for (`Record`)."""

    def __init__(
        self, database: Database, store: ImageStore, settings: Settings, version: ModelVersion, encoder: EncoderService
    ) -> None:
        self._database, self._store, self._settings = database, store, settings
        self._version, self._encoder = version, encoder
        self._halt = threading.Event()
        self._each_s: float | None = None

    def run(
        self,
        record: Record,
        *,
        after: int = 0,
        upto: int | None = None,
        refuse: Refuse = raise_first,
        going: Callable[[], bool] = lambda: True,
    ) -> bool:
        """Encode the images with `after` < id <= `upto` that the version lacks. Run again, it goes on.

        `encode_share` of the settings bounds the part of the time that is spent at it. `going` is asked every
        `LOOK_S` seconds; if it says no, the batches under way are ended, what of the present chunk is done is kept.

        Returns:
            Whether the end was reached.

        Raises:
            StorageError: the store does not answer; or, unless `refuse` bears it, a stored picture is gone.
        """
        self._halt.clear()
        ahead = _AHEAD if self._settings.encode_share == 1 else 0
        coming: deque[list[Future[_Encoded]]] = deque()
        more = True
        with ThreadPoolExecutor(_CORES, thread_name_prefix="descry-encode") as pool:
            try:
                while True:
                    while more and len(coming) <= ahead:
                        began = time.monotonic()
                        if more := bool(rows := self._rows(after, upto)):
                            after = rows[-1][0]
                            coming.append(self._begin(rows, pool))
                    if not coming:
                        return True
                    whole = self._wait(coming[0], going)
                    if not self._append(self._gathered(coming.popleft()), record, refuse) or not whole:
                        return False
                    self._pause((time.monotonic() - began) * (1 / self._settings.encode_share - 1), going)
            finally:
                self._halt.set()
                for batch in (batch for chunk in coming for batch in chunk):
                    batch.cancel()

    def encode_rows(self, rows: list[Row]) -> tuple[list[int], dict[Space, Half]]:
        """Ids and vectors of some images, without those that were deleted meanwhile.

        Raises:
            StorageError: a stored picture cannot be read.
        """
        self._halt.clear()
        with ThreadPoolExecutor(_CORES, thread_name_prefix="descry-encode") as pool:
            found = self._gathered(self._begin(rows, pool))
        if found.unreadable:
            raise found.unreadable[0].raised()
        return found.ids, found.joined()

    def write(self, session: Session, ids: Sequence[int], vectors: dict[Space, Half]) -> None:
        """Add vectors to the log, of those images that exist and still lack one. The session must write."""
        log, version_id = LogRepository(session), self._version.id
        lacking = ImageRepository(session).still_lacking(self._version, ids)
        if len(vectors) > 1:
            log.forget(version_id, sorted(lacking))  # an image may have the vector of one space only
        log.add(
            [
                NewEmbedding(image_id, version_id, space, matrix[row])
                for row, image_id in enumerate(ids)
                if image_id in lacking
                for space, matrix in vectors.items()
            ]
        )

    def _rows(self, after: int, upto: int | None) -> list[Row]:
        with self._database.read() as session:
            images = ImageRepository(session)
            return images.lacking(self._version, after=after, upto=upto, limit=self._settings.ingest_chunk)

    def _begin(self, rows: list[Row], pool: ThreadPoolExecutor) -> list[Future[_Encoded]]:
        wanted = _FIRST_PIECE if self._each_s is None else max(1, int(_PIECE_S / self._each_s))
        size = min(self._encoder.batch_size, wanted)
        return [pool.submit(self._take, rows[start : start + size]) for start in range(0, len(rows), size)]

    def _wait(self, batches: list[Future[_Encoded]], going: Callable[[], bool]) -> bool:
        """Whether all of them were done before `going` said no."""
        while wait(batches, timeout=LOOK_S).not_done:
            if not going():
                self._halt.set()
                for batch in batches:
                    batch.cancel()
                wait(batches)
                return False
        return True

    def _gathered(self, batches: list[Future[_Encoded]]) -> _Encoded:
        whole = _Encoded()
        for found in (batch.result() for batch in batches if not batch.cancelled()):
            whole.seen += found.seen
            whole.ids += found.ids
            whole.vectors += found.vectors
            whole.unreadable += found.unreadable
        return whole

    def _append(self, found: _Encoded, record: Record, refuse: Refuse) -> bool:
        vectors = found.joined()
        with self._database.write() as session:
            LogRepository(session).lock()
            if found.unreadable:
                refuse(session, found.unreadable)
            self.write(session, found.ids, vectors)
            return record(session, found.seen)

    def _pause(self, seconds: float, going: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and going():
            time.sleep(min(left, LOOK_S))

    def _take(self, rows: Sequence[Row]) -> _Encoded:
        """Some pictures all the way, in the calling thread; none of them if it is told to stop."""
        began, found, pixels = time.monotonic(), _Encoded(len(rows)), list[Tensor]()
        for image_id, name in rows:
            if self._halt.is_set():
                return _Encoded()
            try:
                decoded = self._pixels(image_id, name)
            except PictureError as error:
                found.unreadable.append(Unreadable(image_id, error))
                continue
            if decoded is not None:
                found.ids.append(image_id)
                pixels.append(decoded)
        if pixels:
            vectors = self._encoder.encode_here(pixels)
            found.vectors.append({space: matrix.astype(np.float16) for space, matrix in vectors.items()})
        self._each_s = (time.monotonic() - began) / len(rows)
        return found

    def _pixels(self, image_id: int, name: str) -> Tensor | None:
        """The preprocessed picture; None if the image was deleted meanwhile.

        Raises:
            PictureError: it is gone or damaged.
            StorageError: the store does not answer.
        """
        try:
            data = self._store.read(name)
            if data is None:
                raise FileMissingError("it is not in the image store")
            # What was accepted once stays acceptable, whatever the limits for new pictures are now.
            picture = pictures.decode(data, max_pixels=2**31, max_bytes=max(len(data), self._settings.max_upload_bytes))
        except PictureError:
            with self._database.read() as session:
                if ImageRepository(session).get(image_id) is None:
                    return None
            raise
        return self._encoder.encoder.preprocess(picture.image)
