"""The client."""

from types import TracebackType
from typing import Self

from descry_client._async.admin import AsyncKeys, AsyncModels, AsyncRetention
from descry_client._async.audit import AsyncAudit
from descry_client._async.gallery import AsyncCollections, AsyncExports, AsyncGallery
from descry_client._async.identifications import AsyncIdentifications
from descry_client._async.jobs import AsyncJobs
from descry_client._async.people import AsyncAssociations, AsyncIdentities, AsyncImages
from descry_client._async.search import AsyncQueries, AsyncSearch
from descry_client._async.transport import AsyncTransport
from descry_client.async_tools import HttpClient
from descry_client.models import Health, Readiness, SessionOut


class AsyncClient:
    """A Descry server.

    Args:
        url: the server's address, without a path.
        key: a key (`descry keys create`); none for a demo on this machine. It is sent in a header only.
        timeout_s: how long the server may be silent.
        retries: how often a busy server (429, 503) is asked again, after as many seconds as it says in Retry-After.
        most_wait_s: if it says more than this, the error is raised at once.
        http: a client of httpx to use instead of an own one (proxies, certificates); it is not closed.

    Raises:
        ValueError: the address or the key cannot be one.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = 3,
        most_wait_s: float = 30.0,
        http: HttpClient | None = None,
    ) -> None:
        self._transport = AsyncTransport(
            url, key, timeout_s=timeout_s, retries=retries, most_wait_s=most_wait_s, http=http
        )
        self.search = AsyncSearch(self._transport)
        self.queries = AsyncQueries(self._transport)
        self.identifications = AsyncIdentifications(self._transport)
        self.identities = AsyncIdentities(self._transport)
        self.images = AsyncImages(self._transport)
        self.associations = AsyncAssociations(self._transport)
        self.gallery = AsyncGallery(self._transport)
        self.collections = AsyncCollections(self._transport)
        self.models = AsyncModels(self._transport)
        self.jobs = AsyncJobs(self._transport)
        self.exports = AsyncExports(self._transport)
        self.keys = AsyncKeys(self._transport)
        self.audit = AsyncAudit(self._transport)
        self.retention = AsyncRetention(self._transport)

    async def who(self) -> SessionOut:
        """Who this client is to the server, and what it may do."""
        return await self._transport.json(SessionOut, "GET", "/v1/session")

    async def health(self) -> Health:
        """Whether the server's process answers."""
        return await self._transport.json(Health, "GET", "/healthz")

    async def readiness(self) -> Readiness:
        """Whether a search would be answered now, and if not why."""
        return await self._transport.json(Readiness, "GET", "/readyz", safe=False, fine=(503,))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.url!r})"
