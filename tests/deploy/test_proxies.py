"""Descry behind the proxies of deploy/, with TLS: real Caddy, real nginx, a real server."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.database.sessions import Database
from app.jobs.service import JobService
from app.settings import Settings
from models.checkpoint import DEMO
from tests.programs import program
from tests.waiting import LIMIT_S, free_port

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
Command = Callable[[Path, str, int], list[str]]


def wait_for(what: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + LIMIT_S
    while not what():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends, log.read_text()
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", verify=False, timeout=20).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def running(words: list[str], log: Path, environment: dict[str, str], url: str) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=environment, stdout=out, stderr=out)
    try:
        wait_for(lambda: answers(url), process, log)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def nginx(folder: Path, upstream: str, port: int) -> list[str]:
    """The shipped file, with this machine's paths, ports and a certificate of its own."""
    subject = ["-subj", "/CN=localhost", "-days", "2", "-keyout", "key.pem", "-out", "fullchain.pem"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(["openssl", "req", "-x509", *key, *subject], cwd=folder, check=True, capture_output=True)
    text = (DEPLOY / "nginx.conf").read_text()
    changes = [
        ("/etc/ssl/descry", str(folder)),
        ("/run/nginx.pid", str(folder / "nginx.pid")),
        ("127.0.0.1:8000", upstream),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
        ("server_name descry.example.org", "server_name localhost"),
        ("http {", "http {\n" + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in TEMPORARY)),
    ]
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]


TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def caddy(folder: Path, upstream: str, port: int) -> list[str]:
    """The shipped file; it takes everything from the environment, but for the ports and the administration."""
    text = (DEPLOY / "Caddyfile").read_text()
    assert "{\n\tgrace_period" in text
    alone = "admin off\n\tskip_install_trust\n\tauto_https disable_redirects"
    changed = text.replace("{\n\tgrace_period", f"{{\n\t{alone}\n\tgrace_period", 1)
    (folder / "Caddyfile").write_text(changed)
    own = {"DESCRY_SITE": f"https://localhost:{port}", "DESCRY_TLS": "tls internal", "DESCRY_UPSTREAMS": upstream}
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    words = [f"{name}={value}" for name, value in {**own, **home}.items()]
    return ["env", *words, "caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.fixture(scope="module", params=[caddy, nginx], ids=["caddy", "nginx"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, Path, Command]]:
    """A server for each proxy, as wrong keys make all wait who come through it.

    Its address; an admin key; its data folder; and the command of the proxy. It believes proxies of this machine.
    """
    program(request.param.__name__)
    folder, port = tmp_path_factory.mktemp("behind"), free_port()
    with opened(Settings(data_dir=folder / "data", device="cpu")) as core:
        activate_version(core, register_checkpoint(core, DEMO, "demo").id)
    own = {"DESCRY_DATA_DIR": str(folder / "data"), "DESCRY_TRUSTED_PROXIES": "127.0.0.1", "DESCRY_DEVICE": "cpu"}
    environment = {**os.environ, **own, "DESCRY_PORT": str(port)}
    words = [sys.executable, "-m", "app.cli"]
    made = subprocess.run(
        [*words, "keys", "create", "test", "--scope", "admin"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    with running([*words, "serve", "--no-worker"], folder / "log", environment, f"http://127.0.0.1:{port}"):
        yield f"127.0.0.1:{port}", made.stdout.strip(), folder / "data", request.param


@pytest.fixture(scope="module")
def proxy(server: tuple[str, str, Path, Command], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    url = f"https://localhost:{port}"
    with running(server[3](folder, server[0], port), folder / "log", dict(os.environ), url):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        headers = {"Authorization": f"Bearer {server[1]}"}
        with httpx.Client(base_url=url, headers=headers, verify=context, timeout=30) as client:
            yield client


def test_a_search_passes_and_the_cookie_is_for_tls_only(proxy: httpx.Client) -> None:
    answer = proxy.post("/v1/search/text", json={"query": "a man in a blue jacket", "purpose": "case 17"})
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    signed = proxy.post("/v1/session", headers={"Origin": str(proxy.base_url).rstrip("/")})
    assert signed.status_code == 200
    assert "secure" in signed.headers["set-cookie"].lower()
    assert proxy.post("/v1/session", headers={"Origin": "https://elsewhere.example"}).status_code == 403


def test_a_large_body_reaches_the_server_which_alone_refuses_it(proxy: httpx.Client) -> None:
    large = proxy.post("/v1/gallery/batches", files={"archive": ("a.zip", b"PK" + bytes(24 * 2**20))})
    assert large.json()["code"].startswith(("batch", "archive"))
    picture = proxy.post("/v1/search/image", files={"file": ("a.jpg", bytes(21 * 2**20))})
    assert (picture.status_code, picture.json()["code"]) == (413, "body_too_large")


def test_events_arrive_as_they_come(proxy: httpx.Client, server: tuple[str, str, Path, Command]) -> None:
    database = Database(Settings(data_dir=server[2]).database)
    with database.write() as session:
        job = JobService(session).create("export", {"collection": None}).id  # nobody takes it: there is no worker
    lines: list[str] = []
    cancelled = False
    with proxy.stream("GET", f"/v1/jobs/{job}/events") as events:
        for line in events.iter_lines():
            lines.append(line)
            if not cancelled and '"queued"' in line:
                cancelled = True
                with database.write() as session:  # only now: the first event was here before the stream ended
                    JobService(session).cancel(job)
    assert any('"cancelled"' in line for line in lines)


def test_a_client_cannot_choose_its_address(proxy: httpx.Client) -> None:
    # The last test of each server, which answers this machine 429 from here on.
    statuses = []
    for number in range(30):
        headers = {"Authorization": "Bearer wrong", "X-Forwarded-For": f"203.0.113.{number}"}
        statuses.append(proxy.get("/v1/gallery", headers=headers).status_code)
    assert set(statuses) <= {401, 429}
    assert 429 in statuses
