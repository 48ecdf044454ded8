"""The tables. Ids are never used twice, so that a view may remember them as deleted for ever."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

EXTERNAL_ID_CHARS = CAMERA_CHARS = TRACK_CHARS = NAME_CHARS = PURPOSE_CHARS = 200
NOTE_CHARS = 1000
DESCRIPTION_CHARS = 4000
HEAD_ID = 1
DEFAULT_COLLECTION = "default"
"""Where images go when nobody names a collection; it always exists."""

# SQLite only numbers rows by itself in a column of type INTEGER.
_Id = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. Aware datetimes in and out; kept in UTC, also where the database knows no time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes: they do not name an instant."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime does not name an instant")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Name the zone again where the database dropped it; UTC where it answers in the zone of the session."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def now() -> datetime:
    """The present instant, aware."""
    return datetime.now(UTC)


class Table(DeclarativeBase):
    """Base of all tables; constraint names are fixed so that migrations can refer to them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Identity(Table):
    """A person, possibly unnamed."""

    __tablename__ = "identities"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    external_id: Mapped[str | None] = mapped_column(String(EXTERNAL_ID_CHARS), unique=True)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    provisional: Mapped[bool] = mapped_column(Boolean)
    """Made for images whose person nobody has named; it goes with its last image."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Collection(Table):
    """A searchable set of images, by name."""

    __tablename__ = "collections"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_CHARS), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Image(Table):
    """One picture of one identity, in one collection."""

    __tablename__ = "images"
    # The constraint is also the index by which the images of a collection are found.
    __table_args__ = (
        UniqueConstraint("collection_id", "sha256"),
        Index(None, "collection_id", "track"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id"), index=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"))
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the bytes that were ingested (not of the stored file), in hex: a collection takes the same bytes once."""
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    """Pixels, upright."""
    camera: Mapped[str | None] = mapped_column(String(CAMERA_CHARS))
    captured_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    track: Mapped[str | None] = mapped_column(String(TRACK_CHARS))
    """Number that a tracker gave to the person, unique within one camera of a collection."""
    description: Mapped[str | None] = mapped_column(Text)
    attributes: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    split: Mapped[str | None] = mapped_column(String(8))
    """train, val or test: where it stood in the first retraining that took it; it never leaves train again."""
    look_0: Mapped[int | None] = mapped_column(Integer, index=True)
    look_1: Mapped[int | None] = mapped_column(Integer, index=True)
    look_2: Mapped[int | None] = mapped_column(Integer, index=True)
    look_3: Mapped[int | None] = mapped_column(Integer, index=True)
    """The perceptual hash (`app.gallery.likeness`) in four bands of 16 bits; null without contrast, and before 0004."""
    near_duplicate_of: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """An earlier image that looks the same; null when that one is deleted. (A foreign key would have made SQLite
    rebuild the table.)"""
    source_name: Mapped[str | None] = mapped_column(Text)
    """What its file was called where it came from, so that people find it there again."""
    store_name: Mapped[str] = mapped_column(String(80), unique=True)
    """Name in the image store, from which those of the picture and its thumbnail follow."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    collection: Mapped[Collection] = relationship(lazy="joined", innerjoin=True)


class ModelVersion(Table):
    """A checkpoint that was registered; its weights lie in the data folder."""

    __tablename__ = "model_versions"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_CHARS), unique=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    folder: Mapped[str] = mapped_column(String(80))
    """Name of the checkpoint folder under `models_dir`."""
    metrics: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    calibration: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What was learnt about the version's scores (`models.calibration`); null for those from before 0005."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    activated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it last became the active version."""
    standing: Mapped[str] = mapped_column(String(16), default="registered", server_default="registered")
    """registered (may be activated), candidate (waits for its gate) or refused (by it). Whether a version is encoded,
    ready or active follows from vectors, jobs and the head, so that no kill can leave it wrong."""
    recipe: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    data_fingerprint: Mapped[str | None] = mapped_column(String(64))
    """Of the data set that it was trained on, in hex."""
    parent_id: Mapped[int | None] = mapped_column(BigInteger)
    """The version that it was trained from. A number only, like `job_id`: what was made stays true."""
    job_id: Mapped[str | None] = mapped_column(String(36))
    """The retraining that made it."""
    gate: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the gate measured and decided."""
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its vectors were removed to save room; null again once the gallery is encoded for it anew."""

    @property
    def stored_spaces(self) -> tuple[str, ...]:
        """The spaces of which each image has a vector of its own (`EncoderSpec.stored_spaces`)."""
        return tuple(name for name, space in self.spec["spaces"].items() if space["stored_as"] == name)


class Embedding(Table):
    """The vector of one image in one stored space under one model version: an addition in the log."""

    __tablename__ = "embeddings"
    __table_args__ = (
        UniqueConstraint("image_id", "model_version_id", "space"),
        Index(None, "model_version_id", "space", "sequence"),
    )

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    space: Mapped[str] = mapped_column(String(16))
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    """Unit-norm, little-endian float16."""


class Deletion(Table):
    """An image that is gone: a removal in the log. Its rows and files exist no more, only its number."""

    __tablename__ = "deletions"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    image_id: Mapped[int] = mapped_column(BigInteger)


class Head(Table):
    """The one row that says how far the log goes and which model version answers."""

    __tablename__ = "head"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger)
    """Last sequence number given out; commit order is sequence order."""
    history: Mapped[str] = mapped_column(String(32))
    """Random name of this log: a snapshot taken from another database never fits by accident."""
    active_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))


class Job(Table):
    """Work that goes on behind the requests: what users see of it. How it is executed is the worker's affair."""

    __tablename__ = "jobs"
    __table_args__ = (
        # The database itself holds "one heavy job for each resource", whatever two workers do at once.
        Index(
            "uq_jobs_running_resource",
            "resource",
            unique=True,
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index(None, "state", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    resource: Mapped[str] = mapped_column(String(40))
    """What it needs for itself: jobs of one resource run one after the other."""
    state: Mapped[str] = mapped_column(String(16))
    """queued, running, succeeded, failed, cancelled, or superseded: done, but its version does not answer."""
    done: Mapped[int] = mapped_column(Integer, default=0)
    total: Mapped[int | None] = mapped_column(Integer)
    """Items altogether; null until they were listed."""
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What its kind tells beside the counts, as it is now."""
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    key_id: Mapped[int | None] = mapped_column(BigInteger)
    """The access key that asked for it; null where none was needed, and at the command line."""
    idempotency_key: Mapped[str | None] = mapped_column(String(300), unique=True)
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    """Of the request that brought the key: the same key with another request is a mistake."""
    worker: Mapped[str | None] = mapped_column(String(200))
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """Starts since the last progress; a job that kills its workers is given up."""
    heartbeat_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobItem(Table):
    """One thing that a job takes in, and what became of it."""

    __tablename__ = "job_items"
    __table_args__ = (Index(None, "job_id", "status"), Index(None, "image_id"))

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Place in the source; a job over a part of it keeps the numbers."""
    name: Mapped[str] = mapped_column(Text)
    status: Mapped[str | None] = mapped_column(String(16))
    """ingested, duplicate or rejected; null while it waits."""
    image_id: Mapped[int | None] = mapped_column(BigInteger)
    """No reference: the image may be deleted, and what the job did stays true."""
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)


class JobLog(Table):
    """What happened to a job, for people."""

    __tablename__ = "job_log"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    level: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(Text)


class AssociationRun(Table):
    """One grouping of the images that nobody has named. Versions and collections are numbers only: the record stays."""

    __tablename__ = "association_runs"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(BigInteger)
    model_version_id: Mapped[int] = mapped_column(BigInteger)
    linkage: Mapped[str] = mapped_column(String(16))
    threshold: Mapped[float] = mapped_column(Float)
    window_s: Mapped[float | None] = mapped_column(Float)
    instants_apart: Mapped[bool] = mapped_column(Boolean)
    dry_run: Mapped[bool] = mapped_column(Boolean)
    state: Mapped[str] = mapped_column(String(16))
    """waiting, grouped (its groups are listed; how far they are applied is the job's affair) or undone."""
    job_id: Mapped[str | None] = mapped_column(String(36))
    found: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """Counts of the grouping."""
    undo: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    """Counts of the undoing."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AssociationGroup(Table):
    """Identities that a run found to be one person; its place is that of the job's item."""

    __tablename__ = "association_groups"

    run_id: Mapped[int] = mapped_column(ForeignKey("association_runs.id"), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    identity_ids: Mapped[list[int]] = mapped_column(JSON)


class IdentityEvent(Table):
    """Images went from one identity to another. Numbers without references: the history outlives what it names."""

    __tablename__ = "identity_history"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    actor: Mapped[str | None] = mapped_column(String(NAME_CHARS))
    event: Mapped[str] = mapped_column(String(16))
    """merge, association (both: `from_id` is gone since), split (`to_id` is new) or restore (`to_id` is back)."""
    from_id: Mapped[int] = mapped_column(BigInteger, index=True)
    to_id: Mapped[int] = mapped_column(BigInteger, index=True)
    image_ids: Mapped[list[int]] = mapped_column(JSON)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """Of a merge: the row of `from_id` and what it gave to `to_id`, so that it can be undone; erased with them."""
    run_id: Mapped[int | None] = mapped_column(ForeignKey("association_runs.id"), index=True)
    undone_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Query(Table):
    """A search that was answered: what was asked, so that it can be asked again, judged, kept by name and printed."""

    __tablename__ = "queries"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """The answer's `query_id`."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """text, image or composed."""
    definition: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The request's body without `cursor` and `purpose`; an uploaded picture is {"sha256": ...}. Images and identities
    are numbers only: what was asked stays true when they are deleted."""
    purpose: Mapped[str | None] = mapped_column(String(PURPOSE_CHARS))
    key_id: Mapped[int | None] = mapped_column(BigInteger)
    """The access key that asked; null where none was needed, and at the command line."""
    model_version_id: Mapped[int] = mapped_column(BigInteger)
    """The version that answered. A number only: it may be deleted."""
    vectors: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Of uploaded pictures under that version: float32, little-endian, in the order of `definition`, each SHA-256 once.
    The pictures themselves are not kept."""
    name: Mapped[str | None] = mapped_column(String(NAME_CHARS))
    """Of a saved search; one without a name goes after a while, unless it has feedback."""
    saved_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class Feedback(Table):
    """What somebody said about a candidate of a query. It goes with the query, the identity or the image."""

    __tablename__ = "feedback"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    query_id: Mapped[str] = mapped_column(ForeignKey("queries.id"), index=True)
    identity_id: Mapped[int] = mapped_column(BigInteger, index=True)
    """The person now: merges and splits carry it along."""
    judged_id: Mapped[int] = mapped_column(BigInteger)
    """The person as it was when judged, so that the undoing of a merge gives the verdict back."""
    image_id: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """The one image that was judged; null for the person as a whole."""
    verdict: Mapped[str] = mapped_column(String(8))
    """confirm or reject."""
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class AccessKey(Table):
    """What lets somebody in. The secret itself is nowhere: its hash is."""

    __tablename__ = "access_keys"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_CHARS))
    prefix: Mapped[str] = mapped_column(String(8), unique=True)
    """The part that may be shown."""
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the whole key, hex."""
    scopes: Mapped[list[str]] = mapped_column(JSON)
    limited: Mapped[bool] = mapped_column(Boolean)
    """Whether it is for some collections only; without any left it is for none."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Within a minute."""


class AccessKeyCollection(Table):
    """A collection that a limited key is for."""

    __tablename__ = "access_key_collections"

    key_id: Mapped[int] = mapped_column(ForeignKey("access_keys.id"), primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"), primary_key=True, index=True)
