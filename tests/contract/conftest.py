"""Both databases, each for real: every test of this folder that asks for `database_url` runs once on either.

And a real S3 server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy.engine import URL

from app.database.migrate import upgrade
from app.database.sessions import Database
from app.settings import Settings
from tests.app.conftest import client, core, empty_core, ingest
from tests.contract import postgres

__all__ = ["client", "core", "empty_core", "ingest"]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'contract.sqlite3'}"
        return
    with postgres.fresh_database(request.getfixturevalue("postgres_server")) as url:
        yield url


@pytest.fixture
def bare(database_url: str) -> Iterator[Database]:
    """A database without any table."""
    found = Database(database_url)
    yield found
    found.close()


@pytest.fixture
def database(bare: Database) -> Database:
    """A database with the present schema."""
    upgrade(bare)
    return bare


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return Settings(
        data_dir=tmp_path / "data", database_url=database_url, ingest_chunk=4, maintenance_s=0.2, device="cpu"
    )


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of a local S3 server on a free port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
