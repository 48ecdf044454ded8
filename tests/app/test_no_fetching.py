"""Nothing that a client sends makes the service fetch an address: there is no such route, field, file or setting.

Row 18 of the promises. Addresses are put wherever a client can put text, and the work that follows is done; what would
reach out is seen twice: by Python's audit events, and by a listener for what Python does not see (FFmpeg)."""

import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from app.core import Core
from app.database.tables import Job
from app.jobs.repository import State
from app.jobs.service import JobService
from app.settings import Settings
from models.checkpoint import CARD, SPEC, WEIGHTS
from models.errors import DescryError
from tests.app.conftest import IngestFolder
from tests.app.test_batches_api import zipped
from tests.app.test_indexing_jobs import taken
from tests.app.toy import picture
from tests.models.test_trial import compact_checkpoint
from tests.waiting import until

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
Json = dict[str, Any]
_watched: list[str] | None = None


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        _watched.append(f"{event}{arguments!r:.200}")


sys.addaudithook(_hook)


@contextmanager
def watching() -> Iterator[tuple[str, list[str]]]:
    """An address of this machine, and who reached out while it was offered: to it, or anywhere."""
    global _watched
    reached: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            while True:
                connection, address = listener.accept()
                connection.close()
                if ended.is_set():
                    return
                reached.append(f"listener: {address}")

        ended = threading.Event()
        thread = threading.Thread(target=listen)
        thread.start()
        _watched = reached
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/x.jpg", reached
        finally:
            _watched = None
            ended.set()
            socket.create_connection(listener.getsockname()).close()
            thread.join()


def work(core: Core) -> None:
    """Every job that waits, to its end."""
    while _waiting(core):
        state: State = "succeeded"
        fault: DescryError | None = None
        job_id, job = taken(core)
        try:
            job.prepare()
            while job.advance():
                pass
        except DescryError as error:
            state, fault = "failed", error
        with core.database.write() as session:
            JobService(session).finish(JobService(session).find(job_id), state, fault)


def _waiting(core: Core) -> bool:
    with core.database.read() as session:
        return session.scalar(select(Job.id).where(Job.state == "queued").limit(1)) is not None


def sample(schema: Json, address: str) -> Any:  # noqa: ANN401  JSON
    """A value of a schema in which every free text is the address."""
    if "$ref" in schema:
        return sample(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], address)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for kinds in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
        if kinds:
            texts = [kind for kind in kinds if kind.get("type") == "string"]
            return sample((texts or kinds)[0], address)
    kind = schema.get("type")
    if kind == "object":
        return {name: sample(part, address) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [sample(schema["items"], address)]
    return {"string": address, "integer": 1, "number": 1, "boolean": True, None: address}[kind]


def bodies(schema: Json, address: str) -> Iterator[Json]:
    """All of it; and what is required with one more each, so that one wrong value does not hide the others."""
    whole = sample(schema, address)
    if not isinstance(whole, dict):
        return
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    needed = {name: whole[name] for name in schema.get("required", ())}
    yield whole
    yield needed
    yield from ({**needed, name: value} for name, value in whole.items() if name not in needed)


def test_addresses_in_texts_are_texts(client: TestClient, core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "p" / "1.jpg", "red")
    ingest(tmp_path / "p")
    query = client.post("/v1/search/text", json={"query": "red"}).json()["query_id"]
    sent, statuses = 0, set[int]()
    with watching() as (address, reached):
        for path, item in DOCUMENT["paths"].items():
            for method, operation in item.items():
                if path.startswith(("/v1/admin/keys", "/v1/session")) or path.endswith("/events"):
                    continue  # the first key would end the open mode; a stream does not end
                place = re.sub(r"\{[^}]+\}", lambda name: query if "query" in name[0] else "1", path)
                given = [one for one in operation.get("parameters", []) if one["in"] != "path"]
                named = {
                    kind: {one["name"]: address for one in given if one["in"] == kind} for kind in ("query", "header")
                }
                contents = operation.get("requestBody", {}).get("content", {})
                schema = contents.get("application/json", {}).get("schema")
                for body in bodies(schema, address) if schema else [None]:
                    for parameters in ({}, named["query"]):
                        headers = named["header"] | {"Referer": address, "X-Forwarded-Host": address}
                        answer = client.request(method, place, json=body, params=parameters, headers=headers)
                        assert answer.status_code < 500, (method, path, body, answer.text)
                        statuses.add(answer.status_code)
                        sent += 1
        work(core)
        assert reached == []
    assert sent > 150
    assert {200, 201, 202, 404, 422} <= statuses


def test_addresses_in_files_are_not_followed(client: TestClient, core: Core, tmp_path: Path) -> None:
    whole = picture(tmp_path / "1.jpg", "red").read_bytes()
    with watching() as (address, reached):
        listed = [{"file": address}, {"file": "1.jpg", "camera": address, "description": address, "url": address}]
        manifest = "\n".join(map(json.dumps, listed)).encode()
        table = f"file,image_url\n{address},{address}\n1.jpg,{address}\n".encode()
        for name, data in (("manifest.jsonl", manifest), ("manifest.csv", table)):
            batch = client.post("/v1/gallery/batches", files={"archive": ("a", zipped({"1.jpg": whole, name: data}))})
            assert batch.status_code == 202, batch.text
        lists = {
            "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{address}\n#EXT-X-ENDLIST\n",
            "b.mp4": f"ffconcat version 1.0\nfile '{address}'\n",
            "c.mpd": f'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{address}</BaseURL></MPD>',
            "d.sdp": f"v=0\nc=IN IP4 127.0.0.1\nm=video {address.split(':')[2][:5].strip('/')} RTP/AVP 96\n",
            "e.gif": address,
        }
        for name, text in lists.items():
            job = client.post("/v1/gallery/videos", params={"name": name}, content=text.encode())
            assert job.status_code == 202, job.text
        work(core)
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{address}"/></svg>'
        assert client.post("/v1/search/image", files={"file": ("a.svg", svg.encode())}).status_code == 422
        assert reached == []
    jobs = client.get("/v1/jobs").json()["jobs"]
    assert sorted(job["state"] for job in jobs) == ["failed"] * len(lists) + ["succeeded"] * 2


def strings_of(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401  JSON
    if isinstance(value, str):
        yield place
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else list(enumerate(value))[:2]:
            yield from strings_of(part, (*place, key))


@pytest.mark.parametrize(
    "name", ["{address}", "hf-hub:descry/none", "hf-hub:{address}", "descry/none", "timm/vit_base"]
)
def test_a_checkpoint_names_no_address(client: TestClient, tmp_path: Path, name: str) -> None:
    """Libraries of models download what their names ask for. A checkpoint brings all that it needs, or is refused."""
    folder = compact_checkpoint(tmp_path / "outside")
    spec, refused = json.loads((folder / SPEC).read_text()), 0
    with watching() as (address, reached):
        for place in strings_of(spec):
            changed = json.loads(json.dumps(spec))
            part = changed
            for key in place[:-1]:
                part = part[key]
            part[place[-1]] = name.format(address=address)
            files = {
                "spec": json.dumps(changed).encode(),
                "weights": (folder / WEIGHTS).read_bytes(),
                "card": (folder / CARD).read_bytes(),
            }
            answer = client.post("/v1/models", files=files, data={"name": f"n{place}"})
            assert answer.status_code in (201, 422), answer.text
            refused += answer.status_code == 422
        assert reached == []
    assert refused >= 3


def test_the_watch_sees_what_it_is_there_for() -> None:
    with watching() as (address, reached):
        host, port = address.split("/")[2].split(":")
        socket.create_connection((host, int(port))).close()
        until(lambda: len(reached) >= 3, "the listener was reached")
    assert sorted(text.split("(")[0].split(":")[0] for text in reached) == [
        "listener",
        "socket.connect",
        "socket.getaddrinfo",
    ]


def test_addresses_in_settings_are_those_of_stores() -> None:
    """No setting turns fetching on. A new setting that holds an address has to be looked at here."""
    named = {
        name for name in Settings.model_fields if re.search("ur[il]|endpoint|address|webhook|proxy|proxies|hook", name)
    }
    assert named == {"database_url", "s3_endpoint", "milvus_uri", "trusted_proxies"}
