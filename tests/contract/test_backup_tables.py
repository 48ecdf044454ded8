"""A backup holds every table there is: one that is added later and forgotten fails here."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, DateTime, Float, Integer, LargeBinary, MetaData, inspect, select
from sqlalchemy import Table as AnyTable
from sqlalchemy.orm import Session

from app.backup.service import Backup
from app.core import Core
from app.database.audit_table import Numbers
from app.database.tables import Table, now
from app.identities.erasing import Eraser
from tests.contract.test_backups import gallery, restored

__all__ = ["gallery"]
_KNOWN = """import json, app.backup.service
from app.database.tables import Table
print(json.dumps([*Table.metadata.tables]))"""


def ours(core: Core) -> set[str]:
    """Every table that the migrations made in the database itself."""
    return {name for name in inspect(core.database.engine).get_table_names() if name != "alembic_version"}


def test_backups_know_every_table_that_the_migrations_make(empty_core: Core) -> None:
    """In a process of its own: here, other tests may have imported a table that `descry backup` does not."""
    told = subprocess.run([sys.executable, "-c", _KNOWN], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(told)) == ours(empty_core)


def test_rows_of_every_table_come_back(gallery: Core, tmp_path: Path) -> None:
    Eraser(gallery).image(8)
    fill(gallery)
    before = contents(gallery)
    assert not [name for name, rows in before.items() if not rows]
    Backup(gallery.database, gallery.store, gallery.settings, tmp_path / "backup").run()
    with restored(tmp_path / "backup", tmp_path / "new") as core:
        after = contents(core)
    for rows in (before["head"], after["head"]):
        assert len(rows[0].pop("history")) == 32  # the log has a new name
    assert after == before


def fill(core: Core) -> None:
    """One row in each table that has none, with a value in each column."""
    with core.database.write() as session:
        for table in Table.metadata.sorted_tables:
            if session.execute(select(table).limit(1)).first() is None:
                row = {column.name: _value(session, column) for column in table.columns}
                session.execute(table.insert().values(row))


def _value(session: Session, column: Column[Any]) -> Any:  # noqa: ANN401  of any type
    for key in column.foreign_keys:
        return session.execute(select(key.column).order_by(key.column).limit(1)).scalar_one()
    if isinstance(column.type, Numbers):
        return [3, 17]
    kind: Any = getattr(column.type, "impl", column.type)
    for wanted, value in ((DateTime, now()), (Float, 0.5), (Boolean, True), (Integer, 7), (LargeBinary, b"\x01\x02")):
        if isinstance(kind, wanted):
            return value
    if kind.__class__.__name__ == "JSON":
        return {"a": [1, None]}
    return {"state": "succeeded", "kind": "image"}.get(column.name, "x")


def contents(core: Core) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, as the database itself lists them."""
    found, tables = {}, MetaData()
    with core.database.read() as session:
        for name in sorted(ours(core)):
            table = AnyTable(name, tables, autoload_with=core.database.engine)
            rows = [dict(row) for row in session.execute(select(table)).mappings()]
            plain = [{key: _plain(value) for key, value in row.items()} for row in rows]
            found[name] = sorted(plain, key=lambda row: json.dumps(row, sort_keys=True, default=str))
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401  of any type
    """A value as both databases give it: one of them tells no zones."""
    if isinstance(value, datetime):
        return value.timestamp() if value.tzinfo else value.replace(tzinfo=now().tzinfo).timestamp()
    return bytes(value) if isinstance(value, bytes | memoryview) else value
