"""Chains of requests, as somebody makes them who reads the document: what one answer names, the next request asks for,
changes and deletes. schemathesis finds the links in the document; every answer must be one that the document allows.

`DESCRY_FUZZ_CHAINS` (8) is how many chains, `DESCRY_FUZZ_STEPS` (15) how long each may be; `DESCRY_FUZZ_SEED` (1)
chooses others.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.core.transport import Response

from app.core import Core
from app.settings import Settings
from tests.app.conftest import IngestFolder
from tests.app.test_document_fuzzing import CHECKS, SEED
from tests.app.toy import picture
from tests.served import serving

CHAINS = int(os.environ.get("DESCRY_FUZZ_CHAINS", "8"))
STEPS = int(os.environ.get("DESCRY_FUZZ_STEPS", "15"))
STREAMS = "/v1/jobs/{job_id}/events"
"""It ends with its job, and no worker is there."""
FOUND = {"image_id": "/candidates/0/images/0/id", "identity_id": "/candidates/0/identity/id", "query_id": "/query_id"}
NAMED: list[tuple[str, str, str, dict[str, str]]] = [
    ("post", "/v1/search/text", "200", FOUND),
    ("post", "/v1/search/composed", "200", FOUND),
    (
        "post",
        "/v1/queries/{query_id}/feedback",
        "201",
        {"feedback_id": "/feedback/0/id", "query_id": "/feedback/0/query_id"},
    ),
    ("get", "/v1/identities/{identity_id}", "200", {"image_id": "/images/0/id", "identity_id": "/id"}),
    ("get", "/v1/queries", "200", {"query_id": "/queries/0/id"}),
    ("get", "/v1/jobs", "200", {"job_id": "/jobs/0/id"}),
    ("post", "/v1/gallery/batches", "202", {"job_id": "/id"}),
    ("post", "/v1/exports", "202", {"job_id": "/id"}),
    ("post", "/v1/associations", "202", {"association_id": "/id", "job_id": "/job_id"}),
    ("get", "/v1/models", "200", {"version_id": "/models/0/id"}),
]
"""What answers name: where an id of the paths stands in them."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", maintenance_s=3600, device="cpu")


@pytest.fixture
def url(core: Core, ingest: IngestFolder, tmp_path: Path) -> Iterator[str]:
    for shade, colour in enumerate(("red", "green", "blue", "white", "black", "orange")):
        picture(tmp_path / "pictures" / f"{shade}.jpg", colour)
    ingest(tmp_path / "pictures")
    with serving(core.settings) as found:
        yield found


def linked(document: dict[str, Any]) -> dict[str, Any]:
    """The operations whose answers name something, with a link from there to every operation that asks for such. (The
    others are in `test_document_fuzzing`; here most chains would be made of them.)"""
    kept = {path for _, path, _, _ in NAMED}
    operations = [(path, one) for path, item in document["paths"].items() for one in item.values()]
    for method, path, status, ids in NAMED:
        links = {}
        for place, operation in operations:
            wanted = set(re.findall(r"\{([^}]+)\}", place))
            if wanted and wanted <= set(ids):
                parameters = {name: f"$response.body#{ids[name]}" for name in wanted}
                kept.add(place)
                links[operation["operationId"]] = {"operationId": operation["operationId"], "parameters": parameters}
        assert links, (method, path)
        document["paths"][path][method]["responses"][status]["links"] = links
    document["paths"] = {path: item for path, item in document["paths"].items() if path in kept}
    return document


def test_chains_of_requests_answer_as_the_document_says(url: str, record_property: Any) -> None:  # noqa: ANN401
    answer = requests.get(f"{url}/openapi.json", timeout=60)
    document: Any = schemathesis.openapi.from_dict(linked(answer.json()))
    document.config.generation.update(modes=[GenerationMode.POSITIVE], with_security_parameters=False)
    files = {"files": ("1.jpg", b"a job that no worker takes")}
    assert requests.post(f"{url}/v1/gallery/batches", files=files, timeout=60).status_code == 202
    document = document.exclude(method="GET", path=STREAMS)
    heard: Counter[str] = Counter()
    followed: Counter[str] = Counter()
    machine: Any = document.as_state_machine()

    class Chains(machine):  # type: ignore[misc]
        def before_call(self, case: Any) -> None:  # noqa: ANN401
            """Of random words nothing is found, and chains would end where they begin."""
            if case.operation.path == "/v1/search/text" and isinstance(case.body, dict):
                case.body = {"query": "a person in a red coat", "limit": 3}

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:  # noqa: ANN401
            return {"timeout": 60, "session": session, "base_url": url}

        def validate_response(self, response: Response, case: Any, **_: Any) -> None:  # noqa: ANN401
            label = f"{case.operation.method.upper()} {case.operation.path}"
            heard[label] += 1
            followed[label] += 200 <= response.status_code < 300 and "{" in case.operation.path
            assert response.status_code < 500, (label, response.text)
            case.validate_response(response, checks=CHECKS)

    how = hypothesis.settings(
        max_examples=CHAINS,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    with requests.Session() as session:
        try:
            hypothesis.seed(SEED)(Chains).run(settings=how)
        except BaseException as error:
            error.add_note(f"DESCRY_FUZZ_SEED={SEED} DESCRY_FUZZ_CHAINS={CHAINS} DESCRY_FUZZ_STEPS={STEPS}")
            raise
        finally:
            told = (
                f"{heard.total()} requests to {len(heard)} operations, {followed.total()} of them found what an answer"
            )
            record_property("fuzz", f"{CHAINS} chains, seed {SEED}: {told} before had named")
    assert followed.total() > 0, "no request asked for what another one had made"
