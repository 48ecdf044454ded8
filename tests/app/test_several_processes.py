"""Several processes on one port: small children in the servers' place, and `descry serve --processes 2` itself."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.commands.models import activate_version, register_checkpoint
from app.commands.serving import listen, serve
from app.core import opened
from app.errors import ConfigurationError, PortTakenError
from app.settings import Settings
from benchmarks.served import served
from models.checkpoint import DEMO
from tests.app.test_supervision import ENVIRONMENT, kill
from tests.waiting import LIMIT_S, alive, until

# Answers each connection with its place and process id. A place whose file `wait-N` is there serves when it is gone.
PROGRAM = """
import os, pathlib, select, signal, socket, sys, time
from app.commands.supervision import beside, end_as, inherited, supervise

folder = pathlib.Path(sys.argv[1])
if (given := inherited()) is None:
    plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    plain.bind(("127.0.0.1", 0))
    listener = beside(plain)
    plain.close()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may themselves run under nohup, whose children ignore it
    print(listener.getsockname()[1], flush=True)
    end_as(supervise(listener, 3))
(folder / f"began-{given.place}-{os.getpid()}").touch()
if (folder / f"fail-{given.place}").exists():
    sys.exit(3)
while (folder / f"wait-{given.place}").exists():
    time.sleep(0.01)
given.listener.listen()
given.serving()
while True:
    select.select([given.listener], [], [])
    client, _ = given.listener.accept()
    client.setblocking(True)
    client.recv(4096)
    body = f"{given.place} {os.getpid()}".encode()
    client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s" % (len(body), body))
    client.close()
"""


class Several:
    def __init__(self, folder: Path) -> None:
        (folder / "child.py").write_text(PROGRAM)
        self.folder = folder
        command = [sys.executable, str(folder / "child.py"), str(folder)]
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=ENVIRONMENT)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def asked(self) -> tuple[int, int]:
        """Place and process id of one that answers."""
        found = httpx.get(f"http://127.0.0.1:{self.port}/", timeout=LIMIT_S, trust_env=False)
        assert found.status_code == 200
        place, pid = found.text.split()
        return int(place), int(pid)

    def all(self) -> dict[int, int]:
        """Process ids by place, once every place has answered."""
        seen: dict[int, int] = {}
        until(self.listens)

        def complete() -> bool:
            seen.update([self.asked()])
            return len(seen) == 3

        until(complete)
        return seen

    def listens(self) -> bool:
        """Whether any of them does yet."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def began(self, place: int) -> int:
        """How often a place was started."""
        return len(list(self.folder.glob(f"began-{place}-*")))


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Several]:
    (tmp_path / "wait-0").touch()
    found = Several(tmp_path)
    yield found
    kill(found.process)


def test_the_first_starts_alone_and_then_all_answer(several: Several) -> None:
    until(lambda: several.began(0) == 1)
    assert (several.began(1), several.began(2)) == (0, 0)
    (several.folder / "wait-0").unlink()
    assert set(several.all()) == {0, 1, 2}


@pytest.mark.parametrize("place", [0, 2])
def test_the_others_answer_everything_while_one_that_was_killed_is_started_again(several: Several, place: int) -> None:
    (several.folder / "wait-0").unlink()
    before = several.all()
    (several.folder / f"wait-{place}").touch()
    os.kill(before[place], signal.SIGKILL)
    until(lambda: several.began(place) == 2)
    assert place not in {several.asked()[0] for _ in range(30)}
    (several.folder / f"wait-{place}").unlink()
    after = several.all()
    assert after[place] != before[place]
    assert {at: pid for at, pid in after.items() if at != place} == {
        at: pid for at, pid in before.items() if at != place
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_them_in_order(several: Several, number: signal.Signals) -> None:
    (several.folder / "wait-0").unlink()
    children = several.all()
    several.process.send_signal(number)
    assert several.process.wait(LIMIT_S) == -signal.SIGTERM
    assert not any(map(alive, children.values()))


def test_a_signal_before_the_others_were_started_ends_it(several: Several) -> None:
    until(lambda: several.began(0) == 1)
    several.process.send_signal(signal.SIGTERM)
    assert several.process.wait(LIMIT_S) == -signal.SIGTERM
    assert not [path for path in several.folder.glob("began-*") if alive(int(path.name.rpartition("-")[2]))]


def test_a_first_that_cannot_start_ends_it_and_no_other_is_started(several: Several) -> None:
    (several.folder / "fail-0").touch()
    (several.folder / "wait-0").unlink()
    until(lambda: several.process.poll() is not None)
    assert several.process.returncode == 3
    assert (several.began(0), several.began(1), several.began(2)) == (1, 0, 0)


@pytest.mark.parametrize("place", [0, 1])
def test_one_that_cannot_start_again_is_tried_and_does_not_end_the_others(several: Several, place: int) -> None:
    (several.folder / "wait-0").unlink()
    before = several.all()
    (several.folder / f"fail-{place}").touch()
    os.kill(before[place], signal.SIGKILL)
    until(lambda: several.began(place) >= 3)
    assert place not in {several.asked()[0] for _ in range(30)}
    told = [line for line in several.log.read_text().splitlines() if f"process {place} ended" in line]
    pauses = [line.rpartition(" in ")[2] for line in told]
    assert pauses[:2] == ["1 s", "2 s"], "ever longer"
    assert "by SIGKILL" in told[0]
    assert "with code 3" in told[1]
    (several.folder / f"fail-{place}").unlink()
    after = several.all()
    assert {at: pid for at, pid in after.items() if at != place} == {
        at: pid for at, pid in before.items() if at != place
    }


def test_a_supervisor_that_is_killed_takes_all_along(several: Several) -> None:
    (several.folder / "wait-0").unlink()
    children = several.all()
    several.process.kill()
    until(lambda: not any(map(alive, children.values())))
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", several.port)).close()


def test_a_port_that_several_share_is_taken_for_everybody_else(tmp_path: Path) -> None:
    with listen(Settings(data_dir=tmp_path, port=0, processes=2)) as first:
        first.listen()
        port = first.getsockname()[1]
        for processes in (1, 2):
            with pytest.raises(PortTakenError):
                listen(Settings(data_dir=tmp_path, port=port, processes=processes)).close()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("DESCRY_SUPERVISE", "false", "DESCRY_SUPERVISE"), ("DESCRY_VECTOR_ENGINE", "milvus", "Milvus Lite")],
)
def test_several_are_refused_where_there_can_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv("DESCRY_SUPERVISE", "true")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=told):
        serve(port=0, data_dir=tmp_path, processes=2)


def test_two_servers_are_told_of_together_and_bring_one_worker(tmp_path: Path) -> None:
    with opened(Settings(data_dir=tmp_path / "data")) as core:
        activate_version(core, register_checkpoint(core, DEMO, "shipped").id)
    with served(tmp_path / "data", "--processes", "2", environment={"DESCRY_SUPERVISE": "true"}) as server:
        pids = server.pids()
        assert len(pids) == 2
        until(lambda: sum(len(_workers(pid)) for pid in pids) == 1)
        for _ in range(20):  # each over a connection of its own
            httpx.get(f"{server.url}/healthz", trust_env=False).raise_for_status()
        with httpx.Client(base_url=server.url, trust_env=False) as client:  # over one
            found = _metrics(client)
            assert sum(found["descry_requests_total", process] for process in "01") >= 20
            assert {process for name, process in found if name == "descry_process_up"} == {"0", "1"}
            assert ("descry_workers_here", "") in found, "what is so for all is told once"
            log = (tmp_path / "data-server.log").read_text()
            other = int(re.findall(rf"server process {_other(client)} serves, pid (\d+)", log)[0])
            models = tmp_path / "data" / "models"
            models.rename(models.with_name("away"))
            os.kill(other, signal.SIGKILL)
            # It cannot load the model now, and so takes none of the connections that the other one answers.
            until(lambda: "this process cannot search" in (tmp_path / "data-server.log").read_text())
            assert _up(client) == [0, 1]
            assert {httpx.get(f"{server.url}/readyz", trust_env=False).status_code for _ in range(12)} == {200}
            models.with_name("away").rename(models)
            until(lambda: _up(client) == [1, 1])
            assert not alive(other)
    assert not any(map(alive, server.pids()))


def _up(client: httpx.Client) -> list[float]:
    return sorted(value for (name, _), value in _metrics(client).items() if name == "descry_process_up")


def _metrics(client: httpx.Client) -> dict[tuple[str, str], float]:
    """Sums by name and process."""
    found = dict[tuple[str, str], float]()
    for line in client.get("/metrics").raise_for_status().text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            process = re.search(r'process="(\d)"', series)
            key = (series.partition("{")[0], process[1] if process else "")
            found[key] = found.get(key, 0) + float(value)
    return found


def _other(client: httpx.Client) -> str:
    """The process of two that does not hold the connection of a client: the one that counts no scrape of it."""
    lines = [
        {
            line
            for line in client.get("/metrics").text.splitlines()
            if '"/metrics"' in line and "descry_requests_" in line
        }
        for _ in range(3)
    ]
    (mine,) = {found[1] for line in lines[2] - lines[1] if (found := re.search(r'process="(\d)"', line))}
    return "10"[int(mine)]


def _workers(pid: int) -> list[str]:
    children = [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in _read(path).split()]
    return [child.decode() for child in children if b"\0worker\0" in _read(Path(f"/proc/{child.decode()}/cmdline"))]


def _read(path: Path) -> bytes:
    """What the system tells of a thread or a process; nothing of one that has ended meanwhile."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
