"""descry identities merge, split, history, timeline, associate, runs, undo."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.jobs import database_of
from app.commands.output import AsJson, Column, DataDir, print_json, print_table, results

if TYPE_CHECKING:
    from app.association.schemas import AssociationOut
    from app.identities.schemas import IdentityDetail

app = typer.Typer(help="Identities: which images show one person.", no_args_is_help=True)
IdentityId = Annotated[int, typer.Argument(min=1, help="Id of the identity.")]


@app.command("merge")
def merge(
    identity: Annotated[int, typer.Argument(min=1, help="The identity that stays.")],
    others: Annotated[list[int], typer.Argument(min=1, help="Those that are the same person.")],
    drop_names: Annotated[bool, typer.Option("--drop-names", help="Keep the first of several names.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Merge identities into one. `split --undo EVENT` takes it back."""
    from app.identities.changes import IdentityChanges
    from app.identities.schemas import MergeAnswer
    from app.identities.service import IdentityService

    with database_of(data_dir) as database:
        with database.write() as session:
            events = IdentityChanges(session).merge(identity, others, drop_names=drop_names)
        with database.read() as session:
            answer = MergeAnswer(identity=IdentityService(session).detail(identity), events=events)
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    results().print(
        f"{_words(answer.identity)}; events {', '.join(map(str, events))} can be undone", markup=False, highlight=False
    )


@app.command("split")
def split(
    identity: IdentityId,
    images: Annotated[list[int] | None, typer.Option("--image", min=1, help="Image that leaves; repeatable.")] = None,
    undo: Annotated[int | None, typer.Option(min=1, help="A merge to undo: its event in the history.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take images out of an identity into a new one, or undo a merge."""
    if (not images) == (undo is None):
        raise typer.BadParameter("give --image ID (repeatable) or --undo EVENT, and not both")
    from app.identities.answers import split as split_identity
    from app.identities.schemas import SplitRequest

    with database_of(data_dir) as database, database.write() as session:
        answer = split_identity(session, identity, SplitRequest(image_ids=images or None, undo=undo))
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    for one in (answer.identity, answer.separated):
        if one is not None:
            results().print(_words(one), markup=False, highlight=False)
    if answer.left_alone:
        results().print(f"{answer.left_alone:,} images were moved or deleted since; left alone", highlight=False)


@app.command("history")
def history(
    identity: IdentityId,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most events.")] = 100,
    after: Annotated[int, typer.Option(min=0, help="Begin behind this event.")] = 0,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what was merged into an identity and split from it, oldest first."""
    from app.identities.answers import history as history_of

    with database_of(data_dir) as database, database.read() as session:
        found = history_of(session, identity, after=after, limit=limit)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows = []
    for event in found.events:
        what = event.event if event.run_id is None else f"{event.event} {event.run_id}"
        when, undone = event.at.strftime("%Y-%m-%d %H:%M"), "yes" if event.undone_at else ""
        ends = [str(event.from_id), str(event.to_id)]
        rows.append([str(event.id), when, what, *ends, f"{len(event.image_ids):,}", undone])
    titles = ("Event", "When", "What", "From", "To", "Images")
    print_table([*map(Column, titles), Column("Undone", spare=1)], rows)


@app.command("timeline")
def timeline(
    identity: IdentityId,
    gap_s: Annotated[float, typer.Option("--gap-s", min=0, help="Seconds that do not yet part two sightings.")] = 300,
    collection: Annotated[str | None, typer.Option(help="Images of this collection only.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most sightings.")] = 50,
    cursor: Annotated[
        str | None, typer.Option(help="Go on behind a page: its next_cursor.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show where and when a person was seen, by camera and time."""
    from app.identities.timeline import timeline as timeline_of

    with database_of(data_dir) as database, database.read() as session:
        found = timeline_of(session, identity, gap_s=gap_s, collection=collection, limit=limit, cursor=cursor)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    rows = []
    for one in found.sightings:
        first, last = (at.strftime("%Y-%m-%d %H:%M:%S") for at in (one.first_at, one.last_at))
        rows.append([one.camera or "", first, last, f"{len(one.image_ids):,}", str(one.best.id)])
    for apart in found.undated:
        rows.append([apart.camera or "", "no time", "", f"{len(apart.image_ids):,}", str(apart.best.id)])
    print_table([Column("Camera", least=8), *map(Column, ("From", "To", "Images", "Best image"))], rows)
    if found.next_cursor is not None:
        results().print(f"more: --cursor {found.next_cursor}", markup=False, highlight=False)


@app.command("associate")
def associate(
    collection: Annotated[str, typer.Option(help="Whose unnamed images are grouped.")] = "default",
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Cosine; the model's calibrated one if absent.")
    ] = None,
    linkage: Annotated[str | None, typer.Option(help="average or complete, with a threshold.")] = None,
    window_s: Annotated[
        float | None, typer.Option("--window-s", help="A person's images lie within so many seconds.")
    ] = None,
    instants_apart: Annotated[
        bool, typer.Option("--instants-apart", help="Two images of a camera at one instant are two people.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Group the images that nobody has named into persons: queues a job, which a worker does."""
    from pydantic import ValidationError

    from app.association.schemas import AssociationRequest
    from app.association.service import AssociationService

    try:
        request = AssociationRequest.model_validate(
            {
                "collection": collection,
                "threshold": threshold,
                "linkage": linkage,
                "window_s": window_s,
                "instants_apart": instants_apart,
                "dry_run": dry_run,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from None
    with database_of(data_dir) as database, database.write() as session:
        service = AssociationService(session)
        found = service.describe(service.ask(request))
    _print([found], as_json=as_json, single=True)


@app.command("runs")
def runs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most runs.")] = 50,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show association runs, newest first."""
    from app.association.service import AssociationService

    with database_of(data_dir) as database, database.read() as session:
        found = AssociationService(session).page(limit)
    _print(found, as_json=as_json)


@app.command("undo")
def undo(
    run: Annotated[int, typer.Argument(min=1, help="Id of the association run.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Bring back every identity that an association run merged away. What people changed since stays."""
    from app.association.service import AssociationService

    with database_of(data_dir) as database, database.write() as session:
        service = AssociationService(session)
        found = service.describe(service.undo(run))
    _print([found], as_json=as_json, single=True)


def _print(runs: "list[AssociationOut]", *, as_json: bool, single: bool = False) -> None:
    if as_json:
        told = [run.model_dump(mode="json") for run in runs]
        print_json(told[0] if single else told)
        return
    rows = []
    for run in runs:
        found = run.found
        counts = f"{found.identities:,} to {found.persons:,}" if run.state != "waiting" else ""
        back = f"; {run.undo.identities:,} back" if run.undo is not None else ""
        rule = f"{run.linkage} {run.threshold:.3f}" + (f", {run.window_s:g} s" if run.window_s is not None else "")
        state = f"{run.state} (dry run)" if run.dry_run else run.state
        rows.append([str(run.id), state, rule, counts + back, run.job_id or ""])
    columns = [Column("Run"), *(Column(name, least=8) for name in ("State", "Rule", "Found")), Column("Job", spare=1)]
    print_table(columns, rows)


def _words(identity: "IdentityDetail") -> str:
    name = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in identity.external_id or "")
    return f"identity {identity.id}{f' ({name})' if name else ''}: {len(identity.images):,} images"
