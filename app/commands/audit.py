"""descry audit list, verify, export, prune."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from app.commands.jobs import database_of
from app.commands.output import AsJson, Column, DataDir, errors, print_json, print_table, results

app = typer.Typer(help="The audit: who searched, viewed, exported and changed what.", no_args_is_help=True)


@app.command("list")
def list_entries(
    actor: Annotated[str | None, typer.Option(help="Name of a key, open, or cli:USER.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as search.text, or search.*")] = None,
    outcome: Annotated[str | None, typer.Option(help="ok, or the code of an error.")] = None,
    since: Annotated[datetime | None, typer.Option(help="Local time.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Local time.")] = None,
    identity: Annotated[int | None, typer.Option("--of-identity", min=1, help="Entries that name it.")] = None,
    image: Annotated[int | None, typer.Option("--of-image", min=1, help="Entries that name it.")] = None,
    words: Annotated[str | None, typer.Option(help="A part of the purpose, the query, or another word.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most entries.")] = 50,
    before: Annotated[int | None, typer.Option(min=1, help="Entries below this number.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show entries, newest first."""
    from app.audit.repository import Wanted
    from app.audit.service import AuditService

    wanted = Wanted(actor, action, outcome, _local(since), _local(until), identity, image, words)
    with database_of(data_dir) as database, database.read() as session:
        page = AuditService(session).page(wanted, limit=limit, before=before)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    columns = [
        Column("Entry"),
        Column("When", least=10),
        Column("Who", least=8),
        Column("What", least=12),
        Column("Outcome", least=8),
        Column("Purpose", spare=1, least=10),
        Column("Returned", spare=2, least=10),
    ]
    rows = []
    for one in page.entries:
        returned = f"{len(one.identity_ids):,} people, {len(one.image_ids):,} images" if one.image_ids else ""
        purpose = str((one.words or {}).get("purpose", "")) if not one.words_erased else "(erased)"
        when = one.at.strftime("%Y-%m-%d %H:%M:%S")
        rows.append([str(one.sequence), when, one.actor, one.action, one.outcome, purpose, returned])
    print_table(columns, rows)


@app.command("verify")
def verify(
    head: Annotated[str | None, typer.Option(help="SEQUENCE:HASH that was noted elsewhere.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Look whether an entry was changed, removed, put in or moved, or the end cut off since a head was noted."""
    from app.audit.chain import Head
    from app.audit.service import AuditService

    noted = None if head is None else Head.parse(head)
    with database_of(data_dir) as database, database.read() as session:
        found = AuditService(session).verify(noted)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        for problem in found.problems:
            results().print(f"{problem.kind} at {problem.sequence}: {problem.message}", markup=False, highlight=False)
        state = "whole" if found.whole else "NOT whole"
        gone = f"; 1 to {found.removed:,} removed by rule" if found.removed else ""
        words = f"{found.entries:,} entries, {state}{gone}; words erased in {found.erased:,}; head {found.head}"
        results().print(words, markup=False, highlight=False, soft_wrap=True)
    if not found.whole:
        raise typer.Exit(1)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="File to write, as JSON lines; it must not exist.")],
    data_dir: DataDir = None,
) -> None:
    """Write every entry, and the head as the last line. Note the head elsewhere: `verify --head` shows a cut by it."""
    from app.audit.chain import Head
    from app.audit.schemas import head_line
    from app.audit.service import AuditService
    from app.errors import ExportTargetError, StorageError

    if out.exists():
        raise ExportTargetError(f"{out} exists already; choose another name, or remove it")
    last, count = Head(0, "0" * 64), 0
    with database_of(data_dir) as database, database.read() as session:
        try:
            with out.open("x", encoding="utf-8") as file:
                for entry in AuditService(session).export():
                    last, count = Head(entry.sequence, entry.hash), count + 1
                    file.write(entry.model_dump_json() + "\n")
                file.write(head_line(last) + "\n")
        except OSError as error:
            raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error
    results().print(f"{count:,} entries; head {last}", markup=False, highlight=False, soft_wrap=True)
    errors().print("note the head elsewhere; `descry audit verify --head` compares with it", style="dim")


@app.command("prune")
def prune(
    before: Annotated[datetime | None, typer.Option(help="Local time; by DESCRY_AUDIT_KEEP_DAYS if absent.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Remove old entries, the whole beginning of the chain; an entry says so. Export first what has to be kept."""
    from datetime import timedelta

    from app.audit.pruning import old
    from app.audit.pruning import prune as prune_entries
    from app.database.tables import now
    from app.settings import load_settings

    days = load_settings(data_dir=data_dir).audit_keep_days
    if (limit := _local(before)) is None:
        if days is None:
            raise typer.BadParameter(
                "give --before; DESCRY_AUDIT_KEEP_DAYS is not set, so that entries are kept for ever"
            )
        limit = now() - timedelta(days=days)
    policy = "descry audit prune --before" if before is not None else f"DESCRY_AUDIT_KEEP_DAYS={days}"
    with database_of(data_dir) as database:
        count = old(database, limit) if dry_run else prune_entries(database, limit, policy)
    if as_json:
        print_json({"before": limit.isoformat(), "dry_run": dry_run, "entries": count})
    else:
        words = f"{count:,} entries from before {limit:%Y-%m-%d %H:%M %Z} {'would be' if dry_run else 'were'} removed"
        results().print(words, markup=False, highlight=False, soft_wrap=True)


def _local(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone()
