"""descry identifications list, show. The command line has no key: it proposes and decides nothing."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.commands.jobs import database_of
from app.commands.output import AsJson, Column, DataDir, print_json, print_table, results, shown

if TYPE_CHECKING:
    from app.identifications.schemas import IdentificationOut, Said

app = typer.Typer(
    help="Who is the person that was looked for, as two people with two keys said over HTTP or in the page.",
    no_args_is_help=True,
)
InState = Literal["proposed", "confirmed", "refused", "withdrawn", "lapsed"]


@app.command("list")
def list_identifications(
    state: Annotated[InState | None, typer.Option(help="Those in a state only.", show_default=False)] = None,
    query: Annotated[str | None, typer.Option(help="Those of a search only.", show_default=False)] = None,
    identity: Annotated[int | None, typer.Option(min=1, help="Those of a person only.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Most identifications.")] = 50,
    before: Annotated[
        int | None, typer.Option(min=1, help="next_before of the page before.", show_default=False)
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show identifications, newest first; what waits for a second person is `proposed`."""
    from app.identifications.service import IdentificationService

    with database_of(data_dir) as database, database.read() as session:
        page = IdentificationService(session).page(
            state=state, query_id=query, identity_id=identity, before=before, limit=limit
        )
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    columns = [
        Column("ID"),
        Column("State"),
        Column("Person"),
        Column("Name", least=12),
        Column("Proposed", spare=3),
        Column("By", spare=1, least=10),
        Column("Decided by", spare=2, least=10),
        Column("Purpose", spare=4, least=10),
        Column("Query", spare=5),
    ]
    print_table(columns, [_row(one) for one in page.identifications])


@app.command("show")
def show(
    number: Annotated[int, typer.Argument(min=1, help="Id of the identification.", metavar="ID")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show one identification: who proposed it, on what, and what became of it."""
    from app.identifications.service import IdentificationService

    with database_of(data_dir) as database, database.read() as session:
        one = IdentificationService(session).get(number)
    if as_json:
        print_json(one.model_dump(mode="json"))
        return
    lines = {
        "Identification": str(one.id),
        "State": one.state if one.lapsed_because is None else f"{one.state}: {one.lapsed_because}",
        "Person": f"{one.identity_id} {_name(one)}".strip(),
        "Looked for": "" if one.query is None else one.query.words,
        "Query": one.query_id,
        "Purpose": one.purpose,
        "Proposed": _said(one.proposed),
        "Before": one.expires_at.strftime("%Y-%m-%d %H:%M UTC") if one.state == "proposed" else "",
        "Refused" if one.state == "refused" else "Confirmed": _said(one.decided),
        "Withdrawn": _said(one.withdrawn),
        "Rests on": f"{len(one.image_ids)} of {one.images_of_identity} images: {', '.join(map(str, one.image_ids))}",
    }
    for name, value in lines.items():
        if value:
            results().print(f"{name:14} {shown(value)}", highlight=False, soft_wrap=True)
    results().print(one.notice, style="dim", highlight=False, markup=False, soft_wrap=True)


def _row(one: "IdentificationOut") -> list[str]:
    return [
        str(one.id),
        one.state,
        str(one.identity_id),
        _name(one),
        one.proposed.at.strftime("%Y-%m-%d %H:%M"),
        one.proposed.name,
        one.decided.name if one.decided else "",
        one.purpose,
        one.query_id,
    ]


def _name(one: "IdentificationOut") -> str:
    return "" if one.identity is None else one.identity.external_id or "unnamed"


def _said(said: "Said | None") -> str:
    if said is None:
        return ""
    note = f": {said.note}" if said.note else ""
    return f"{said.at:%Y-%m-%d %H:%M UTC} by {said.name} (key {said.key_id}){note}"
