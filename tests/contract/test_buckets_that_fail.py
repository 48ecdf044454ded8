"""Buckets that are away for a while, or refuse: what is said, what stays, and how it goes on."""

import json
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner, Result

from app.cli import app
from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core, opened
from app.errors import BucketMissingError, StoreDeniedError
from app.jobs.service import JobService
from app.main import create_app
from app.settings import Settings
from tests.app.test_ingest_folder import rows
from tests.app.test_job_retries import work
from tests.app.test_problems import check
from tests.app.toy import picture, toy_checkpoint
from tests.end_to_end.test_service_process import pictures
from tests.waiting import free_port, until

COUNT = 150
WRONG = "a-wrong-secret-that-no-message-holds"
_ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


class Line:
    """A connection to a server that can be cut and mended; its address stays."""

    def __init__(self, server: str) -> None:
        host, _, port = server.removeprefix("http://").partition(":")
        self._server = (host, int(port))
        self.port = free_port()  # which stays ours while the line is cut
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._accept()

    def cut(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._open.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._accept()

    def _accept(self) -> None:
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self._server)
            self._open += [near, far]
            for pair in ((near, far), (far, near)):
                threading.Thread(target=_pipe, args=pair, daemon=True).start()


def _pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


def client(url: str, service: str = "s3", **keys: str) -> Any:  # noqa: ANN401  boto3 makes them at run time
    return boto3.session.Session().client(service, endpoint_url=url, region_name="us-east-1", **keys)  # type: ignore[call-overload]


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "descry-tests")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", WRONG)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def line(s3_server: str) -> Iterator[Line]:
    found = Line(s3_server)
    yield found
    found.cut()


def settings_of(folder: Path, url: str) -> Settings:
    """Of a data folder whose pictures go into a new bucket."""
    bucket = f"b-{secrets.token_hex(6)}"
    made = client(url)
    made.create_bucket(Bucket=bucket)
    made.close()
    return Settings(
        data_dir=folder,
        image_store=f"s3://{bucket}/people",
        s3_endpoint=url,
        ingest_chunk=4,
        maintenance_s=0.1,
        device="cpu",
    )


@pytest.fixture
def core(tmp_path: Path, line: Line) -> Iterator[Core]:
    found = open_core(settings_of(tmp_path / "data", line.url))
    activate_version(found, register_checkpoint(found, toy_checkpoint(tmp_path / "toy"), "toy").id)
    pictures(tmp_path / "p", COUNT)
    yield found
    found.close()


def journals(core: Core) -> list[Path]:
    return list((core.settings.images_dir / "journal").iterdir())


def test_a_store_that_goes_away_fails_the_job_and_a_retry_goes_on(core: Core, line: Line, tmp_path: Path) -> None:
    with core.database.write() as session:
        parameters = {"folder": str(tmp_path / "p"), "collection": "default"}
        job_id = JobService(session).create("ingest", parameters).id

    def done() -> int:
        with core.database.read() as session:
            return JobService(session).find(job_id).done

    worker = threading.Thread(target=work, args=(core,))
    worker.start()
    until(lambda: done() >= 8, pause_s=0.002)
    line.cut()
    worker.join()
    with core.database.read() as session:
        job = JobService(session).find(job_id)
    assert (job.state, job.error_code) == ("failed", "store_unreachable")
    assert 8 <= job.done == len(rows(core)) < COUNT
    line.mend()
    with core.database.write() as session:
        again = JobService(session).retry(job_id)
        assert again.total == COUNT - job.done
    work(core)
    assert len(rows(core)) == COUNT == len(list(core.store.names()))
    core.store.recover()
    assert journals(core) == []


def test_what_a_store_that_was_away_kept_goes_without_a_restart(core: Core, line: Line, tmp_path: Path) -> None:
    folder = tmp_path / "few"
    for number in range(2):
        picture(folder / f"{number}.jpg", "blue", shade=number)
    with core.database.write() as session:
        JobService(session).create("ingest", {"folder": str(folder), "collection": "default"})
    work(core)
    kept, gone = rows(core)
    with TestClient(create_app(core.settings), base_url="http://127.0.0.1:8000") as web:
        line.cut()
        check(web.delete(f"/v1/images/{gone.id}"), 503, "store_unreachable")
        assert web.post("/v1/search/text", json={"query": "blue"}).json()["candidates"][0]["images"][0]["id"] == kept.id
        assert len(journals(core)) == 1
        line.mend()
        until(lambda: journals(core) == [])
    assert list(core.store.names()) == [kept.store_name]


@pytest.fixture(scope="module")
def strict_server() -> Iterator[tuple[str, dict[str, str]]]:
    """A server that checks signatures and rights, and the keys of the one user who may do everything."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(url))
        first = {"aws_access_key_id": "first", "aws_secret_access_key": "first"}
        users = client(url, "iam", **first)
        users.create_user(UserName="descry")
        users.put_user_policy(UserName="descry", PolicyName="all", PolicyDocument=json.dumps(_ALLOW))
        key = users.create_access_key(UserName="descry")["AccessKey"]
        users.close()
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0", timeout=60).raise_for_status()
        yield url, {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/moto-api/", timeout=60).is_success
    except httpx.TransportError:
        return False


def test_wrong_credentials_and_a_missing_bucket_are_said(
    strict_server: tuple[str, dict[str, str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, keys = strict_server
    with pytest.MonkeyPatch.context() as right:
        for name, value in keys.items():
            right.setenv(name, value)
        settings = settings_of(tmp_path / "data", url)
    with opened(settings) as core:  # needs no store
        activate_version(core, register_checkpoint(core, toy_checkpoint(tmp_path / "toy"), "toy").id)
    picture(tmp_path / "p" / "1.jpg", "red")

    def ingest(**variables: str) -> Result:
        own = {"DATA_DIR": str(settings.data_dir), "IMAGE_STORE": settings.image_store, "S3_ENDPOINT": url}
        found = CliRunner().invoke(
            app,
            ["ingest", str(tmp_path / "p"), "--json"],
            env={f"DESCRY_{name}": value for name, value in own.items()} | variables,
        )
        assert WRONG not in found.output + str(found.exception)
        return found

    refused = ingest()
    assert isinstance(refused.exception, StoreDeniedError)
    assert "AWS_SECRET_ACCESS_KEY" in refused.exception.message
    half = ingest(AWS_ACCESS_KEY_ID=keys["AWS_ACCESS_KEY_ID"])  # the right key with the wrong secret
    assert isinstance(half.exception, StoreDeniedError)
    absent = ingest(**keys, DESCRY_IMAGE_STORE="s3://no-such-bucket-here")
    assert isinstance(absent.exception, BucketMissingError)
    assert json.loads(ingest(**keys).stdout)["ingested"] == 1
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as web:
        (missing,) = web.get("/readyz").json()["missing"]
        assert web.post("/v1/search/text", json={"query": "red"}).status_code == 200
    assert "store_denied" in missing
    assert "store_denied" in caplog.text  # said at the start as well
    assert WRONG not in caplog.text
