"""descry queries list, show, save, delete, search, results; descry feedback add, list, remove, export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError

from app.commands.jobs import database_of
from app.commands.output import (
    AsJson,
    Column,
    DataDir,
    Originals,
    print_json,
    print_table,
    progress_bar,
    results,
    shown,
    write_out,
)

if TYPE_CHECKING:
    from app.database.sessions import Database
    from app.queries.schemas import FeedbackList, QueryOut, SearchAgain
    from app.queries.service import QueryService

app = typer.Typer(help="Searches that were asked: saved, asked again, printed.", no_args_is_help=True)
feedback = typer.Typer(help="What was said about the candidates of a search.", no_args_is_help=True)
QueryId = Annotated[str, typer.Argument(help="Id of the query.", metavar="QUERY")]
Learn = Annotated[bool, typer.Option("--use-feedback", help="Learn from the verdicts; leave out what was rejected.")]
Limit = Annotated[int | None, typer.Option(min=1, max=100, help="Most candidates; as it was asked if absent.")]


@app.command("list")
def list_queries(
    saved: Annotated[bool, typer.Option("--saved", help="Those with a name only.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most queries.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="next_cursor of the page before.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show searches, newest first."""
    with database_of(data_dir) as database:
        page = _service(database).page(saved=True if saved else None, cursor=cursor, limit=limit)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    columns = [
        Column("Query"),
        Column("Asked"),
        Column("Name", spare=1, least=10),
        Column("What", least=20, most=80),
        Column("Purpose", spare=2, least=10),
        Column("Feedback", spare=3),
    ]
    rows = [
        [
            query.id,
            query.created_at.strftime("%Y-%m-%d %H:%M"),
            query.name or "",
            query.words,
            query.purpose or "",
            str(query.feedback or ""),
        ]
        for query in page.queries
    ]
    print_table(columns, rows)


@app.command("show")
def show(query: QueryId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one search: what was asked, for what, and which model version answered."""
    with database_of(data_dir) as database:
        found = _service(database).out(query)
    _print(found, as_json=as_json)


@app.command("save")
def save(
    query: QueryId,
    name: Annotated[str | None, typer.Option(help="Name of the saved search; empty takes it away.")] = None,
    purpose: Annotated[str | None, typer.Option(help="What it is for; a case.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep a search under a name, rename it, or say what it is for (the audit keeps what was said before)."""
    from app.queries.schemas import QueryPatch
    from app.settings import load_settings

    wanted = {key: value or None for key, value in (("name", name), ("purpose", purpose)) if value is not None}
    if not wanted:
        raise typer.BadParameter("give --name, --purpose, or both")
    try:
        patch = QueryPatch.model_validate(wanted)
    except ValidationError as error:
        raise _bad(error) from None
    with database_of(data_dir) as database:
        changed = _service(database).change(query, patch, load_settings(data_dir=data_dir))
    _print(changed, as_json=as_json)


@app.command("delete")
def delete(query: QueryId, data_dir: DataDir = None) -> None:
    """Forget a search with the feedback on it."""
    with database_of(data_dir) as database:
        _service(database).delete(query)


@app.command("search")
def search_again(
    query: QueryId,
    use_feedback: Learn = False,
    limit: Limit = None,
    cursor: Annotated[str | None, typer.Option(help="next_cursor of the page before.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Ask a query again, with the model version that answers now."""
    from app.commands.search import print_answer
    from app.core import opened
    from app.queries.again import answer_again
    from app.queries.service import QueryService
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        row = QueryService(core.database, core.recorder).find(query)
        core.active.follow()
        answer = answer_again(core, row, _again(limit=limit, cursor=cursor, use_feedback=use_feedback))
    print_answer(answer, as_json=as_json)


@app.command("results")
def export_results(
    query: QueryId,
    out: Annotated[Path, typer.Option(help="File to write; it must not exist.")],
    format_name: Annotated[
        Literal["csv", "json", "html", "pdf"] | None, typer.Option("--format", help="By the file's name if absent.")
    ] = None,
    use_feedback: Learn = False,
    limit: Limit = None,
    images: Annotated[int | None, typer.Option(min=1, max=20, help="Most images of one candidate.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Write the answer to a query to a file: csv, json, or a sheet to print as html or pdf."""
    from app.core import opened
    from app.errors import ExportTargetError, StorageError
    from app.queries.again import answer_again, options_of
    from app.queries.service import QueryService
    from app.queries.sheet import MEDIA, check_size, make_sheet, rendered
    from app.settings import load_settings

    kind = format_name or next((one for one in MEDIA if out.suffix.lower() == f".{one}"), None)
    if kind is None:
        raise typer.BadParameter(f"give --format {', '.join(MEDIA)}, or a file whose name ends so")
    if out.exists():
        raise ExportTargetError(f"{out} exists already; choose another name, or remove it")
    with opened(load_settings(data_dir=data_dir)) as core:
        service = QueryService(core.database, core.recorder)
        told, row = service.out(query), service.find(query)
        asked = _again(limit=limit, images_per_identity=images, use_feedback=use_feedback)
        options = options_of(row, asked)
        check_size(kind, options)
        core.active.follow()
        data = rendered(make_sheet(core, told, answer_again(core, row, asked), options, kind), kind)
    try:
        write_out(out, data)
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error
    results().print(f"{out}: {len(data):,} bytes", markup=False, highlight=False, soft_wrap=True)


@feedback.command("add")
def add(
    query: QueryId,
    confirm: Annotated[list[int] | None, typer.Option("--confirm", min=1, help="Identity; repeatable.")] = None,
    reject: Annotated[list[int] | None, typer.Option("--reject", min=1, help="Identity; repeatable.")] = None,
    confirm_image: Annotated[list[int] | None, typer.Option("--confirm-image", min=1, help="Repeatable.")] = None,
    reject_image: Annotated[list[int] | None, typer.Option("--reject-image", min=1, help="Repeatable.")] = None,
    note: Annotated[str | None, typer.Option(help="A note on all of them.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Confirm or reject candidates of a search."""
    from app.queries.feedback import FeedbackService
    from app.queries.schemas import FeedbackIn

    told = [
        {field: number, "verdict": verdict, "note": note}
        for verdict, field, numbers in (
            ("confirm", "identity_id", confirm),
            ("reject", "identity_id", reject),
            ("confirm", "image_id", confirm_image),
            ("reject", "image_id", reject_image),
        )
        for number in numbers or ()
    ]
    if not told:
        raise typer.BadParameter("give --confirm ID, --reject ID, --confirm-image ID or --reject-image ID")
    try:
        verdicts = [FeedbackIn.model_validate(one) for one in told]
    except ValidationError as error:
        raise _bad(error) from None
    with database_of(data_dir) as database:
        _service(database).written(query)
        with database.write() as session:
            given = FeedbackService(session).give(query, verdicts)
    _print_feedback(given, as_json=as_json)


@feedback.command("list")
def list_feedback(query: QueryId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show what was said about the candidates of a search."""
    from app.queries.feedback import FeedbackService

    with database_of(data_dir) as database:
        _service(database).find(query)
        with database.read() as session:
            found = FeedbackService(session).listed(query)
    _print_feedback(found, as_json=as_json)


@feedback.command("remove")
def remove(
    query: QueryId,
    number: Annotated[int, typer.Argument(min=1, help="Id of the feedback.")],
    data_dir: DataDir = None,
) -> None:
    """Take a verdict back."""
    from app.queries.feedback import FeedbackService

    with database_of(data_dir) as database, database.write() as session:
        FeedbackService(session).take_back(query, number)


@feedback.command("export")
def export(
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    originals: Originals = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Write confirmed candidates with the words of their queries: a data set to train on (`descry_gallery`).

    People by whom models are measured are left out. `descry retrain --feedback` does the same without files."""
    from dataclasses import asdict

    from app.core import opened
    from app.queries.pairs import export_pairs
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core, progress_bar() as bar:
        task = bar.add_task("Exporting", total=None, note="")
        made = export_pairs(
            core, out, lambda done, total: bar.update(task, completed=done, total=total), originals=originals
        )
    if as_json:
        print_json({"out": str(out), **asdict(made)})
        return
    words = (
        f"{made.pairs:,} pairs of {made.images:,} images in {out}; {made.held_out:,} images of held-out people left out"
    )
    results().print(words, markup=False, highlight=False, soft_wrap=True)


def _service(database: "Database") -> "QueryService":
    from app.queries.recorder import Recorder
    from app.queries.service import QueryService

    return QueryService(database, Recorder(database))


def _again(**given: object) -> "SearchAgain":
    from app.queries.schemas import SearchAgain

    return SearchAgain.model_validate(given)


def _bad(error: ValidationError) -> typer.BadParameter:
    first = error.errors()[0]
    return typer.BadParameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")


def _print(query: "QueryOut", *, as_json: bool) -> None:
    if as_json:
        print_json(query.model_dump(mode="json"))
        return
    lines = {
        "Query": query.id,
        "What": query.words,
        "Asked": query.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "Name": query.name or "",
        "Purpose": query.purpose or "",
        "Model version": query.model_version.name or f"{query.model_version.id} (deleted)",
        "Feedback": str(query.feedback),
        "Outdated": "yes: search with the picture again" if query.outdated else "",
    }
    for name, value in lines.items():
        if value:
            results().print(f"{name:14} {shown(value)}", highlight=False, soft_wrap=True)


def _print_feedback(found: "FeedbackList", *, as_json: bool) -> None:
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    columns = [*map(Column, ("Feedback", "When", "Identity", "Image")), Column("Verdict", least=8)]
    rows = []
    for row in found.feedback:
        verdict = row.verdict if row.counts else f"{row.verdict} (a later one counts)"
        when, image = row.at.strftime("%Y-%m-%d %H:%M"), str(row.image_id or "")
        rows.append([str(row.id), when, str(row.identity_id), image, verdict, row.note or ""])
    print_table([*columns, Column("Note", spare=1, least=10)], rows)
