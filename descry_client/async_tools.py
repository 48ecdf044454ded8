"""What waiting is in the client with async and await; `sync_tools` is the same without."""

from asyncio import sleep as pause
from collections.abc import AsyncIterator, Iterator

import httpx
from anyio.to_thread import run_sync

Response = httpx.Response
HttpClient = httpx.AsyncClient

__all__ = ["HttpClient", "Response", "pause", "streamed"]


async def streamed(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces; files are read beside the event loop."""
    while (piece := await run_sync(next, pieces, None)) is not None:
        yield piece
