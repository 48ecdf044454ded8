"""descry retention set, list, apply."""

from typing import Annotated

import typer

from app.commands.jobs import database_of
from app.commands.output import AsJson, Column, DataDir, errors, print_json, print_table, results

app = typer.Typer(help="Retention: how long images are kept.", no_args_is_help=True)


@app.command("set")
def set_rule(
    collection: Annotated[str, typer.Option(help="The collection.")],
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days that images are kept.")] = None,
    camera: Annotated[str | None, typer.Option(help="One camera of it; goes before the collection's rule.")] = None,
    never: Annotated[bool, typer.Option("--never", help="Take the rule away.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Set a rule. Server and workers erase by it within a minute."""
    if (days is None) != never:
        raise typer.BadParameter("give --days N or --never, and not both")
    from app.retention.service import RetentionService

    with database_of(data_dir) as database, database.write() as session:
        service = RetentionService(session)
        service.put(collection, camera, days)
        unseen = camera is not None and not never and not service.has_images(collection, camera)
    if unseen:
        told = f"note: no image in {collection} is from the camera {camera}; the rule is kept for those that come"
        errors().print(told, markup=False, highlight=False, soft_wrap=True)
    list_rules(data_dir, as_json)


@app.command("list")
def list_rules(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the rules, and how many images are due."""
    from app.retention.service import RetentionService

    with database_of(data_dir) as database, database.read() as session:
        found = RetentionService(session).all()
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    columns = [Column("Collection", least=10), Column("Camera", least=10), Column("Days"), Column("Due")]
    print_table(
        columns,
        [[rule.collection, rule.camera or "(all others)", str(rule.days), f"{rule.due:,}"] for rule in found.rules],
    )


@app.command("apply")
def apply_rules(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Erase now what is due."""
    from app.core import opened
    from app.retention.service import RetentionService, apply
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        if dry_run:
            with core.database.read() as session:
                count = sum(rule.due for rule in RetentionService(session).all().rules)
        else:
            count = apply(core, scrub=True, most=None)
    if as_json:
        print_json({"dry_run": dry_run, "images": count})
    else:
        results().print(f"{count:,} images {'are due' if dry_run else 'erased'}", highlight=False)
