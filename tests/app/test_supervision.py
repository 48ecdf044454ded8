"""The supervisor over a small child in place of the server: starts it again, answers meanwhile, ends with it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.commands import supervision
from app.embedding.watchdog import RESTART_CODE
from tests.waiting import LIMIT_S, alive, until

# Answers one request with its process id, then ends as the path says. `late`: the second child takes its time.
PROGRAM = """
import os, pathlib, select, socket, sys, time
from app.commands.supervision import end_as, inherited, supervise

if (given := inherited()) is None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    end_as(supervise(listener))
started = pathlib.Path(sys.argv[1])
if started.exists():
    while not (started.parent / "go").exists():
        time.sleep(0.01)
started.touch()
given.serving()
while True:
    select.select([given.listener], [], [])
    try:
        client, _ = given.listener.accept()
    except BlockingIOError:  # the supervisor has answered it
        continue
    client.setblocking(True)
    path = client.recv(4096).split()[1].decode()
    body = str(os.getpid()).encode()
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s" % (len(body), body))
    client.close()
    if path != "/":
        os._exit(int(path[1:]))
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


class Supervised:
    def __init__(self, folder: Path) -> None:
        (folder / "child.py").write_text(PROGRAM)
        self.folder = folder
        command = [sys.executable, str(folder / "child.py"), str(folder / "started")]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def get(self, path: str = "/") -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=LIMIT_S, trust_env=False)

    def go(self) -> None:
        (self.folder / "go").touch()


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    found = Supervised(tmp_path)
    yield found
    kill(found.process)


def test_the_codes_agree() -> None:
    assert supervision.RESTART_CODE == RESTART_CODE


def test_a_child_that_gives_up_is_started_again_and_503_is_answered_meanwhile(supervised: Supervised) -> None:
    first = int(supervised.get(f"/{RESTART_CODE}").text)
    until(lambda: not alive(first))
    refused = supervised.get("/v1/anything?secret")
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) > 0
    assert (refused.json()["code"], refused.json()["instance"]) == ("restarting", "/v1/anything")
    supervised.go()
    until(lambda: supervised.get().status_code == 200)
    assert int(supervised.get().text) != first


def test_a_child_that_is_killed_is_started_again(supervised: Supervised) -> None:
    supervised.go()
    first = int(supervised.get().text)
    os.kill(first, signal.SIGKILL)
    until(lambda: not alive(first))
    until(lambda: supervised.get().status_code == 200)
    assert int(supervised.get().text) != first


@pytest.mark.parametrize("code", [0, 1])
def test_a_child_that_ends_of_itself_is_not(supervised: Supervised, code: int) -> None:
    supervised.get(f"/{code}")
    assert supervised.process.wait(LIMIT_S) == code


def test_a_signal_is_passed_on_and_ends_both(supervised: Supervised) -> None:
    child = int(supervised.get().text)
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.process.wait(LIMIT_S) == -signal.SIGTERM
    assert not alive(child)


def test_a_supervisor_that_is_killed_takes_its_child_along(supervised: Supervised) -> None:
    child = int(supervised.get().text)
    supervised.process.kill()
    until(lambda: not alive(child))
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", supervised.port)).close()


def test_a_child_that_never_serves_is_not_started_again(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(PROGRAM.replace("given.serving()", "os._exit(70)"))
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "child.py"), str(tmp_path / "started")],
        capture_output=True,
        timeout=LIMIT_S,
        env=ENVIRONMENT,
    )
    assert ended.returncode == RESTART_CODE
