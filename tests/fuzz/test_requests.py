"""Requests to the whole application, on either database: none is answered 500, each refusal has a code."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.core import Core
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import IngestFolder, core, empty_core, ingest
from tests.app.toy import picture
from tests.fuzz.harness import Record, fuzz, mutated, often
from tests.fuzz.samples import pictures, videos
from tests.fuzz.test_archives import archives
from tests.fuzz.test_manifests import manifests
from tests.fuzz.test_pictures import given as some_pictures
from tests.fuzz.test_queries import bodies, documents, tokens
from tests.fuzz.values import scalars, texts, trees

__all__ = ["core", "empty_core", "ingest"]
DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
KEPT_OUT = ("/v1/admin/", "/events", "/activate", "/rollback", "/encode", "/v1/session")
"""Keys would end the open mode, streams do not end, and the others start processes or encode the gallery."""
BOUNDARY = "b0undary"
ORIGINS = ["http://127.0.0.1:8000", "http://[", "http://[::1", "null", "https://evil.example", "http://\xff"]


@dataclass(frozen=True)
class Sent:
    method: str
    url: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def _text(value: object) -> str:
    return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace").decode()


def _header(value: str) -> str:
    return re.sub(r"[\r\n\0]", "", value.encode("latin-1", "replace").decode("latin-1"))[:300]


def _as_json(content: bytes, *, method: str = "POST", url: str) -> Sent:
    return Sent(method, url, content, {"Content-Type": "application/json"})


def _form(parts: list[tuple[str, str | None, bytes]]) -> bytes:
    """A multipart body, of names that no client would send."""
    made = b""
    for name, filename, content in parts:
        told = "" if filename is None else f'; filename="{filename}"'
        made += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{told}\r\n\r\n'.encode(
            "utf-8", "replace"
        )
        made += content + b"\r\n"
    return made + f"--{BOUNDARY}--\r\n".encode()


@st.composite
def forms(draw: st.DrawFn, url: str, parts: st.SearchStrategy[Any]) -> Sent:
    body = parts.map(_form)
    content = draw(often((5, body), (1, mutated(body)), (1, st.binary(max_size=80))))
    kind = draw(
        st.sampled_from(
            [f"multipart/form-data; boundary={BOUNDARY}"] * 9
            + ["multipart/form-data", "text/plain", "multipart/form-data; boundary="]
        )
    )
    headers = {"Content-Type": kind} | draw(
        st.dictionaries(st.just("Idempotency-Key"), texts.map(_header).filter(str.strip), max_size=1)
    )
    return Sent("POST", url, content, headers)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


searches = st.builds(
    lambda url, body: _as_json(encoded(body), url=url),
    st.sampled_from(["/v1/search/text", "/v1/search/composed"]),
    bodies,
)
broken = st.builds(
    lambda url, body: _as_json(body, url=url),
    st.sampled_from(["/v1/search/text", "/v1/search/composed"]),
    mutated(bodies.map(encoded)),
)
filenames = often((3, st.sampled_from(["1.jpg", "a/2.jpg", "m.csv", "m.jsonl"])), (1, texts))
files = st.tuples(st.just("files"), filenames, some_pictures)
listed = manifests.map(lambda one: ("manifest", f"m.{one[0]}", one[1]))
packed = archives.map(lambda data: [("archive", "a", data)])
batches = often(
    (3, packed),
    (2, st.lists(often((3, files), (1, listed)), max_size=3)),
    (1, st.lists(st.tuples(texts, st.none() | texts, st.binary(max_size=9)), max_size=2)),
)
options = st.sampled_from(["limit", "filters", "cursor", "group_by", "purpose", "collection"])
fields = st.lists(
    st.tuples(options, st.none(), often((1, documents), (1, tokens()), (2, texts)).map(encoded)), max_size=2
)
pictured = st.builds(lambda file, more: [("file", "a", file), *more], some_pictures, fields)
composed = st.builds(lambda query, some: [("query", None, encoded(query)), *some], bodies, st.lists(files, max_size=2))


@st.composite
def footage(draw: st.DrawFn) -> Sent:
    named = draw(
        st.dictionaries(st.sampled_from(["camera", "start", "collection", "fps"]), texts | st.just("2"), max_size=2)
    )
    url = "/v1/gallery/videos?" + urlencode(
        {"name": _text(draw(filenames)), **{key: _text(value) for key, value in named.items()}}
    )
    return Sent(
        "POST",
        url,
        draw(mutated(st.sampled_from(videos())) | st.binary(max_size=20)),
        {"Content-Type": "application/octet-stream"},
    )


OPERATIONS = [
    (
        method.upper(),
        path,
        [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"],
        "requestBody" in operation,
    )
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if not any(part in path for part in KEPT_OUT)
    and path not in ("/v1/models", "/v1/gallery/batches", "/v1/gallery/videos")
]
ids = often(
    (4, st.integers(1, 4).map(str)), (1, st.sampled_from(["job", "query"])), (2, texts | st.integers().map(str))
)
BODIES = [
    "images",
    "identities",
    "name",
    "external_id",
    "attributes",
    "description",
    "purpose",
    "verdicts",
    "drop_names",
    "undo",
    "collection",
    "identity_id",
    "image_id",
    "verdict",
    "limit",
    "threshold",
    "cursor",
]


@st.composite
def operations(draw: st.DrawFn) -> Sent:
    """Any route of the document, with ids, parameters and bodies of any kind. `job` and `query` are ids that exist."""
    method, path, parameters, body = draw(st.sampled_from(OPERATIONS))
    for name in re.findall(r"\{[^}]+\}", path):
        kind = "job" if "job" in name else "query" if "query" in name else ""
        value = draw(often((2, st.just(kind)), (1, ids)) if kind else ids)
        path = path.replace(name, value if value == kind and kind else quote(_text(value), safe=""))
    given = (
        draw(st.dictionaries(st.sampled_from(parameters), often((1, texts), (1, scalars), (1, tokens())), max_size=3))
        if parameters
        else {}
    )
    url = path + ("?" + urlencode({key: _text(value) for key, value in given.items()}) if given else "")
    if not body:
        return Sent(
            method,
            url,
            headers=draw(
                st.dictionaries(
                    st.sampled_from(
                        ["If-None-Match", "Range", "X-Request-ID", "Accept", "Origin", "Authorization", "Cookie"]
                    ),
                    texts.map(_header),
                    max_size=1,
                )
            ),
        )
    near = st.dictionaries(
        st.sampled_from(BODIES),
        often((2, st.lists(st.integers(1, 4), max_size=3)), (2, st.integers(1, 4)), (2, texts), (1, trees)),
        max_size=3,
    )
    sent = _as_json(encoded(json.dumps(draw(often((4, near), (1, trees))))), method=method, url=url)
    origin = draw(often((9, st.just("")), (1, st.sampled_from(ORIGINS) | texts.map(_header))))
    return Sent(sent.method, sent.url, sent.content, sent.headers | ({"Origin": origin} if origin else {}))


requests = often(
    (4, searches),
    (2, broken),
    (3, forms("/v1/search/image", pictured)),
    (2, forms("/v1/search/composed", composed)),
    (5, forms("/v1/gallery/batches", batches)),
    (1, footage()),
    (8, operations()),
)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    limits: dict[str, Any] = {
        "max_batch_bytes": 2_000_000,
        "max_batch_files": 40,
        "max_pixels": 50_000,
        "min_free_bytes": 0,
    }
    return Settings(data_dir=tmp_path / "data", database_url=database_url, device="cpu", maintenance_s=3600, **limits)


@pytest.fixture
def client(core: Core, settings: Settings, ingest: IngestFolder, tmp_path: Path) -> Iterator[TestClient]:
    for shade, colour in enumerate(("red", "green", "blue")):
        picture(tmp_path / "p" / f"{shade}.jpg", colour)
    ingest(tmp_path / "p")
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as found:
        yield found


# Of a broken multipart body, the framework leaves the part's temporary file to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")
def test_no_request_is_answered_500(client: TestClient, record_property: Record) -> None:
    query = client.post("/v1/search/text", json={"query": "red"}).json()["query_id"]
    job = client.post("/v1/gallery/batches", files={"files": ("1.jpg", pictures()[0])}).json()["id"]

    def send(sent: Sent) -> str:
        url = re.sub(r"(?<=/)job\b", job, re.sub(r"(?<=/)query\b", query, sent.url))
        headers = {name.encode(): value.encode("latin-1") for name, value in sent.headers.items()}
        # An error that nobody foresaw is raised here, with its traceback.
        answer = client.request(sent.method, url, content=sent.content, headers=headers, follow_redirects=False)
        assert answer.status_code < 500, (sent, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json", (sent, answer.text)
            assert re.fullmatch("[a-z_0-9]+", answer.json()["code"])
        return str(answer.status_code)

    seen = fuzz(requests, send, record_property)
    assert {"200", "422"} <= set(seen)
    assert client.get("/readyz").status_code == 200
