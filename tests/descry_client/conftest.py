"""A real server on a free port, over a gallery of the toy encoder."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from app.core import Core
from app.main import create_app
from app.settings import Settings
from descry_client import Client
from tests.app.conftest import core, empty_core, ingest, settings
from tests.app.toy import picture

__all__ = ["core", "empty_core", "ingest", "settings"]


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """A server for the length of a block."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None, access_log=False, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.started
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


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
