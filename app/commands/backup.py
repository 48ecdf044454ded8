"""descry backup, restore."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from app.commands.output import AsJson, DataDir, errors, print_json, progress_bar, results


def backup(
    out: Annotated[Path, typer.Argument(help="Where it goes: a folder, or a file that ends in .zip.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy database, pictures and checkpoints while others go on. It is whole when it has its name."""
    from app.backup.service import Backup
    from app.core import looked_into
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with looked_into(settings) as (database, store), _progress() as progress:
        manifest = Backup(database, store, settings, out).run(progress)
    if as_json:
        print_json({"out": str(out), **manifest})
        return
    results().print(
        f"{manifest['images']:,} images of {manifest['identities']:,} people, {manifest['bytes'] / 2**20:,.1f} MiB",
        highlight=False,
        end=" in ",
    )
    results().print(str(out), markup=False, highlight=False, soft_wrap=True)


def restore(
    source: Annotated[Path, typer.Argument(help="The backup: a folder or a zip.")],
    data_dir: DataDir = None,
    erasures: Annotated[
        Path | None,
        typer.Option(help="What was erased since: `descry erase --list`, or a newer backup.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty data folder (and the empty database and bucket that the settings name)."""
    from app.backup.restoring import Restore, read_ledger
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    ledger = [] if erasures is None else read_ledger(erasures)
    with _progress() as progress:
        report = Restore(source, settings, ledger).run(progress)
    if erasures is None:
        told = f"no --erasures were given: who was erased after {report['taken_at']} is there again"
        errors().print(told, markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json(report)
        return
    results().print(f"{report['images']:,} images, {report['erasures']:,} erasures", highlight=False, end=" in ")
    results().print(report["data_dir"], markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    with progress_bar() as bar:
        task = bar.add_task("", total=None, note="")

        def told(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield told
