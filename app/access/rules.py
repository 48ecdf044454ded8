"""What each route asks of a key: the one table of it. A route without a row is refused, and a test fails."""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cache


class Need(StrEnum):
    """What a route asks for."""

    PUBLIC = "public"
    """Nothing: the page, its files, health, documentation of the API."""
    ANY = "any"
    """A valid key, whatever its scopes."""
    SEARCH = "search"
    INGEST = "ingest"
    ADMIN = "admin"


SCOPES = (Need.SEARCH.value, Need.INGEST.value, Need.ADMIN.value)
"""What a key can be given. `admin` holds the others."""

_TABLE = """
GET    /                                              public
GET    /static/{path}                                 public
GET    /docs                                          public
GET    /docs/{path}                                   public
GET    /openapi.json                                  public
GET    /healthz                                       public
GET    /readyz                                        public
GET    /metrics                                       admin
GET    /v1/session                                    any
POST   /v1/session                                    any
DELETE /v1/session                                    public
POST   /v1/search/text                                search
POST   /v1/search/image                               search
POST   /v1/search/composed                            search
GET    /v1/queries                                    search
GET    /v1/queries/{id}                               search
PATCH  /v1/queries/{id}                               search
DELETE /v1/queries/{id}                               search
POST   /v1/queries/{id}/search                        search
GET    /v1/queries/{id}/results                       search
GET    /v1/queries/{id}/feedback                      search
POST   /v1/queries/{id}/feedback                      search
DELETE /v1/queries/{id}/feedback/{id}                 search
GET    /v1/identifications                            search
POST   /v1/identifications                            search
GET    /v1/identifications/{id}                       search
POST   /v1/identifications/{id}/confirm               search
POST   /v1/identifications/{id}/refuse                search
POST   /v1/identifications/{id}/withdraw              search
GET    /v1/identities/{id}                            search
PATCH  /v1/identities/{id}                            ingest
DELETE /v1/identities/{id}                            admin
POST   /v1/identities/{id}/merge                      ingest
POST   /v1/identities/{id}/split                      ingest
GET    /v1/identities/{id}/history                    search
GET    /v1/identities/{id}/timeline                   search
GET    /v1/images/{id}                                search
PATCH  /v1/images/{id}                                ingest
DELETE /v1/images/{id}                                admin
GET    /v1/images/{id}/file                           search
GET    /v1/images/{id}/thumbnail                      search
POST   /v1/images/{id}/support                        search
POST   /v1/images/{id}/heatmap                        search
GET    /v1/associations                               ingest
POST   /v1/associations                               ingest
GET    /v1/associations/{id}                          ingest
POST   /v1/associations/{id}/undo                     ingest
GET    /v1/gallery                                    search
GET    /v1/gallery/facets                             search
POST   /v1/gallery/batches                            ingest
POST   /v1/gallery/videos                             ingest
GET    /v1/collections                                any
POST   /v1/collections                                ingest
GET    /v1/models                                     any
POST   /v1/models                                     admin
GET    /v1/models/{id}                                any
DELETE /v1/models/{id}                                admin
POST   /v1/models/{id}/activate                       admin
POST   /v1/models/{id}/rollback                       admin
POST   /v1/models/{id}/encode                         admin
POST   /v1/admin/retraining-jobs                      admin
GET    /v1/admin/retention                            admin
PUT    /v1/admin/retention                            admin
GET    /v1/admin/keys                                 admin
POST   /v1/admin/keys                                 admin
GET    /v1/admin/keys/{id}                            admin
DELETE /v1/admin/keys/{id}                            admin
POST   /v1/admin/keys/{id}/rotate                     admin
GET    /v1/admin/audit                                admin
GET    /v1/admin/audit/verify                         admin
GET    /v1/jobs                                       ingest
GET    /v1/jobs/{id}                                  ingest
GET    /v1/jobs/{id}/items                            ingest
GET    /v1/jobs/{id}/events                           ingest
GET    /v1/jobs/{id}/result                           admin
POST   /v1/jobs/{id}/cancel                           ingest
POST   /v1/jobs/{id}/retry                            ingest
POST   /v1/exports                                    admin
"""


def rules() -> dict[tuple[str, str], Need]:
    """What each (method, path) asks for; parameters of paths are named {id}, or {path} where slashes may follow."""
    rows = (line.split() for line in _TABLE.strip().splitlines())
    return {(method, path): Need(need) for method, path, need in rows}


def granted(need: Need, scopes: Iterable[str]) -> bool:
    """Whether a valid key with these scopes may do what needs `need`."""
    held = set(scopes)
    return need in (Need.PUBLIC, Need.ANY) or Need.ADMIN.value in held or need.value in held


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str], Need], ...]:
    def pattern(path: str) -> re.Pattern[str]:
        parts = re.split(r"(\{id\}|\{path\})", path)
        return re.compile("".join({"{id}": "[^/]+", "{path}": ".+"}.get(part, re.escape(part)) for part in parts))

    # Exact paths first: a parameter would take their place.
    ordered = sorted(rules().items(), key=lambda row: "{" in row[0][1])
    return tuple((method, path, pattern(path), need) for (method, path), need in ordered)


def need_of(method: str, path: str) -> Need:
    """What a request asks of its key. What no row names wants a valid key, so that strangers learn nothing of it."""
    method = "GET" if method == "HEAD" else method
    for own, _, pattern, need in _patterns():
        if own == method and pattern.fullmatch(path):
            return need
    return Need.ANY


UNKNOWN_ROUTE = "unknown"


def route_of(path: str) -> str:
    """The template that a path is of, for logs and metrics: one of a few words, whatever the path holds."""
    return next((template for _, template, pattern, _ in _patterns() if pattern.fullmatch(path)), UNKNOWN_ROUTE)
