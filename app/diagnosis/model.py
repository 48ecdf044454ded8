"""The active model version on this machine: weights, runtime, index, memory."""

from collections.abc import Iterator

from app.database.tables import ModelVersion
from app.diagnosis.schemas import Finding, fail, ok, warn
from app.embedding.device import resolve_device
from app.embedding.runtimes.names import obstacle
from app.embedding.runtimes.opening import automatic
from app.errors import ConfigurationError, MemoryShortError, SnapshotError
from app.settings import Settings
from app.vectors.engines import SnapshotFile, open_engine, tier_of
from app.vectors.memory import admit, available, estimate
from app.vectors.repository import HeadRow
from app.vectors.snapshot import SnapshotKey, SnapshotReader
from models.checkpoint import load_checkpoint
from models.encoder import EncoderSpec, PersonEncoder
from models.errors import DescryError


def checkpoint(settings: Settings, version: ModelVersion) -> Iterator[Finding]:
    """Whether the weights are there and are those that were registered; and what would run them."""
    folder = settings.models_dir / version.folder
    advice = "register the checkpoint again from where it came, or restore a backup of the models folder"
    try:
        encoder = load_checkpoint(folder)
    except DescryError as error:
        yield fail("model", error.message, advice)
        return
    if encoder.fingerprint != version.fingerprint:
        yield fail("model", f"{folder} is not what was registered as {version.name}: its fingerprint differs", advice)
        return
    told = f"model version {version.id} ({version.name}): {encoder.spec.method}, fingerprint {encoder.fingerprint[:12]}"
    yield ok("model", told)
    yield _runtime(settings, encoder)


def _runtime(settings: Settings, encoder: PersonEncoder) -> Finding:
    try:
        device = resolve_device(settings.device)
    except ConfigurationError as error:
        return fail("runtime", error.message, "set DESCRY_DEVICE=auto")
    if settings.runtime == "auto":
        name, why = automatic(encoder.to(device), settings)
        return ok("runtime", f"{name}: {why}")
    if (reason := obstacle(settings.runtime, device)) is not None:
        return fail("runtime", f"DESCRY_RUNTIME={settings.runtime}: {reason}", "set DESCRY_RUNTIME=auto")
    return ok("runtime", f"{settings.runtime}, as DESCRY_RUNTIME says")


def index(settings: Settings, version: ModelVersion, head: HeadRow) -> Iterator[Finding]:
    """Whether the snapshot of each space can be read to its end, with the checksum that it has."""
    spec, engine = EncoderSpec.from_dict(version.spec), open_engine(settings)
    for space in spec.stored_spaces:
        key = SnapshotKey(head.history, version.fingerprint, space, spec.spaces[space].dim)
        storage = engine.storage(version.id, key)
        assert isinstance(storage, SnapshotFile)
        if not storage.path.exists():
            yield warn("index", f"there is no snapshot of the space {space}", "nothing: the next start builds it")
            continue
        try:
            with SnapshotReader(storage.path, key, at_most=lambda: head.sequence).open() as found:
                vectors = sum(len(piece.ids) for piece in found.pieces)
                behind = head.sequence - found.sequence
        except SnapshotError as error:
            yield fail("index", error.message, "descry index rebuild; if it happens again, check the disk")
        else:
            yield ok("index", f"snapshot of the space {space}: {vectors:,} vectors, {behind:,} entries behind the log")


def memory(settings: Settings, version: ModelVersion, images: int, *, serving: bool) -> Finding:
    """Whether the index of the active version fits into memory.

    Args:
        serving: a server runs here, whose index is part of what is taken.
    """
    spec = EncoderSpec.from_dict(version.spec)
    need = estimate(images, [spec.spaces[space].dim for space in spec.stored_spaces], tier_of(settings))
    left = available()
    told = f"the index needs {need.at_rest / 2**20:,.0f} MiB, {need.peak / 2**20:,.0f} MiB while it is built"
    try:
        admit(need, left)
    except MemoryShortError as error:
        return (warn if serving else fail)("memory", error.message, "descry index estimate says more")
    return ok("memory", told if left is None else f"{told}; {left / 2**20:,.0f} MiB are available")
