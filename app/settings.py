"""Every setting of the service, typed. Each one is a `DESCRY_*` environment variable."""

from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.embedding.runtimes.known import RuntimeName
from app.errors import ConfigurationError

LEAST_AUDIT_DAYS = 90
"""No entry of the audit is removed that is younger."""
PROTECTED_ATTRIBUTES = (
    *("skin", "complexion", "race", "racial", "ethnicity", "ethnic", "caste", "ancestry", "national origin"),
    *("nationality", "citizenship", "immigration", "religion", "religious", "faith", "belief", "political", "politics"),
    *("union membership", "trade union", "sexual orientation", "sexuality", "sexual", "gender identity", "transgender"),
    *("disability", "disabled", "health", "medical", "diagnosis", "disease", "pregnancy", "pregnant", "genetic"),
)
"""The special categories of the GDPR (article 9) and the grounds of discrimination of the EU charter (article 21), as
far as pictures of people tempt to them. Sex and age are not among them: descriptions of people name both."""


class Settings(BaseSettings):
    """Settings of one process; `Settings()` reads the environment, keyword arguments override it."""

    model_config = SettingsConfigDict(env_prefix="DESCRY_", frozen=True, extra="forbid")

    data_dir: Path = Path("descry-data")
    """Folder of everything that Descry keeps: database, images, index snapshots, model versions."""
    host: str = "127.0.0.1"
    """Address on which `descry serve` listens. Beyond this machine every request needs a key."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port on which it listens; 0 takes one that is free."""
    allow_open: bool = False
    """Let everyone in until the first key is made, beyond this machine too."""
    key_rate_per_minute: float = Field(default=6000, ge=0)
    """Requests that one key may make in a minute, on each server; 0: no limit."""
    key_rate_burst: int = Field(default=1000, ge=1)
    """Requests that a key may make at once, after a pause. A page of results is about a hundred."""
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    """Further names (comma-separated) under which browsers may reach a server on loopback."""
    log_format: Literal["text", "json"] = "text"
    """Lines of the log: key=value text, or one JSON object each."""
    traces: bool | None = None
    """Send OpenTelemetry traces (extra `otel`). Unless it is set: if OTEL_EXPORTER_OTLP_ENDPOINT is."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated addresses or networks of reverse proxies. Only what comes from them may say, in X-Forwarded-For
    and X-Forwarded-Proto, who asks and whether by TLS. It decides who waits after wrong keys, and marks the cookie."""
    supervise: bool = True
    """`serve` and `demo` run the server as a child process, which is started again when it dies (decision 0025)."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes of `serve`, which share the port: one answers 100 to 200 searches a second, whatever its encoder can
    do (decision 0040). Each has its own copy of model and index, its own limits and its own metrics."""
    database_url: str = ""
    """`postgresql://user:password@host/name`; empty means SQLite in `data_dir`."""
    image_store: str = Field(default="", pattern=r"^(s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[A-Za-z0-9._/-]*)?)?$")
    """Where pictures are kept: empty means `data_dir`, else s3://bucket/prefix (credentials: AWS_* variables)."""
    s3_endpoint: str = Field(default="", pattern=r"^(https?://[^/@?#]+/?)?$")
    """Address of an S3-compatible server, such as https://minio.example:9000; empty means Amazon's."""
    blur_faces: bool = False
    """Blur heads in everything that people see of the pictures. All processes of a gallery need the same value;
    `descry images thumbnails` makes thumbnails anew that were stored before."""
    vector_engine: Literal["faiss", "milvus"] = "faiss"
    """What holds the vectors that are searched: FAISS in each process, or a Milvus that all processes share."""
    exact_up_to: int = Field(default=200_000, ge=0)
    """Vectors up to which FAISS searches all of them; larger ones make a shortlist first (decision 0022).
    0: all searches are exact."""
    gpu_index: Literal["flat", "ivf", "cagra"] = "flat"
    """What FAISS makes on a GPU where it has one; cagra only with builds that have cuVS."""
    memory_check: bool = True
    """Refuse to build an index, or to encode for one, that would not fit into the memory that is available."""
    search_threads: int = Field(default=4, ge=1)
    """Threads of one exact search in more than 65,536 vectors, and of the making of shortlists."""
    milvus_uri: str = Field(default="", pattern=r"^(https?://[^/@?#\s]+/?|[^:@?#]+)?$")
    """Address of a Milvus cluster, such as http://milvus.example:19530. A path means Milvus Lite, for one process;
    empty means `milvus.db` in `data_dir`."""
    milvus_token: SecretStr = SecretStr("")
    """user:password, or a key of Milvus."""
    device: str = "auto"
    """Where the encoder runs: auto, cpu, cuda, cuda:1, ...; auto takes a GPU where there is one."""
    runtime: Literal["auto", RuntimeName] = "auto"
    """What runs the encoder. auto: what `descry tune` chose on this machine, else PyTorch, in bf16 where the processor
    has it and the encoder is large. torch-compile-...: each start compiles, which takes minutes for a large encoder."""
    max_upload_bytes: int = Field(default=20 * 2**20, ge=1)
    """Largest picture file, uploaded or ingested, in bytes."""
    max_pixels: int = Field(default=50_000_000, ge=1)
    """Largest picture, in pixels; checked from the header, before anything is decoded."""
    max_query_chars: int = Field(default=2000, ge=1)
    """Longest description, in characters."""
    max_body_bytes: int = Field(default=2**20, ge=1)
    """Largest request body that is no upload, in bytes."""
    protected_attributes: Annotated[tuple[str, ...], NoDecode] = PROTECTED_ATTRIBUTES
    """Comma-separated names of attributes by which nobody may search; empty for none."""
    purpose_required: Literal["auto", "true", "false"] = "auto"
    """Refuse searches that do not say what they are for. auto: as soon as the gallery has a key."""
    purpose_free_collections: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated names of collections; who searches within one of them need not say what for."""
    audit_keep_days: int | None = Field(default=None, ge=LEAST_AUDIT_DAYS, le=36_500)
    """Days after which entries of the audit are removed by the housekeeping. Not set: they are kept for ever."""
    max_searches: int = Field(default=128, ge=1)
    """Searches that are answered at the same time, over HTTP; one more is answered 429."""
    query_queue: int = Field(default=256, ge=1)
    """Queries that may wait for the encoder; one more is answered 429."""
    query_batch: int = Field(default=32, ge=1)
    """Most queries per pass of the encoder."""
    query_timeout_s: float = Field(default=20.0, gt=0)
    """Longest wait of one query for its embedding, in seconds; then 503."""
    query_cache_bytes: int = Field(default=16 * 2**20, ge=0)
    """Memory for the vectors of texts that were encoded within the last hour, for each model version; 0 keeps none."""
    encoder_stall_s: float = Field(default=20.0, gt=0)
    """Seconds after which a pass of the encoder over queries counts as hung, if it was not expected to take longer."""
    identification_open_s: float = Field(default=7 * 24 * 3600.0, gt=0)
    """Seconds within which a second person can confirm a proposed identification; then it lapses."""
    query_keep_s: float = Field(default=7 * 24 * 3600.0, ge=0)
    """Seconds after which a query is forgotten that has neither a name nor feedback, and identified nobody."""
    ingest_chunk: int = Field(default=128, ge=1)
    """Images per transaction of an ingest."""
    encode_batch: int = Field(default=64, ge=1)
    """Most images per forward pass when the gallery is encoded; on a CPU one pass runs on each core."""
    encode_share: float = Field(default=1.0, ge=0.05, le=1)
    """Part of the time that a job may encode the gallery for another model version; the rest it waits."""
    help_encoding: Literal["auto", "always", "never"] = "auto"
    """Whether a worker without a job takes shards of an encoding that another one has: auto unless somebody does on the
    same machine with the same `device`, which would be no faster."""
    keep_versions: int = Field(default=2, ge=1)
    """Model versions whose vectors are kept after they have answered; a rollback to them is immediate."""
    standby: bool = True
    """Keep the version before ready: its weights and index in memory, and images that came since encoded for it."""
    max_checkpoint_bytes: int = Field(default=4 * 2**30, ge=1)
    """Largest checkpoint that is uploaded, in bytes."""
    ready_within_s: float = Field(default=5.0, gt=0)
    """Seconds within which /readyz must have read the head of the log, caught up with it, and searched; else the
    process is not ready. So it is the bound on how far behind a replica may be: what it cannot catch up with in that
    time."""
    maintenance_s: float = Field(default=10.0, gt=0)
    """Seconds between two looks at whether an index wants compaction or a new snapshot."""

    max_batch_bytes: int = Field(default=4 * 2**30, ge=1)
    """Most bytes of one batch, as sent and unpacked."""
    max_batch_files: int = Field(default=20_000, ge=1)
    """Most files of one batch."""
    max_batch_ratio: int = Field(default=20, ge=1)
    """How many times its own size an archive may unpack to (beyond 16 MiB); pictures hardly pack at all."""
    max_uploads: int = Field(default=8, ge=1)
    """Batches that may be uploaded at the same time; one more is answered 429."""
    max_staging_bytes: int = Field(default=64 * 2**30, ge=1)
    """Most bytes of all batches together that are uploaded, wait for a worker, or are kept for a retry; beyond: 507."""
    staging_keep_s: float = Field(default=24 * 3600.0, gt=0)
    """Seconds for which the files of a batch that a retry may still need are kept after its job has ended."""
    min_free_bytes: int | None = Field(default=None, ge=0)
    """Bytes that must stay free on the disk of `data_dir`, or nothing more is taken in: 507. Unless it is set: 256 MiB,
    or 1 % of a small disk."""
    body_idle_s: float = Field(default=30.0, gt=0)
    """Seconds within which a request body must get on; else 408."""
    body_min_rate: int = Field(default=1024, ge=0)
    """Least bytes a second of a request body, on average over `body_idle_s`."""
    max_export_bytes: int = Field(default=64 * 2**30, ge=1)
    """Most bytes of pictures in one export."""
    export_keep_s: float = Field(default=24 * 3600.0, ge=0)
    """Seconds after which the file of an export job is removed."""
    datasets_dir: Path | None = None
    """Folder whose folders may be named as data sets of a retraining over HTTP; without it none may."""
    protected_splits: Annotated[tuple[str, ...], NoDecode] = ()
    """Comma-separated FORMAT:SPLIT:FOLDER: benchmarks on which no retrained model may lose."""
    training_threads: int | None = Field(default=None, ge=1)
    """Threads of a training process; half of the cores unless it is set."""
    training_memory_bytes: int = Field(default=0, ge=0)
    """Most bytes of data that a training process may take in memory; 0 for no limit but the machine's."""
    training_niceness: int = Field(default=5, ge=0, le=19)
    """How far a training process steps back behind its worker. More than 19 together is 19, which gets next to nothing
    of a machine that has other work all the time."""
    max_video_bytes: int = Field(default=16 * 2**30, ge=1)
    """Largest video that is uploaded, in bytes."""
    video_fps: float = Field(default=5.0, gt=0, le=60)
    """Frames per second of video in which people are looked for."""
    video_crops: int = Field(default=4, ge=1, le=20)
    """Most images of one track (of one who stays: of each five minutes)."""
    video_piece_s: float = Field(default=10.0, gt=0, le=600)
    """Seconds of video after which a job that is killed need not look again."""
    video_detector: str = "motion+hog"
    """motion+hog, motion, or the path of an .onnx file with its .json beside it."""
    video_appearance: Literal["colours", "encoder", "none"] = "colours"
    """What tells people apart who cross: the colours of their clothes, the active encoder (slower), or nothing."""
    video_timezone: str = "UTC"
    """IANA name of the zone of times in file names of videos, such as Europe/Paris."""
    worker_poll_s: float = Field(default=0.5, gt=0)
    """Seconds between two looks of an idle worker for a job."""
    heartbeat_s: float = Field(default=2.0, gt=0)
    """Seconds between two signs of life of a worker."""
    worker_niceness: int = Field(default=10, ge=0, le=19)
    """How far a worker steps back behind the server and all else on its machine: 0 not at all, 19 as far as can be."""
    worker_lost_s: float = Field(default=30.0, gt=0)
    """Seconds without a sign of life after which another worker takes a job over; well above `heartbeat_s`."""

    @field_validator("purpose_required", mode="before")
    @classmethod
    def _told(cls, value: object) -> object:
        word = str(value).strip().lower()
        return {"1": "true", "yes": "true", "on": "true", "0": "false", "no": "false", "off": "false"}.get(word, word)

    @field_validator(
        *("allowed_hosts", "protected_attributes", "protected_splits", "trusted_proxies", "purpose_free_collections"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            ip_network(one)  # a ValueError names what is wrong
        return value

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'descry.sqlite3').resolve()}"

    @property
    def images_dir(self) -> Path:
        return self.data_dir / "images"

    @property
    def index_dir(self) -> Path:
        return self.data_dir / "index"

    @property
    def milvus(self) -> str:
        """The address or path of Milvus in force."""
        return self.milvus_uri or str(self.data_dir / "milvus.db")

    @property
    def models_dir(self) -> Path:
        return self.data_dir / "models"

    @property
    def runtimes_dir(self) -> Path:
        return self.data_dir / "runtimes"

    @property
    def staging_dir(self) -> Path:
        return self.data_dir / "staging"

    @property
    def exports_dir(self) -> Path:
        return self.data_dir / "exports"

    @property
    def retraining_dir(self) -> Path:
        return self.data_dir / "retraining"

    @property
    def video_dir(self) -> Path:
        return self.data_dir / "video"

    @property
    def workers_dir(self) -> Path:
        return self.data_dir / "workers"

    @property
    def on_loopback(self) -> bool:
        """Whether `host` can be reached from this machine alone."""
        return is_loopback(self.host)

    @property
    def may_be_open(self) -> bool:
        """Whether everyone may do everything until the first key is made."""
        return self.on_loopback or self.allow_open


def load_settings(**overrides: Any) -> Settings:  # noqa: ANN401  fields of `Settings`
    """The settings of this process; an override that is None leaves the environment's value.

    Raises:
        ConfigurationError: a variable has a value that cannot be.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        wrong = "; ".join(f"DESCRY_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"settings cannot be used: {wrong}") from None


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
