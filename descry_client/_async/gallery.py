"""What goes into the gallery and out of it: batches, videos, collections, exports."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from descry_client._async.transport import AsyncTransport, given
from descry_client.models import CollectionList, CollectionOut, Facets, GallerySummary, JobOut
from descry_client.uploads import Part, Progress, folder_parts


class AsyncGallery:
    """/v1/gallery. Uploads answer with a job; `jobs.wait` waits for it.

    Each upload has an Idempotency-Key, a new one unless `idempotency_key` gives it: sending the same again under the
    same key gives the same job.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def summary(self) -> GallerySummary:
        """How much is there."""
        return await self._transport.json(GallerySummary, "GET", "/v1/gallery")

    async def facets(self, *, collection: str | None = None) -> Facets:
        """What a search can be filtered by."""
        return await self._transport.json(Facets, "GET", "/v1/gallery/facets", params=given(collection=collection))

    async def upload_folder(
        self,
        folder: Path,
        *,
        collection: str | None = None,
        progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> JobOut:
        """Upload the pictures of a folder and of those below it, with its manifest if it has one.

        Raises:
            ValueError: the folder has no pictures, or two manifests.
            OSError: a file cannot be read.
        """
        return await self._batch(folder_parts(folder), collection, progress, idempotency_key)

    async def upload_archive(
        self,
        archive: Path,
        *,
        collection: str | None = None,
        progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> JobOut:
        """Upload a zip or tar of pictures, with or without a manifest."""
        return await self._batch([Part("archive", archive, archive.name)], collection, progress, idempotency_key)

    async def upload_pictures(
        self,
        pictures: Mapping[str, Path | bytes],
        *,
        manifest: bytes | None = None,
        collection: str | None = None,
        progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> JobOut:
        """Upload pictures by their names in the gallery; `manifest` has one line of JSON for each."""
        parts = [Part("files", content, name) for name, content in pictures.items()]
        if manifest is not None:
            parts.append(Part("manifest", manifest, "manifest.jsonl"))
        return await self._batch(parts, collection, progress, idempotency_key)

    async def upload_video(
        self,
        video: Path,
        *,
        name: str | None = None,
        camera: str | None = None,
        start: datetime | str | None = None,
        collection: str | None = None,
        fps: float | None = None,
        progress: Progress | None = None,
        idempotency_key: str | None = None,
    ) -> JobOut:
        """Upload a video; a job finds the people in it. `start`: when the first frame was taken."""
        return await self._transport.json(
            JobOut,
            "POST",
            "/v1/gallery/videos",
            params=given(name=name or video.name, camera=camera, start=start, collection=collection, fps=fps),
            content=Part("video", video),
            progress=progress,
            headers=_idempotent(idempotency_key),
            safe=True,
        )

    async def _batch(
        self, parts: list[Part], collection: str | None, progress: Progress | None, key: str | None
    ) -> JobOut:
        return await self._transport.json(
            JobOut,
            "POST",
            "/v1/gallery/batches",
            params=given(collection=collection),
            parts=parts,
            progress=progress,
            headers=_idempotent(key),
            safe=True,
        )


class AsyncCollections:
    """/v1/collections."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def all(self) -> list[CollectionOut]:
        """Every collection that the key may see."""
        return (await self._transport.json(CollectionList, "GET", "/v1/collections")).collections

    async def create(self, name: str) -> CollectionOut:
        """Make a collection."""
        return await self._transport.json(CollectionOut, "POST", "/v1/collections", body={"name": name})


class AsyncExports:
    """/v1/exports."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def start(self, *, collection: str | None = None, originals: bool = False) -> JobOut:
        """Export a collection, or everything; `jobs.save_result` fetches the file when the job has succeeded.

        `originals`: pictures without blurred heads, where the server blurs them.
        """
        body = given(collection=collection, originals=originals or None)
        return await self._transport.json(JobOut, "POST", "/v1/exports", body=body)


def _idempotent(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key or str(uuid.uuid4())}
