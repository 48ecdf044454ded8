"""descry index rebuild."""

import time
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.output import AsJson, DataDir, print_json, progress_bar, results

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

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
