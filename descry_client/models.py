"""What the API takes and gives. Written by `python -m app.reference` from docs/openapi.json: do not edit."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Model(BaseModel):
    """What all have in common. Fields that a newer server adds are ignored."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, serialize_by_alias=True, protected_namespaces=())


class ActivationIn(Model):
    """How a version is activated."""

    despite_gate: bool = False


class AssociationFound(Model):
    """What the grouping found. `sizes`: number of persons by number of images, those of one image included."""

    images: int = 0
    identities: int = 0
    persons: int = 0
    groups: int = 0
    without_vector: int = 0
    cut: int = 0
    crowded_instants: int = 0
    sizes: dict[str, int] = Field(default_factory=dict)


class AssociationUndo(Model):
    """What an undo did; `deleted`, `moved` and `kept` (the person was named meanwhile) images were left alone."""

    identities: int = 0
    images: int = 0
    deleted: int = 0
    moved: int = 0
    kept: int = 0
    names_taken: int = 0


class AssociationOut(Model):
    """A run. `found` is complete when the state is `grouped`; how far it is applied, the job says."""

    id: int
    job_id: str | None
    state: Literal["waiting", "grouped", "undone"]
    collection: str | None
    model_version_id: int
    threshold: float
    linkage: Literal["average", "complete"]
    window_s: float | None
    instants_apart: bool
    dry_run: bool
    found: AssociationFound
    undo: AssociationUndo | None
    created_at: datetime
    undone_at: datetime | None


class AssociationList(Model):
    """A page of runs, newest first; `next_before` asks for the one after it."""

    runs: list[AssociationOut]
    next_before: int | None


class AssociationRequest(Model):
    """How to group the images of a collection that nobody has named.

    What an identity has already stays together: tracks, merges, earlier runs. Identities with a name are never
    touched, and what somebody split is not joined directly again. Without a threshold the one of the active model
    version's calibration is taken.
    """

    collection: str = "default"
    threshold: float | None = None
    linkage: Literal["average", "complete"] | None = None
    window_s: float | None = None
    instants_apart: bool = False
    dry_run: bool = False


class ValueFacet(Model):
    """A value of an attribute, and how often the images that were looked at have it."""

    value: bool | int | float | str
    count: int


class AttributeFacet(Model):
    """An attribute with its most frequent values. `more`: it has others too."""

    field: str
    values: list[ValueFacet]
    more: bool


class Bounds(Model):
    """A range of numbers, or of strings by code point: with a lower bound, an upper one, or both."""

    gte: int | float | str | None = None
    gt: int | float | str | None = None
    lte: int | float | str | None = None
    lt: int | float | str | None = None


class AttributeFilter(Model):
    """One condition on an attribute. `value` by `op`: eq a string, number or boolean; in a list of them, of one
    type; range {"gte" or "gt": ..., "lte" or "lt": ...}; exists true or false; prefix the beginning of a string.
    """

    field: str
    op: Literal["eq", "in", "range", "exists", "prefix"]
    value: bool | int | float | str | list[bool | int | float | str] | Bounds


class AuditEntryOut(Model):
    """One access."""

    sequence: int
    at: datetime
    key_id: int | None
    actor: str
    action: str
    outcome: str
    facts: dict[str, Any]
    identity_ids: list[int]
    image_ids: list[int]
    words: dict[str, Any] | None
    words_erased: bool
    words_sha256: str | None
    previous: str
    hash: str


class AuditPage(Model):
    """Entries, newest first."""

    entries: list[AuditEntryOut]
    next_before: int | None


class AuditProblem(Model):
    """Something that was done to the entries."""

    sequence: int
    kind: str
    message: str


class AuditVerification(Model):
    """Whether the chain is whole."""

    whole: bool
    entries: int
    erased: int
    removed: int
    head: str
    problems: list[AuditProblem]


class Behind(Model):
    """How far the views of this process are behind the log, as far as is known."""

    head: int | None
    applied: int | None
    entries: int | None
    seconds: float | None


class BenchmarkIn(Model):
    """A split on which the candidate must not lose."""

    format: str
    folder: str
    split: Literal["train", "val", "test"] = "test"


class CameraFacet(Model):
    """A camera with the number of its images."""

    name: str
    images: int


class IdentityOut(Model):
    """A person. `provisional`: made for pictures whose person nobody has named; association may have joined some."""

    id: int
    external_id: str | None
    attributes: dict[str, Any]
    provisional: bool
    created_at: datetime


class PartScore(Model):
    """How one part of a query contributed to a candidate's score, by the candidate's best image."""

    part: int
    negative: bool
    score: float
    confidence: float | None
    contribution: float


class ImageOut(Model):
    """An image of the gallery. Sizes are pixels, upright; addresses are relative to the server."""

    id: int
    identity_id: int
    collection: str
    width: int
    height: int
    camera: str | None
    captured_at: datetime | None
    track: str | None
    description: str | None
    attributes: dict[str, Any]
    source_name: str | None
    near_duplicate_of: int | None
    created_at: datetime
    url: str
    thumbnail_url: str


class ScoredImage(ImageOut):
    """An image with its score."""

    score: float


class Candidate(Model):
    """A candidate, not an identification: an identity with its best images, best first, or with one (`group_by`)."""

    identity: IdentityOut
    score: float
    confidence: float | None
    images: list[ScoredImage]
    parts: list[PartScore] | None = None


class CollectionOut(Model):
    """A set of images that can be searched on its own."""

    id: int
    name: str
    images: int
    created_at: datetime


class CollectionList(Model):
    """Every collection, oldest first."""

    collections: list[CollectionOut]


class ComposedPart(Model):
    """One thing that is asked for or denied: exactly one of `text`, `picture`, `image_id`, `identity_id`."""

    text: str | None = None
    picture: str | None = None
    image_id: int | None = None
    identity_id: int | None = None
    weight: float = 1.0


class Span(Model):
    """A span of time: from <= instant < to, one of both or both. Instants name their zone."""

    from_: datetime | None = Field(default=None, alias="from")
    to: datetime | None = None


class TimeOfDay(Model):
    """A part of every day by the clocks of a zone: from <= time < to. It passes midnight where `from` is after `to`.

    Summer time counts as the clocks there did at the instant. Offsets are known for 1970 to 2099; before and
    after that the first and the last of them hold.
    """

    from_: str = Field(alias="from")
    to: str
    timezone: str


class Filters(Model):
    """What may be found; each filter that is given must hold. One that is left out, or null, accepts everything.

    Raises: FilterError: instead of pydantic's `ValidationError`, so that every fault of a filter has its own
    code.
    """

    cameras: list[str] | None = None
    track: str | None = None
    captured_at: Span | None = None
    time_of_day: TimeOfDay | None = None
    image_attributes: list[AttributeFilter] | None = None
    identity_attributes: list[AttributeFilter] | None = None
    provisional: bool | None = None
    identities: list[int] | None = None
    without_identities: list[int] | None = None


class ComposedQuery(Model):
    """Several things at once: what is asked for together, and what the person must not be like."""

    limit: int = 10
    images_per_identity: int = 4
    collection: str | None = None
    filters: Filters | None = None
    group_by: Literal["identity", "image"] = "identity"
    cursor: str | None = None
    purpose: str | None = None
    parts: list[ComposedPart]
    negatives: list[ComposedPart] = Field(default_factory=list)
    include_examples: bool = False


class Confirmation(Model):
    """A second person agrees."""

    note: str | None = None


class DatasetIn(Model):
    """A data set on the server: a folder of DESCRY_DATASETS_DIR, in a format that `descry datasets formats` lists."""

    format: str
    folder: str


class EventOut(Model):
    """Images that went from one identity to another; with `merge` and `association` all of them, and `from_id`
    ceased.

    `actor`: who asked; null, for there are no keys yet. `run_id`: the association run that did it, or whose
    undoing. Images and identities are named by number and may be deleted since.
    """

    id: int
    at: datetime
    actor: str | None
    event: Literal["merge", "association", "split", "restore"]
    from_id: int
    to_id: int
    image_ids: list[int]
    run_id: int | None
    undone_at: datetime | None


class ExplanationQuery(Model):
    """A description, or a phrase of one."""

    query: str


class Facets(Model):
    """What the gallery, or a collection, can be filtered by; the most frequent first.

    Cameras and times are those of all images. Attributes are proposals: those of the newest images and their
    people.
    """

    cameras: list[CameraFacet]
    first_at: datetime | None
    last_at: datetime | None
    image_attributes: list[AttributeFacet]
    identity_attributes: list[AttributeFacet]
    sampled: int


class FeedbackIn(Model):
    """A verdict on a candidate, or on one of its images. A later one on the same replaces it."""

    identity_id: int | None = None
    image_id: int | None = None
    verdict: Literal["confirm", "reject"]
    note: str | None = None


class FeedbackOut(Model):
    """A verdict. `identity_id` follows merges and splits; `image_id` is null where the person as a whole was judged.
    `counts` is false where a later verdict on the same candidate holds: people who were judged apart were merged
    since.
    """

    id: int
    identity_id: int
    image_id: int | None
    verdict: Literal["confirm", "reject"]
    note: str | None
    at: datetime
    counts: bool


class FeedbackList(Model):
    """What was said about the candidates of a query, oldest first."""

    feedback: list[FeedbackOut]


class FieldProblem(Model):
    """One field of a request that cannot be accepted."""

    location: str
    message: str
    type: str


class ModelRef(Model):
    """The model version that gave the answer."""

    id: int
    name: str


class GallerySummary(Model):
    """How much there is to search, and what searches it."""

    identities: int
    images: int
    model_version: ModelRef | None
    heads_blurred: bool


class Health(Model):
    """The process answers."""

    status: str = "ok"


class HistoryList(Model):
    """A page of events, oldest first; `next_after` asks for the one after it."""

    events: list[EventOut]
    next_after: int | None


class IdentifiedQuery(Model):
    """The search that looked for the person, as far as whoever decides needs to know it."""

    id: str
    words: str
    purpose: str | None
    created_at: datetime


class Said(Model):
    """Who said something, when, and in which words."""

    key_id: int
    name: str
    at: datetime
    note: str | None


class IdentificationOut(Model):
    """An identification. It follows its images: `identity` is who has them now, after merges and splits."""

    id: int
    state: Literal["proposed", "confirmed", "refused", "withdrawn", "lapsed"]
    notice: str
    query_id: str
    query: IdentifiedQuery | None
    identity_id: int
    identity: IdentityOut | None
    proposed_identity_id: int
    image_ids: list[int]
    images_of_identity: int
    purpose: str
    proposed: Said
    expires_at: datetime
    decided: Said | None
    withdrawn: Said | None
    lapsed_at: datetime | None
    lapsed_because: Literal["expired", "query_deleted", "key_revoked", "images_apart"] | None
    may: list[Literal["confirm", "refuse", "withdraw"]]


class IdentificationPage(Model):
    """Identifications, newest first; `next_before` asks for those before them."""

    identifications: list[IdentificationOut]
    next_before: int | None


class IdentityDetail(IdentityOut):
    """A person with every image, oldest first."""

    images: list[ImageOut]


class IdentityPatch(Model):
    """What may be changed of an identity; a field that is absent stays as it is."""

    external_id: str | None = None
    attributes: dict[str, Any] | None = None


class ImagePatch(Model):
    """What may be changed of an image. Fields that are left out stay; null takes the description away."""

    description: str | None


class JobCounts(Model):
    """Items of an ingest by outcome; `waiting` has none yet."""

    ingested: int = 0
    duplicate: int = 0
    rejected: int = 0
    waiting: int = 0


class JobError(Model):
    """Why a job failed, or was superseded."""

    code: str
    message: str


class JobOut(Model):
    """A job. `done` of `total` are what `unit` says; `total` is null until it is known.

    `state` `superseded`: the job was to let a model version answer, and encoded it; but another version was asked
    for since, which `error` names.

    `counts` is null for kinds without items. `result_url`: the file that a job left, until it is removed.
    `progress`: of a retraining, its `phase` with what is known of it (losses, speed, `seconds_left`), and
    `curve`: by name, lists of [step, value], `losses` and `quality` (percent, on the split that it is measured
    on); at the end `version`, `accepted` and `reasons` of the gate, and `overtaken` if it does not answer by
    itself because another `version` was asked for since. Of an encoding, speed and `shards`: who is at the images
    `after` an id `upto` another. Of a video, `share` (0..1 of its time), `frames`, `tracks`, `ingested`,
    `duplicate` and `rejected` crops, and the parts that are `lost`.
    """

    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled", "superseded"]
    done: int
    total: int | None
    unit: str
    counts: JobCounts | None
    result_url: str | None
    progress: dict[str, Any] | None
    cancel_requested: bool
    retryable: bool
    retry_of: str | None
    error: JobError | None
    worker: str | None
    heartbeat_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobLine(Model):
    """A line of a job's log."""

    id: int
    at: datetime
    level: str
    message: str


class JobDetail(JobOut):
    """A job with the newest lines of its log."""

    log: list[JobLine]


class JobItemOut(Model):
    """What became of one entry; `status` is null while it waits."""

    position: int
    name: str
    status: str | None
    image_id: int | None
    code: str | None
    message: str | None


class JobItemList(Model):
    """A page of items in the order of the source; `next_after` asks for the one after it."""

    items: list[JobItemOut]
    next_after: int | None


class JobList(Model):
    """A page of jobs, newest first; `next_before` asks for the one after it."""

    jobs: list[JobOut]
    next_before: str | None


class KeyOut(Model):
    """A key, without its secret."""

    id: int
    name: str
    prefix: str
    scopes: list[Literal["search", "ingest", "admin"]]
    collections: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class KeyList(Model):
    """Every key, oldest first; revoked ones too."""

    keys: list[KeyOut]


class KeyMade(KeyOut):
    """A new key. Nobody can show `key` again."""

    key: str


class MergeAnswer(Model):
    """The identity as it is now, and the event for each one that was merged into it; `undo` of a split takes those."""

    identity: IdentityDetail
    events: list[int]


class MergeRequest(Model):
    """Identities that are the same person as the one in the path, into which they are merged.

    The one in the path keeps its number, and its name and attributes win. If only one of all has a name, the
    result has it. Attributes that are lacking come from the others, in their order. The result is provisional
    only if all were. The numbers of the others answer 404 with `identity_merged` from then on, naming where they
    went.
    """

    identities: list[int]
    drop_names: bool = False


class ModelOut(Model):
    """A model version.

    `status`: `candidate` waits for its gate, which makes it `registered` or `refused`. A `registered` version may
    be activated: it is `encoding` while a job does that, `ready` when every image of the gallery has its vectors,
    `active` when it answers. Once its vectors were removed to save room it is `retired`, and can be activated
    like a registered one. `missing`: images of the gallery that lack a vector under it.

    `calibration`: what was learnt about its scores. Without the section `association`, images can only be grouped
    at a threshold that the request names; without `confidence`, answers have none. An activation that encodes
    learns that on the gallery; `uncalibrated` says why it could not.
    """

    id: int
    name: str
    status: Literal["registered", "candidate", "refused", "encoding", "ready", "active", "retired"]
    missing: int
    method: str
    backbone: str
    fingerprint: str
    metrics: dict[str, Any]
    calibration: dict[str, Any]
    recipe: dict[str, Any] | None
    data_fingerprint: str | None
    parent_id: int | None
    job_id: str | None
    gate: dict[str, Any] | None
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None


class ModelList(Model):
    """Every model version, oldest first; the one that answers, and the one that a rollback would return to."""

    models: list[ModelOut]
    active_id: int | None
    predecessor_id: int | None


class NewCollection(Model):
    """A collection to make."""

    name: str


class NewExport(Model):
    """What to export."""

    collection: str | None = None
    originals: bool = False


class NewIdentification(Model):
    """That a candidate is the person whom a query looked for. It counts for nothing until a second person confirms."""

    query_id: str
    identity_id: int
    image_ids: list[int] | None = None
    purpose: str
    note: str


class NewKey(Model):
    """A key to make."""

    name: str
    scopes: list[Literal["search", "ingest", "admin"]]
    collections: list[str] | None = None
    expires_at: datetime | None = None


class RetentionRuleIn(Model):
    """How long images of a collection are kept, or those of one of its cameras, which goes before."""

    collection: str
    camera: str | None = None
    days: int


class NewRetentionRules(Model):
    """Every rule: those that are not named are taken away."""

    rules: list[RetentionRuleIn]


class Policy(Model):
    """What a candidate must show to be promoted. Differences are candidate - active, in points of percent.

    The default: on the gallery's held-out people a gain that the interval does not doubt, and nowhere (no
    protected split, no subgroup, neither metric) a loss that it does not doubt.
    """

    metric: Literal["R@1", "mAP"] = "R@1"
    gain: float | None = 0.0
    tolerance: float = 0.0
    margin: float | None = None
    least_queries: int = 20
    least_identities: int = 5
    group_queries: int = 50
    group_identities: int = 10
    confidence: float = 0.95
    draws: int = 2000
    seed: int = 0


class NewRetraining(Model):
    """A retraining on the images of the gallery that have a description.

    Identities are for the held-out measurements; DGCMIA, the method unless another one is named, trains without
    them.
    """

    recipe: str | None = None
    method: str | None = None
    set: list[str] = Field(default_factory=list)
    base: int | None = None
    collections: list[str] | None = None
    datasets: list[DatasetIn] = Field(default_factory=list)
    feedback: bool = False
    benchmarks: list[BenchmarkIn] = Field(default_factory=list)
    policy: Policy = Field(default_factory=Policy)
    activate: Literal["auto", "manual"] = "manual"
    name: str | None = None
    device: str = "auto"
    processes: int = 1
    dry_run: bool = False


class PhraseSupport(Model):
    """A phrase of the description against the image."""

    text: str
    start: int
    end: int
    absent: bool
    score: float | None
    support: float | None


class Problem(Model):
    """An error, as RFC 9457 shapes it. Programs match on `code`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    request_id: str
    errors: list[FieldProblem] | None = None
    merged_into: int | None = None


class QueryVersion(Model):
    """The model version that answered first. `name` is null when it was deleted."""

    id: int
    name: str | None


class QueryOut(IdentifiedQuery):
    """A search that was answered.

    `definition` is the request's body; an uploaded picture is {"sha256"}, for pictures are not kept. `words`: the
    same for people. `outdated`: it has an uploaded picture whose vector belongs to a version that does not answer
    any more, or was erased, so that it cannot be asked again without the picture.
    """

    kind: Literal["text", "image", "composed"]
    definition: dict[str, Any]
    model_version: QueryVersion
    name: str | None
    saved_at: datetime | None
    feedback: int
    outdated: bool


class QueryPage(Model):
    """Queries, newest first; `next_cursor` asks for the page after it."""

    queries: list[QueryOut]
    next_cursor: str | None


class QueryPatch(Model):
    """What may be changed of a query; a field that is absent stays as it is.

    With a name it is a saved search and is kept until it is deleted; null takes the name away.
    """

    name: str | None = None
    purpose: str | None = None


class Reason(Model):
    """One thing that is missing. Programs match on `code`."""

    code: str
    message: str


class Readiness(Model):
    """Whether a search would be answered now; if not, what is missing."""

    ready: bool
    missing: list[str]
    reasons: list[Reason]
    behind: Behind


class Refusal(Model):
    """A second person does not agree, or one of the two no longer does."""

    reason: str


class RetentionRuleOut(Model):
    """A rule, and what it says today."""

    collection: str
    camera: str | None = None
    days: int
    due: int


class RetentionRules(Model):
    """Every rule."""

    rules: list[RetentionRuleOut]


class RetrainingPlan(Model):
    """What a retraining would be.

    `images`: images of the gallery by side: those that are described, and with `feedback` confirmed candidates of
    queries in words. `pairs`: image-text pairs that are trained on, those of further data sets too. `seconds`: of
    its steps, at the pace of the last retraining of its kind (`recorded`) or of a step that was tried now
    (`measured`); null if neither could be had. `disk_bytes`: about what its folder will take.
    """

    recipe: str
    method: str
    base: int
    images: dict[str, int]
    identities: int
    pairs: int
    batch: int
    epochs: int
    steps: int
    seconds: float | None
    seconds_from: Literal["recorded", "measured"] | None
    disk_bytes: int
    disk_free_bytes: int
    command: dict[str, Any]


class SearchAgain(Model):
    """A query once more, for the purpose that it has. What is absent is as it was asked first."""

    limit: int | None = None
    images_per_identity: int | None = None
    cursor: str | None = None
    use_feedback: bool = False


class Took(Model):
    """Where the time went, in milliseconds."""

    encode: float
    search: float
    fetch: float
    total: float


class Warned(Model):
    """Something about the query that the asker should know."""

    code: str
    message: str


class SearchAnswer(Model):
    """Candidates by score, best first; equal scores by image id."""

    query_id: str
    model_version: ModelRef
    group_by: Literal["identity", "image"]
    candidates: list[Candidate]
    calibrated: bool
    weak_below: float | None
    no_good_match: bool | None
    next_cursor: str | None
    warnings: list[Warned]
    took_ms: Took


class SessionOut(Model):
    """Who makes this request."""

    open: bool
    key_id: int | None
    name: str
    scopes: list[Literal["search", "ingest", "admin"]]
    collections: list[str] | None
    purpose_required: bool
    purpose_free_collections: list[str]


class Undated(Model):
    """Images of a person by one camera of which nobody knows when they were taken."""

    collection: str
    camera: str | None
    image_ids: list[int]
    best: ImageOut


class Sighting(Undated):
    """Images of a person by one camera, none of which is further than the gap from the next; in order of time."""

    first_at: datetime
    last_at: datetime


class SplitAnswer(Model):
    """What stayed (null if that was nothing any more) and what left. `left_alone`: images of the merge that were
    moved or deleted since.
    """

    identity: IdentityDetail | None
    separated: IdentityDetail
    left_alone: int
    name_taken: bool


class SplitRequest(Model):
    """What leaves the identity: images, which become a new provisional identity without name and attributes; or what
    a merge brought, by its event in the history, which becomes what it was, under its old number and with its
    name, unless somebody else has that now.
    """

    image_ids: list[int] | None = None
    undo: int | None = None


class SupportAnswer(Model):
    """Which parts of a description an image bears out."""

    image_id: int
    model_version: ModelRef
    score: float
    phrases: list[PhraseSupport]
    warnings: list[Warned]


class TextQuery(Model):
    """A description of a person, in words."""

    limit: int = 10
    images_per_identity: int = 4
    collection: str | None = None
    filters: Filters | None = None
    group_by: Literal["identity", "image"] = "identity"
    cursor: str | None = None
    purpose: str | None = None
    query: str


class Timeline(Model):
    """Where and when a person was seen: sightings by their first image, earliest first.

    Sightings by different cameras may overlap. Images without a time are told on the first page, by camera.
    """

    identity: IdentityOut
    gap_s: float
    images: int
    first_at: datetime | None
    last_at: datetime | None
    sightings: list[Sighting]
    undated: list[Undated]
    next_cursor: str | None
