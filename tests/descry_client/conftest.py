"""A real server on a free port, over a gallery of the toy encoder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core import Core
from app.settings import Settings
from descry_client import Client
from tests.app.conftest import core, empty_core, ingest, settings
from tests.app.toy import picture
from tests.served import serving

__all__ = ["core", "empty_core", "ingest", "settings"]


@pytest.fixture
def url(core: Core, settings: Settings) -> Iterator[str]:
    with serving(settings) as address:
        yield address


@pytest.fixture
def descry(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six pictures of people, two in a folder of their own, and a file that is no picture by its name."""
    place = tmp_path / "pictures"
    for shade, name in enumerate(("a.jpg", "b.jpg", "c.jpg", "d.jpg", "below/e.jpg", "below/f.jpg")):
        picture(place / name, ("red", "green", "blue")[shade % 3], shade=3 * shade)
    (place / "notes.txt").write_text("no picture")
    return place
