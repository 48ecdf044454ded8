"""What each route and each verb is in the audit: the two tables of it. What has no row is audited as `other`."""

import re
from functools import cache

_ROUTES = """
GET    /                                              -  the page itself
GET    /static/{path}                                 -  the page's files
GET    /docs                                          -  documentation
GET    /docs/{path}                                   -  documentation
GET    /openapi.json                                  -  documentation
GET    /healthz                                       -  says nothing of anybody
GET    /readyz                                        -  says nothing of anybody
GET    /metrics                                       -  counts and times; asked every few seconds
GET    /v1/session                                    -  who asks, told to whoever asks; the page asks at each start
POST   /v1/session                                    session.begin
DELETE /v1/session                                    -  takes the cookie away, of whoever asks
POST   /v1/search/text                                search.text
POST   /v1/search/image                               search.image
POST   /v1/search/composed                            search.composed
GET    /v1/queries                                    view.queries
GET    /v1/queries/{id}                               view.query
PATCH  /v1/queries/{id}                               change.query
DELETE /v1/queries/{id}                               change.query.delete
POST   /v1/queries/{id}/search                        search.again
GET    /v1/queries/{id}/results                       export.results
GET    /v1/queries/{id}/feedback                      view.feedback
POST   /v1/queries/{id}/feedback                      change.feedback
DELETE /v1/queries/{id}/feedback/{id}                 change.feedback.delete
GET    /v1/identifications                            view.identifications
POST   /v1/identifications                            change.identification
GET    /v1/identifications/{id}                       view.identification
POST   /v1/identifications/{id}/confirm               change.identification.confirm
POST   /v1/identifications/{id}/refuse                change.identification.refuse
POST   /v1/identifications/{id}/withdraw              change.identification.withdraw
GET    /v1/identities/{id}                            view.identity
PATCH  /v1/identities/{id}                            change.identity
DELETE /v1/identities/{id}                            change.identity.delete
POST   /v1/identities/{id}/merge                      change.identity.merge
POST   /v1/identities/{id}/split                      change.identity.split
GET    /v1/identities/{id}/history                    view.history
GET    /v1/identities/{id}/timeline                   view.timeline
GET    /v1/images/{id}                                view.image
PATCH  /v1/images/{id}                                change.image
DELETE /v1/images/{id}                                change.image.delete
GET    /v1/images/{id}/file                           view.file
GET    /v1/images/{id}/thumbnail                      view.thumbnail
POST   /v1/images/{id}/support                        view.support
POST   /v1/images/{id}/heatmap                        view.heatmap
GET    /v1/associations                               -  counts of runs; no person
POST   /v1/associations                               change.association
GET    /v1/associations/{id}                          -  counts of a run; no person
POST   /v1/associations/{id}/undo                     change.association.undo
GET    /v1/gallery                                    -  two counts
GET    /v1/gallery/facets                             view.facets
POST   /v1/gallery/batches                            change.ingest
POST   /v1/gallery/videos                             change.ingest
GET    /v1/collections                                -  names and counts; the page asks at each start
POST   /v1/collections                                change.collection
GET    /v1/models                                     -  model versions; no person
POST   /v1/models                                     change.model
GET    /v1/models/{id}                                -  a model version; no person
DELETE /v1/models/{id}                                change.model.delete
POST   /v1/models/{id}/activate                       change.model.activate
POST   /v1/models/{id}/rollback                       change.model.rollback
POST   /v1/models/{id}/encode                         change.model.encode
POST   /v1/admin/retraining-jobs                      change.retraining
GET    /v1/admin/keys                                 key.list
POST   /v1/admin/keys                                 key.create
GET    /v1/admin/keys/{id}                            key.view
DELETE /v1/admin/keys/{id}                            key.revoke
POST   /v1/admin/keys/{id}/rotate                     key.rotate
GET    /v1/admin/audit                                audit.list
GET    /v1/admin/audit/verify                         audit.verify
GET    /v1/admin/retention                            view.retention
PUT    /v1/admin/retention                            change.retention
GET    /v1/jobs                                       -  asked again and again while a job runs
GET    /v1/jobs/{id}                                  -  asked again and again while a job runs
GET    /v1/jobs/{id}/items                            -  asked again and again while a job runs
GET    /v1/jobs/{id}/events                           -  the same as a stream
GET    /v1/jobs/{id}/result                           export.download
POST   /v1/jobs/{id}/cancel                           change.job.cancel
POST   /v1/jobs/{id}/retry                            change.job.retry
POST   /v1/exports                                    export.create
"""

_VERBS = """
demo                  -
serve                 -
worker                -
ingest                change.ingest
ingest-video          change.ingest
watch                 change.ingest
tune                  -
doctor                -
subject               view.subject
erase                 change.erase
backup                export.backup
restore               change.restore
retention list        view.retention
retention set         change.retention
retention apply       change.erase
search                search.cli
explain               view.support
export                export.create
retrain               change.retraining
index rebuild         change.index
index encode          change.index
index estimate        -
index migrate         change.index
images sweep          change.images
images thumbnails     change.images
models list           -
models register       change.model
models activate       change.model.activate
models rollback       change.model.rollback
models show           -
models calibrate      change.model
models delete         change.model.delete
models retire         change.model.delete
jobs list             -
jobs show             -
jobs cancel           change.job.cancel
jobs retry            change.job.retry
keys create           key.create
keys list             key.list
keys revoke           key.revoke
keys rotate           key.rotate
identities merge      change.identity.merge
identities split      change.identity.split
identities history    view.history
identities timeline   view.timeline
identities associate  change.association
identities runs       -
identities undo       change.association.undo
queries list          view.queries
queries show          view.query
queries save          change.query
queries delete        change.query.delete
queries search        search.again
queries results       export.results
identifications list  view.identifications
identifications show  view.identification
feedback add          change.feedback
feedback list         view.feedback
feedback remove       change.feedback.delete
feedback export       export.feedback
audit list            audit.list
audit verify          audit.verify
audit export          audit.export
audit prune           audit.prune
"""

_NUMBERS = r"\d{1,19}|[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


def routes() -> dict[tuple[str, str], str | None]:
    """The action of each (method, path), paths as in `app.access.rules`; None: not audited."""
    rows = (line.split(maxsplit=3) for line in _ROUTES.strip().splitlines())
    return {(row[0], row[1]): None if row[2] == "-" else row[2] for row in rows}


def verbs() -> dict[str, str | None]:
    """The action of each verb of `descry`; None: not audited."""
    rows = (line.rsplit(maxsplit=1) for line in _VERBS.strip().splitlines())
    return {verb.strip(): None if action == "-" else action for verb, action in rows}


def changes(action: str) -> bool:
    """Whether an action writes: its entry is committed with the change itself."""
    return action.startswith("change.") or action in {"key.create", "key.revoke", "key.rotate", "export.create"}


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str], str | None], ...]:
    def pattern(path: str) -> re.Pattern[str]:
        parts = re.split(r"(\{id\}|\{path\})", path)
        return re.compile("".join({"{id}": "([^/]+)", "{path}": ".+"}.get(part, re.escape(part)) for part in parts))

    ordered = sorted(routes().items(), key=lambda row: "{" in row[0][1])
    return tuple((method, path, pattern(path), action) for (method, path), action in ordered)


def action_of(method: str, path: str) -> tuple[str | None, str]:
    """What a request is, and its target: its path as far as that holds nothing but known words and ids."""
    own = "GET" if method == "HEAD" else method
    for row, template, pattern, action in _patterns():
        if row == own and (found := pattern.fullmatch(path)):
            plain = all(re.fullmatch(_NUMBERS, part) for part in found.groups())
            return action, f"{own} {path if plain and '{path}' not in template else template}"
    return "other", f"{own if own.isalpha() and len(own) < 10 else '?'} ?"
