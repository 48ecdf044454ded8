"""descry export."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.output import AsJson, DataDir, Originals, errors, print_json, progress_bar, results


def export(
    out: Annotated[
        Path | None, typer.Option(help="Where it goes: a folder, or a file that ends in .zip.", show_default=False)
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="One collection; everything if absent.", show_default=False)
    ] = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Leave it to a worker; the zip is then at /v1/jobs/ID/result.")
    ] = False,
    originals: Originals = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write pictures and a manifest that `descry ingest` reads. An interrupted export goes on when repeated."""
    if (out is None) != queue:
        raise typer.BadParameter("give --out PATH, or --queue, and not both")
    if out is None:
        from app.commands.jobs import queue_export

        queue_export(collection, data_dir, originals=originals, as_json=as_json)
        return
    count, lost, blurred = _run(out, collection, originals, data_dir)
    if as_json:
        told = {"out": str(out), "collection": collection, "images": count, "blurred": blurred, "lost": lost}
        print_json(told)
        return
    if blurred:
        errors().print("[yellow]note[/]: heads are blurred; --originals leaves them as they are")
    for image_id in lost:
        errors().print(f"[yellow]note[/]: the picture of image {image_id} is not in the store; it was left out")
    results().print(f"{count:,} images", highlight=False, end=" in ")
    results().print(str(out), markup=False, highlight=False, soft_wrap=True)


def _run(out: Path, collection: str | None, originals: bool, data_dir: Path | None) -> tuple[int, list[int], bool]:
    from app.core import opened
    from app.errors import ExportTargetError
    from app.exports.package import Export
    from app.settings import load_settings

    if out.exists():
        raise ExportTargetError(f"{out} exists already; choose another name, or remove it")
    counted: list[int] = []
    with opened(load_settings(data_dir=data_dir)) as core, progress_bar() as bar:
        made = Export(core.database, core.store, core.settings, out.absolute(), collection, originals=originals)
        task = bar.add_task("Exporting", total=made.begin(), note="")
        bar.update(task, completed=made.done)
        while True:
            while made.copy():
                bar.update(task, completed=made.done)
            if made.publish(lambda _, count: counted.append(count)):
                return counted[-1], made.lost, made.blurred
