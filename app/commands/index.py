"""descry index rebuild; encode for a model version; what an index will need; migrate to another engine."""

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.output import AsJson, DataDir, print_json, progress_bar, results

EngineName = Literal["faiss", "milvus"]

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from app.core import Core

index = typer.Typer(help="The vector index: a view of the database.", no_args_is_help=True)


@index.command("rebuild")
def rebuild(
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to a worker, and return at once.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Build the index of the active model version anew from the database."""
    if queue:
        from app.commands.jobs import queue_rebuild

        queue_rebuild(data_dir, as_json=as_json)
        return
    from app.core import opened
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        version = active_version(core)
        core.active.admit(version)
        report = []
        for space, view in core.active.views(version).items():  # without the index as it is: it would be there twice
            started = time.perf_counter()
            with progress_bar() as bar:
                task = bar.add_task(f"Rebuilding {space}", total=view.stored(), note="")
                view.rebuild(partial(_show, bar, task))
            seconds = round(time.perf_counter() - started, 3)
            report.append({"space": space, "vectors": view.count, "sequence": view.sequence, "seconds": seconds})
    if as_json:
        print_json(report)
        return
    for item in report:
        results().print(f"{item['space']}: {item['vectors']:,} vectors in {item['seconds']} s", highlight=False)


@index.command("encode")
def encode(
    model: Annotated[str, typer.Argument(help="Id or name of a model version.")],
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to the workers, and return at once.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Encode what the gallery lacks for a model version, without letting it answer.

    With --queue all idle workers take shards of it, each on its device (DESCRY_DEVICE=cuda:1 descry worker).
    """
    from app.commands.models import encode_version
    from app.core import opened
    from app.registry.changes import encode_later
    from app.registry.service import ModelService
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core:
        with core.database.read() as session:
            version = ModelService(session).find(model)
        missing, job = core.activation.missing(version.id), None
        if queue and missing:
            job = encode_later(core.database, version.id)
        else:
            _, _, encoder = core.active.load_encoder(version.id)
            encode_version(core, version.id, encoder, missing)
            core.activation.complete(version.id, activate=False, encoder=encoder)
    if as_json:
        words = {"version": version.id, "missing": missing}
        print_json(words | ({"encoded": missing} if job is None else {"job_id": job.id}))
    elif job is not None:
        results().print(f"job {job.id} encodes {missing:,} images; `descry jobs show {job.id}`", highlight=False)
    else:
        results().print(f"version {version.id}: {missing:,} images encoded, none lacks", highlight=False)


@index.command("estimate")
def estimate(
    images: Annotated[int | None, typer.Option(min=0, help="Images; those of the gallery unless given.")] = None,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimensions of a vector; of the active version unless given.")
    ] = None,
    spaces: Annotated[int, typer.Option(min=1, help="With --dim: spaces that have a vector of their own.")] = 1,
    versions: Annotated[
        int | None, typer.Option(min=1, help="Model versions in memory; 2 with a standby unless given.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what an index needs in memory and on disk, and what this machine has. For FAISS; nothing is built."""
    from app.core import opened
    from app.settings import load_settings
    from app.vectors.engines import tier_of
    from app.vectors.memory import MARGIN, available
    from app.vectors.memory import estimate as estimated

    settings = load_settings(data_dir=data_dir)
    dims = [dim] * spaces if dim is not None else []
    if images is None or not dims:
        with opened(settings) as core:
            found = core.active.size(active_version(core))
        images, dims = found[0] if images is None else images, dims or found[1]
    versions = versions or (2 if settings.standby else 1)
    need, left = estimated(images, dims, tier_of(settings), versions=versions), available()
    fits = None if left is None else need.peak + MARGIN <= left
    report = {"images": images, "dims": dims, "versions": versions, "at_rest_bytes": need.at_rest}
    report |= {"peak_bytes": need.peak, "disk_bytes": need.disk, "available_bytes": left, "fits": fits}
    if as_json:
        print_json(report)
        return
    sizes = {"at rest": need.at_rest, "while the last is built": need.peak, "snapshots on disk": need.disk}
    lines = [f"{images:,} images x {'+'.join(map(str, dims))} dimensions, {versions} model version(s) in memory"]
    lines += [f"{name}: {size / 2**30:.2f} GiB" for name, size in sizes.items()]
    lines.append("available: not known here" if left is None else f"available: {left / 2**30:.2f} GiB")
    if fits is not None:
        lines.append(f"it {'fits' if fits else 'does not fit'}, with a margin of {MARGIN / 2**30:.2f} GiB")
    results().print("\n".join(lines), highlight=False)


@index.command("migrate")
def migrate(
    to: Annotated[EngineName, typer.Option("--to", help="The engine that is to hold the vectors.")],
    remove_old: Annotated[
        bool, typer.Option("--remove-old", help="Then remove what the other engine keeps: no process may use it.")
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Load the vectors into another engine, and compare the answers of both.

    What was loaded stays when it is stopped. Set DESCRY_VECTOR_ENGINE when it is done.
    """
    from app.core import opened
    from app.registry.moving import migrate as move
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core, progress_bar() as bar:

        def begin(name: str, total: int) -> Callable[[int], None]:
            return partial(_show, bar, bar.add_task(f"Loading {name}", total=total, note=""))

        moved = list(move(core, to, remove_old=remove_old, progress=begin))
    if as_json:
        print_json([asdict(item) for item in moved])
        return
    for item in moved:
        results().print(
            f"version {item.version_id}, {item.space}: {item.vectors:,} vectors; {item.compared} queries compared",
            highlight=False,
        )
    results().print(f"Set DESCRY_VECTOR_ENGINE={to} and start the processes again.", highlight=False)


def active_version(core: "Core") -> int:
    """The version that answers.

    Raises:
        NoActiveModelError: none does.
    """
    from app.errors import NoActiveModelError
    from app.vectors.repository import LogRepository

    with core.database.read() as session:
        found = LogRepository(session).head().active_version_id
    if found is None:
        raise NoActiveModelError
    return found


def _show(bar: "Progress", task: "TaskID", done: int) -> None:
    bar.update(task, completed=done)
