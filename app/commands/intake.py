"""descry ingest; descry images sweep."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import AsJson, DataDir, errors, print_json, print_rejected, progress_bar, results, shown

if TYPE_CHECKING:
    from app.core import Core
    from app.gallery.ingest import Ingest
    from app.gallery.sources import Source
    from app.settings import Settings

images = typer.Typer(help="The stored pictures.", no_args_is_help=True)
REJECTED_EXIT = 3


def ingest(
    path: Annotated[
        Path, typer.Argument(help="A folder (its manifest.jsonl or .csv counts), a zip or tar, a manifest, a picture.")
    ],
    collection: Annotated[str, typer.Option(help="The collection they go into; made if it is new.")] = "default",
    root: Annotated[
        Path | None,
        typer.Option(help="Folder in which the paths of a manifest begin; its own if absent.", show_default=False),
    ] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to a worker, and return at once.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 3 when a file was rejected.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take pictures into the gallery. Bad files are named, the rest is taken (exit 0). Run it again to continue."""
    from app.batches.archives import is_archive
    from app.errors import SourceError
    from app.gallery.sources import open_source
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    packed = is_archive(path)
    if packed and root is not None:
        raise SourceError(f"{path} is an archive: a root goes with the path of a manifest")
    source = None if packed else open_source(path, root)  # says what is wrong before anything slow starts
    if queue:
        _queue(settings, path, root, collection, packed=packed, as_json=as_json)
        return
    from app.core import opened

    with opened(settings) as core:
        core.store.check()
        report = _ingest_archive(core, path, collection) if source is None else run_ingest(core, source, collection)
    if as_json:
        print_json(report)
    else:
        _print_report(report, path)
    if strict and report["rejected"]:
        raise typer.Exit(REJECTED_EXIT)


def _queue(
    settings: "Settings", path: Path, root: Path | None, collection: str, *, packed: bool, as_json: bool
) -> None:
    from app.commands.jobs import queue_archive, queue_ingest

    if packed:
        queue_archive(settings, path, collection, as_json=as_json)
    else:
        queue_ingest(settings, path, root, collection, as_json=as_json)


def _ingest_archive(core: "Core", archive: Path, collection: str) -> dict[str, Any]:
    """Unpack an archive under the limits of a batch, and ingest it.

    An ingest that was killed is not continued with what it unpacked: that goes first, and unpacking takes a small part
    of the time. What was taken in is told by its hash.
    """
    from app.batches.archives import unpack
    from app.batches.staging import passing_stage, sweep
    from app.gallery.sources import open_source

    job = core.ingest(collection)
    sweep(core.settings, core.database)
    with passing_stage(core.settings) as stage:
        unpack(archive, stage, core.settings)
        return _run(job, open_source(stage.pictures))


def run_ingest(core: "Core", source: "Source", collection: str = "default") -> dict[str, Any]:
    """Ingest a source under a progress bar; returns counts and what was rejected."""
    return _run(core.ingest(collection), source)


def _run(job: "Ingest", source: "Source") -> dict[str, Any]:
    counts = {"ingested": 0, "duplicate": 0, "rejected": 0}
    rejected: list[dict[str, Any]] = []
    near = 0
    started = time.perf_counter()
    with progress_bar() as bar:
        task = bar.add_task("Ingesting", total=len(source.entries), note="")
        for outcome in job.run(source):
            counts[outcome.status] += 1
            near += outcome.near_duplicate_of is not None
            if outcome.status == "rejected":
                rejected.append({"file": outcome.name, "code": outcome.code, "message": outcome.message})
            rate = counts["ingested"] / (time.perf_counter() - started)
            bar.update(task, advance=1, note=f"{rate:.0f} images/s")
    seconds = time.perf_counter() - started
    return {
        **counts,
        "near_duplicates": near,
        "ignored": source.ignored,
        "seconds": round(seconds, 3),
        "rejections": rejected,
    }


def _print_report(report: dict[str, Any], path: Path) -> None:
    if report["rejections"]:
        rows = [[item[key] for key in ("file", "code", "message")] for item in report["rejections"]]
        print_rejected(f"Rejected ({report['rejected']})", rows)
    near = f" ({report['near_duplicates']:,} look like an image that was there)" if report["near_duplicates"] else ""
    extra = f", {report['ignored']:,} other files ignored" if report["ignored"] else ""
    if not any(report[status] for status in ("ingested", "duplicate", "rejected")):
        told = "no picture was found there: JPEG, PNG and WebP are taken, by the end of their names"
        errors().print(f"[yellow]note[/]: {told}", highlight=False, soft_wrap=True)
    results().print(
        f"{shown(str(path))}: [bold]{report['ingested']:,} ingested[/]{near}, {report['duplicate']:,} duplicates, "
        f"{report['rejected']:,} rejected{extra} in {report['seconds']:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


@images.command("sweep")
def sweep_images(
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without it they are only counted.")] = False,
    older_than_hours: Annotated[
        float, typer.Option(min=1.0, help="Leave alone what was written since: an ingest may be about to need it.")
    ] = 24.0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find stored pictures that no image of the database refers to, as a lost or restored data folder leaves them."""
    from app.core import opened
    from app.errors import ConfigurationError
    from app.gallery.repository import ImageRepository
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        core.store.check()
        with core.database.read() as session:
            known = ImageRepository(session).count()
        if delete and not known:
            raise ConfigurationError(
                f"the database knows no image at all, so every picture in {core.store.place} would be deleted; is it "
                "the right database?"
            )
        found = core.store.sweep(older_than_s=older_than_hours * 3600, delete=delete)
        report = {"place": core.store.place, "without_rows": found, "deleted": found if delete else 0}
    if as_json:
        print_json(report)
        return
    done = "deleted" if delete else "nothing is deleted without --delete"
    results().print(
        f"{shown(core.store.place)}: {found:,} pictures without an image in the database; {done}",
        highlight=False,
        soft_wrap=True,
    )
