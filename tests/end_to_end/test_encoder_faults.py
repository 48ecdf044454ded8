"""The shipped checkpoint in a real server, when its encoder hangs, fails, or takes the process with it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.embedding.watchdog import RESTART_CODE
from app.settings import Settings
from models.checkpoint import DEMO
from tests.end_to_end.violence.faulty import PASSES
from tests.waiting import LIMIT_S, until

COMMAND = [sys.executable, "-m", "tests.end_to_end.violence.faulty", "serve", "--port", "0", "--no-worker"]


@dataclass
class Server:
    process: "subprocess.Popen[bytes]"
    log: Path
    faults: Path
    client: httpx.Client

    def search(self, query: str = "a man in a red coat") -> httpx.Response:
        return self.client.post("/v1/search/text", json={"query": query})

    def ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def fault(self, name: str, present: bool = True) -> None:
        path = self.faults / name
        path.touch() if present else path.unlink(missing_ok=True)

    def says(self, words: str) -> bool:
        return words in self.log.read_text()

    def texts(self) -> list[int]:
        """How many texts each pass had."""
        return [int(line) for line in (self.faults / PASSES).read_text().split()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "data"
    with opened(Settings(data_dir=folder, device="cpu")) as core:
        activate_version(core, register_checkpoint(core, DEMO, "demo").id)
    return folder


@pytest.fixture(scope="module")
def server(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A supervised server, without its cache of texts. Each test leaves it as it was; the last one ends it."""
    folder = tmp_path_factory.mktemp("server")
    own = {
        "FAULTS": str(folder),
        "DESCRY_DATA_DIR": str(data),
        "DESCRY_SUPERVISE": "1",
        "DESCRY_ENCODER_STALL_S": "2",  # what is asked between two of them has to be answered within
        "DESCRY_QUERY_CACHE_BYTES": "0",
    }
    log = folder / "server.log"
    with log.open("wb") as handle:
        process = subprocess.Popen(COMMAND, env={**os.environ, **own}, stderr=handle, cwd=Path(__file__).parents[2])
    try:
        until(lambda: b"Descry at http" in log.read_bytes(), "the server says its address")
        url = next(line.split()[2].rstrip(",") for line in log.read_text().splitlines() if line.startswith("Descry at"))
        with httpx.Client(base_url=url, timeout=LIMIT_S, trust_env=False) as client:
            found = Server(process, log, folder, client)
            until(found.ready, "the server is ready")
            yield found
    finally:
        process.kill()
        process.wait()


def code(answer: httpx.Response) -> str:
    found: str = answer.json()["code"]
    return found


def test_a_pass_that_hangs_is_given_up_and_the_server_goes_on(server: Server) -> None:
    server.fault("hang-once")
    answer = server.search()
    assert (answer.status_code, code(answer)) == (503, "encoder_stalled")
    assert int(answer.headers["retry-after"]) > 0
    until(server.ready, "another thread has taken over")
    assert server.search().status_code == 200
    assert not server.says("ends with code")


def test_an_encoder_that_fails_has_a_code_and_recovers_by_itself(server: Server) -> None:
    server.fault("fail")
    answer = server.search()
    assert (answer.status_code, code(answer)) == (503, "encoder_failed")
    assert "an error of the device" not in answer.text
    missing = server.client.get("/readyz")
    assert (missing.status_code, missing.json()["missing"]) == (503, ["search: encoder_failed"])
    server.fault("fail", present=False)
    assert server.search().status_code == 200
    assert server.ready()


def test_a_query_whose_client_went_away_is_not_encoded(server: Server) -> None:
    server.fault("wait")
    before = len(server.texts())
    body = json.dumps({"query": "nobody waits for this"}).encode()
    head = f"POST /v1/search/text HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n".encode()
    head += b"Content-Type: application/json\r\n\r\n"
    url = server.client.base_url
    with socket.create_connection((url.host, url.port or 0)) as first:
        first.sendall(head + body)
        until(lambda: len(server.texts()) > before, "the first query is being encoded")
        for _ in range(3):
            with socket.create_connection((url.host, url.port or 0)) as other:
                other.sendall(head + body)
        until(lambda: server.log.read_text().count("went away") == 3, "the server has noticed")
        server.fault("wait", present=False)
        assert first.recv(4096).startswith(b"HTTP/1.1 200")
    assert server.search().status_code == 200
    assert server.texts()[before:] == [1, 1]


def test_an_encoder_that_goes_on_hanging_makes_a_new_process(server: Server) -> None:
    server.fault("hang")
    assert code(server.search()) == "encoder_stalled"
    missing = server.client.get("/readyz")
    assert missing.status_code == 503
    assert "hangs" in missing.json()["missing"][0]
    assert code(server.search()) == "encoder_stalled"
    until(lambda: server.says(f"this process ends with code {RESTART_CODE}"), "the process gives itself up")
    server.fault("hang", present=False)
    until(server.ready, "a new process serves on the same port")
    assert server.search().status_code == 200
    assert server.process.poll() is None


def test_an_encoder_that_takes_the_process_along_is_back_soon(server: Server) -> None:
    server.fault("die")
    with pytest.raises(httpx.TransportError):
        server.search()
    # Nobody is refused by the system meanwhile: an answer is 503, or comes from the new process.
    codes = set[int]()

    def answered() -> bool:
        codes.add(server.client.get("/healthz").status_code)
        return 200 in codes

    until(answered, "a new process answers")
    assert codes <= {200, 503}
    until(server.ready, "a new process serves on the same port")
    assert server.search().status_code == 200
    assert server.says("the server ended by SIGSEGV")


def test_an_orderly_end_passes_through(server: Server) -> None:
    restarts = server.log.read_text().count("starting it again")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(LIMIT_S) == -signal.SIGTERM
    assert server.log.read_text().count("starting it again") == restarts == 2
