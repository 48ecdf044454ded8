"""A real data folder for each test: SQLite, files, FAISS, and the toy encoder as the active model."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.access.limits import Limiter
from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.gallery.ingest import Outcome
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from tests.app.toy import toy_checkpoint

IngestFolder = Callable[[Path], list[Outcome]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", ingest_chunk=4, maintenance_s=0.2, device="cpu")


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the limits stands still: between two requests of a busy machine, seconds would refill them."""
    monkeypatch.setattr("app.access.door.Limiter", partial(Limiter, clock=lambda: 100.0))


@pytest.fixture
def empty_core(settings: Settings) -> Iterator[Core]:
    core = open_core(settings)
    yield core
    core.close()


@pytest.fixture
def core(empty_core: Core, tmp_path: Path) -> Core:
    checkpoint = toy_checkpoint(tmp_path / "toy")
    activate_version(empty_core, register_checkpoint(empty_core, checkpoint, "toy").id)
    empty_core.active.follow()
    return empty_core


@pytest.fixture
def ingest(core: Core) -> IngestFolder:
    return lambda folder: list(core.ingest().run(open_source(folder)))


@pytest.fixture
def client(core: Core, settings: Settings) -> Iterator[TestClient]:
    """The application over the data folder of `core`, reached under the name that it allows."""
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as found:
        yield found
