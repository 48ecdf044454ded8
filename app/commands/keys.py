"""`descry keys`: who may come in. It works on the database itself, so that the first key can be made."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.jobs import database_of
from app.commands.output import AsJson, Column, DataDir, errors, print_json, print_table, results, shown

if TYPE_CHECKING:
    from app.access.schemas import KeyMade, KeyOut

app = typer.Typer(help="Keys: who may search, ingest and administrate.", no_args_is_help=True)
KeyId = Annotated[int, typer.Argument(help="Id of the key.", metavar="KEY")]


class ScopeOption(StrEnum):
    """What a key may do."""

    search = "search"
    ingest = "ingest"
    admin = "admin"


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who or what the key is for.")],
    scope: Annotated[list[ScopeOption], typer.Option(help="What it may do; may be given several times.")],
    collection: Annotated[
        list[str] | None, typer.Option(help="Only within this collection; several are possible.")
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.0, max=36_500, help="Days until it expires; never if absent.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once. With the first key a server on this machine stops being open."""
    from app.access.schemas import NewKey
    from app.access.service import KeyService

    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    wanted = {"name": name, "scopes": [one.value for one in scope], "collections": collection or None}
    new = NewKey.model_validate({**wanted, "expires_at": expires})
    with database_of(data_dir) as database, database.write() as session:
        made = KeyService(session).create(new)
    _show_secret(made, as_json=as_json)


@app.command("list")
def list_keys(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show every key, never a secret."""
    from app.access.service import KeyService

    with database_of(data_dir) as database, database.read() as session:
        keys = KeyService(session).all()
    if as_json:
        print_json({"keys": [key.model_dump(mode="json") for key in keys]})
        return
    columns = [
        Column("Key"),
        Column("Name", least=10),
        Column("Prefix"),
        Column("May", least=6),
        Column("Collections", spare=1, least=10),
        Column("Last used", spare=2),
        Column("State", least=8),
    ]
    rows = []
    for key in keys:
        limits = "all" if key.collections is None else ", ".join(key.collections) or "none"
        used = key.last_used_at.strftime("%Y-%m-%d %H:%M") if key.last_used_at else "never"
        rows.append([str(key.id), key.name, key.prefix, ", ".join(key.scopes), limits, used, _state(key)])
    print_table(columns, rows)


@app.command("revoke")
def revoke(key: KeyId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """End a key. Servers know within a second."""
    from app.access.service import KeyService

    with database_of(data_dir) as database, database.write() as session:
        revoked = KeyService(session).revoke(key)
    if as_json:
        print_json(revoked.model_dump(mode="json"))
    else:
        results().print(f"key {revoked.id} ({shown(revoked.name)}) is revoked")


@app.command("rotate")
def rotate(key: KeyId, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Give a key a new secret; the one before ends."""
    from app.access.service import KeyService

    with database_of(data_dir) as database, database.write() as session:
        made = KeyService(session).rotate(key)
    _show_secret(made, as_json=as_json)


def _show_secret(made: "KeyMade", *, as_json: bool) -> None:
    if as_json:
        print_json(made.model_dump(mode="json"))
        return
    errors().print(f"key {made.id} ({shown(made.name)}). It is shown this once:")
    results().print(made.key, markup=False, highlight=False, soft_wrap=True)


def _state(key: "KeyOut") -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "expired"
    return "valid"
