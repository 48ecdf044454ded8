"""descry ingest, search, index rebuild."""

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from app.commands.output import AsJson, DataDir, errors, print_json, progress_bar, results

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from app.core import Core
    from app.search.schemas import SearchAnswer

index = typer.Typer(help="The vector index: a view of the database.", no_args_is_help=True)


def ingest(
    path: Annotated[Path, typer.Argument(help="Folder of pictures, optionally with manifest.csv or manifest.jsonl.")],
    collection: Annotated[str, typer.Option(help="The collection they go into; made if it is new.")] = "default",
    queue: Annotated[bool, typer.Option("--queue", help="Leave it to a worker, and return at once.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take a folder of pictures into the gallery. Bad files are named, the rest is taken; run it again to continue."""
    from app.gallery.sources import open_source
    from app.settings import load_settings

    source = open_source(path)  # says what is wrong with the folder before anything slow starts
    if queue:
        from app.commands.jobs import queue_ingest

        queue_ingest(path, collection, data_dir, as_json=as_json)
        return
    from app.core import opened

    with opened(load_settings(data_dir=data_dir)) as core:
        report = run_ingest(core, source, collection)
    if as_json:
        print_json(report)
        return
    _print_report(report, path)


def run_ingest(core: "Core", source: Any, collection: str = "default") -> dict[str, Any]:  # noqa: ANN401  a Source, whose module is imported late
    """Ingest a source under a progress bar; returns counts and what was rejected."""
    job = core.ingest(collection)
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
        table = Table("File", "Code", "Why", title=f"Rejected ({report['rejected']})", title_justify="left")
        for item in report["rejections"]:
            table.add_row(*(_plain(item[key]) for key in ("file", "code", "message")))
        results().print(table)
    extra = f", {report['ignored']:,} other files ignored" if report["ignored"] else ""
    results().print(
        f"{path}: [bold]{report['ingested']:,} ingested[/], {report['duplicate']:,} duplicates, "
        f"{report['rejected']:,} rejected{extra} in {report['seconds']:.1f} s",
        highlight=False,
    )


def search(
    query: Annotated[str | None, typer.Argument(help="What the person looks like.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="Search with a picture instead.", exists=True, dir_okay=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most candidates.")] = 10,
    collection: Annotated[str | None, typer.Option(help="Search this collection only.", show_default=False)] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find people by a description, or by a picture. The answer is candidates, not identifications."""
    if (query is None) == (image is None):
        raise typer.BadParameter("give a description, or --image FILE, and not both")
    from app.core import opened
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        core.active.follow()
        answer = _answer(core, query, image, limit, collection)
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    for warning in answer.warnings:
        errors().print(f"[yellow]note[/]: {_plain(warning.message)}", highlight=False)
    table = Table("#", "Identity", "Score", "Camera", "Captured", "File")
    table.add_column("Description", no_wrap=True, overflow="ellipsis", ratio=1)
    for rank, candidate in enumerate(answer.candidates, start=1):
        best = candidate.images[0]
        table.add_row(
            str(rank),
            _plain(candidate.identity.external_id or f"unnamed {candidate.identity.id}"),
            f"{candidate.score:.3f}",
            _plain(best.camera or ""),
            best.captured_at.strftime("%Y-%m-%d %H:%M") if best.captured_at else "",
            _plain(best.source_name or ""),
            _plain(best.description or ""),
        )
    results().print(table)


def _answer(core: "Core", query: str | None, image: Path | None, limit: int, collection: str | None) -> "SearchAnswer":
    from app.gallery import pictures
    from app.search.service import SearchService, check_query, text_warnings

    model, limits, started = core.active.current(), core.settings, time.perf_counter()
    answer = partial(
        SearchService(core.database, model).answer,
        limit=limit,
        images_per_identity=4,
        collection=collection,
        started=started,
    )
    if image is not None:
        picture = pictures.decode(image.read_bytes(), max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
        vector = model.encoder.submit_picture(model.encoder.encoder.preprocess(picture.image)).result()
        return answer(vector, "image", warnings=[])
    embedding = model.encoder.submit_text(check_query(query or "", limits.max_query_chars)).result()
    return answer(embedding.vector, "text", warnings=text_warnings(embedding))


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
        core.active.follow()
        report = []
        for space, view in core.active.current().views.items():
            started = time.perf_counter()
            with progress_bar() as bar:
                task = bar.add_task(f"Rebuilding {space}", total=view.count, note="")
                view.rebuild(partial(_show, bar, task))
            seconds = round(time.perf_counter() - started, 3)
            report.append({"space": space, "vectors": view.count, "sequence": view.sequence, "seconds": seconds})
    if as_json:
        print_json(report)
        return
    for item in report:
        results().print(f"{item['space']}: {item['vectors']:,} vectors in {item['seconds']} s", highlight=False)


def _show(bar: "Progress", task: "TaskID", done: int) -> None:
    bar.update(task, completed=done)


def _plain(text: str) -> str:
    """Text from outside as text: no markup, no control characters that would drive the terminal."""
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text))
