"""Real processes that are killed: what was acknowledged is there, nothing twice, the same answers."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import torch
from PIL import Image

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.gallery.sources import open_source
from app.settings import Settings
from models.checkpoint import save_checkpoint
from models.clip_baseline import compact_spec
from models.registry import build
from tests.waiting import LIMIT_S, free_port

WORDS = ("red", "green", "blue", "coat", "person")
DESCRY = [sys.executable, "-m", "app.cli"]


def environment(data: Path) -> dict[str, str]:
    return {**os.environ, "DESCRY_DATA_DIR": str(data), "DESCRY_INGEST_CHUNK": "16", "DESCRY_DEVICE": "cpu"}


def ingest(data: Path, folder: Path) -> Counter[str]:
    """Ingest from this process, which is another one than the server's."""
    with opened(Settings(data_dir=data, device="cpu", ingest_chunk=16)) as core:
        return Counter(outcome.status for outcome in core.ingest().run(open_source(folder)))


def pictures(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        colour = (37 * number % 256, 91 * number % 256, 53 * number % 256)
        image = Image.new("RGB", (32, 64), colour)
        image.paste((number % 256, number // 256, 99), (0, 0, 32, 8))
        image.save(folder / f"{number:05}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("checkpoint")
    spec = compact_spec(WORDS, height=32, width=16)
    save_checkpoint(build(spec).eval(), folder, card="# random weights\n")
    return folder


@pytest.fixture
def data(tmp_path: Path, checkpoint: Path) -> Path:
    """A data folder with an active model, in the database that DESCRY_DATABASE_URL names."""
    folder = tmp_path / "data"
    with opened(Settings(data_dir=folder, device="cpu")) as core:
        activate_version(core, register_checkpoint(core, checkpoint, "random").id)
    return folder


@contextmanager
def serving(data: Path, *words: str) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    port = free_port()
    with (data.parent / "server.log").open("ab") as log:
        server = subprocess.Popen([*DESCRY, "serve", "--port", str(port), *words], env=environment(data), stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client:
            wait_until_ready(client, server)
            yield client, server
    finally:
        server.kill()
        server.wait()


def wait_until_ready(client: httpx.Client, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended"
        with suppress(httpx.TransportError):
            if client.get("/readyz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not become ready")


def answer(client: httpx.Client, query: str = "a person in a red coat") -> list[tuple[int, list[tuple[int, float]]]]:
    response = client.post("/v1/search/text", json={"query": query, "limit": 100})
    assert response.status_code == 200, response.text
    return [
        (candidate["identity"]["id"], [(image["id"], image["score"]) for image in candidate["images"]])
        for candidate in response.json()["candidates"]
    ]


def test_a_killed_server_comes_back_with_the_same_answers(data: Path, tmp_path: Path) -> None:
    ingest(data, pictures(tmp_path / "first", 40))
    with serving(data) as (client, server):
        first = answer(client)
        assert len(first) == 40
        # Another process ingests while the server runs: the next search sees it.
        ingest(data, pictures(tmp_path / "second", 10, first=40))
        assert len(answer(client)) == 50
        gone = first[0][0]
        assert client.delete(f"/v1/identities/{gone}").status_code == 204
        before = answer(client)
        assert gone not in [identity for identity, _ in before]
        server.send_signal(signal.SIGKILL)
        server.wait()
    with serving(data) as (client, server):
        assert answer(client) == before
        server.send_signal(signal.SIGTERM)
        assert server.wait(LIMIT_S) in (0, -signal.SIGTERM)
    index = next((data / "index").glob("*.index"))
    content = bytearray(index.read_bytes())
    content[-5] ^= 1
    index.write_bytes(content)
    with serving(data) as (client, _):
        assert answer(client) == before
    log = (tmp_path / "server.log").read_text()
    assert "rebuilding from the database" in log
    assert "Traceback" not in log


def test_an_ingest_that_is_killed_is_continued_by_running_it_again(data: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "many", 400)
    for moment in (0.0, 0.2):
        started = subprocess.Popen(
            [*DESCRY, "ingest", str(folder)],
            env=environment(data),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        journal = data / "images" / "journal"
        while started.poll() is None and not (journal.is_dir() and any(journal.iterdir())):
            time.sleep(0.005)
        time.sleep(moment)
        started.send_signal(signal.SIGKILL)
        started.wait()
    partial = counts(data)
    assert partial["images"] == partial["embeddings"]
    assert ingest(data, folder) == Counter(duplicate=partial["images"], ingested=400 - partial["images"])
    assert counts(data) == {"images": 400, "embeddings": 400, "identities": 400, "hashes": 400}
    files = list((data / "images").rglob("*.jpg"))
    assert len(files) == 400
    assert list((data / "images" / "journal").iterdir()) == []
    with serving(data) as (client, _):
        found = [image for _, images in answer(client) for image in images]
        assert len(found) == len(set(found)) == 100
    with opened(Settings(data_dir=data, device="cpu")) as core:
        core.active.follow()
        assert core.active.current().view("text").count == 400


def counts(data: Path) -> dict[str, int]:
    connection = sqlite3.connect(data / "descry.sqlite3")
    try:
        queries = {name: f"SELECT count(*) FROM {name}" for name in ("images", "embeddings", "identities")}
        queries["hashes"] = "SELECT count(DISTINCT sha256) FROM images"
        return {name: int(connection.execute(query).fetchone()[0]) for name, query in queries.items()}
    finally:
        connection.close()


def test_an_archive_whose_ingest_is_killed_is_taken_in_by_running_it_again(data: Path, tmp_path: Path) -> None:
    archive = tmp_path / "people.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in pictures(tmp_path / "p", 600).iterdir():
            packed.write(path, path.name)
    command = [*DESCRY, "ingest", str(archive), "--json"]
    with subprocess.Popen(
        command, env=environment(data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as killed:
        deadline = time.monotonic() + LIMIT_S
        while not counts(data)["images"]:
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        killed.kill()
    partial = counts(data)["images"]
    assert 0 < partial < 600
    assert len(list((data / "staging").iterdir())) == 1
    again = subprocess.run(command, env=environment(data), capture_output=True, text=True, check=True)
    report = json.loads(again.stdout)
    assert (report["duplicate"], report["ingested"]) == (partial, 600 - partial)
    assert counts(data) == {"images": 600, "embeddings": 600, "identities": 600, "hashes": 600}
    assert list((data / "staging").iterdir()) == []
