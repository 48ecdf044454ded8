"""The client."""

from types import TracebackType
from typing import Self

from descry_client._sync.admin import Keys, Models, Retention
from descry_client._sync.audit import Audit
from descry_client._sync.gallery import Collections, Exports, Gallery
from descry_client._sync.identifications import Identifications
from descry_client._sync.jobs import Jobs
from descry_client._sync.people import Associations, Identities, Images
from descry_client._sync.search import Queries, Search
from descry_client._sync.transport import Transport
from descry_client.sync_tools import HttpClient
from descry_client.models import Health, Readiness, SessionOut


class Client:
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
        self._transport = Transport(
            url, key, timeout_s=timeout_s, retries=retries, most_wait_s=most_wait_s, http=http
        )
        self.search = Search(self._transport)
        self.queries = Queries(self._transport)
        self.identifications = Identifications(self._transport)
        self.identities = Identities(self._transport)
        self.images = Images(self._transport)
        self.associations = Associations(self._transport)
        self.gallery = Gallery(self._transport)
        self.collections = Collections(self._transport)
        self.models = Models(self._transport)
        self.jobs = Jobs(self._transport)
        self.exports = Exports(self._transport)
        self.keys = Keys(self._transport)
        self.audit = Audit(self._transport)
        self.retention = Retention(self._transport)

    def who(self) -> SessionOut:
        """Who this client is to the server, and what it may do."""
        return self._transport.json(SessionOut, "GET", "/v1/session")

    def health(self) -> Health:
        """Whether the server's process answers."""
        return self._transport.json(Health, "GET", "/healthz")

    def readiness(self) -> Readiness:
        """Whether a search would be answered now, and if not why."""
        return self._transport.json(Readiness, "GET", "/readyz", safe=False, fine=(503,))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.url!r})"
