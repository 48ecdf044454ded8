"""Chains of requests, as somebody makes them who reads the document: what one answer names, the next request asks for,
changes and deletes. schemathesis finds the links in the document; every answer must be one that the document allows.

`DESCRY_FUZZ_CHAINS` (8) is how many chains, `DESCRY_FUZZ_STEPS` (15) how long each may be; `DESCRY_FUZZ_SEED` (1)
chooses others.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
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
    ("post", "/v1/exports", "202", {"job_id": "/id"}),
    ("post", "/v1/associations", "202", {"association_id": "/id", "job_id": "/job_id"}),
    ("get", "/v1/models", "200", {"version_id": "/models/0/id"}),
]
"""What answers name: where an id of the paths stands in them."""
ENDS = ("/cancel", "/undo")
WORDS = "a person in a red coat"
RIGHT: dict[str, Any] = {
    "POST /v1/search/text": {"query": WORDS, "limit": 3},
    "POST /v1/search/composed": {"parts": [{"text": WORDS}], "negatives": [{"text": "a blue coat"}], "limit": 3},
    "POST /v1/queries/{query_id}/search": {"use_feedback": True, "limit": 3},
    "POST /v1/queries/{query_id}/feedback": [{"verdict": "confirm", "image_id": 1}],
    "POST /v1/identities/{identity_id}/merge": {"identities": [2, 3]},
    "POST /v1/identities/{identity_id}/split": {"image_ids": [2]},
    "POST /v1/images/{image_id}/heatmap": {"query": WORDS},
    "POST /v1/images/{image_id}/support": {"query": WORDS},
    "POST /v1/exports": {},
    "POST /v1/associations": {"threshold": 0.5},
}
"""Bodies that the gallery has an answer for. Of random words nothing is found and random numbers are nobody's: chains
would end where they begin. (Random bodies are in `test_document_fuzzing`.)"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", maintenance_s=3600, device="cpu")


@pytest.fixture
def gallery(core: Core, ingest: IngestFolder, tmp_path: Path) -> Settings:
    """A gallery that no server has open: six people, a query, and a job that no worker takes."""
    for shade, colour in enumerate(("red", "green", "blue", "white", "black", "orange")):
        picture(tmp_path / "pictures" / f"{shade}.jpg", colour)
    ingest(tmp_path / "pictures")
    with serving(core.settings) as url:
        files = {"files": ("1.jpg", b"a job that no worker takes")}
        assert requests.post(f"{url}/v1/gallery/batches", files=files, timeout=60).status_code == 202
        assert requests.post(f"{url}/v1/search/text", json={"query": WORDS}, timeout=60).status_code == 200
    core.close()
    return core.settings


@contextmanager
def fresh(gallery: Settings) -> Iterator[str]:
    """A server over a copy of the gallery."""
    with TemporaryDirectory(dir=gallery.data_dir.parent) as folder:
        data = shutil.copytree(gallery.data_dir, Path(folder) / "data")
        with serving(gallery.model_copy(update={"data_dir": data})) as url:
            yield url


def linked(document: dict[str, Any]) -> dict[str, Any]:
    """The operations whose answers name something, with a link from there to every operation that asks for such. (The
    others are in `test_document_fuzzing`; here most chains would be made of them.)"""
    kept = {(method, path) for method, path, _, _ in NAMED}
    operations = [(path, method, one) for path, item in document["paths"].items() for method, one in item.items()]
    for method, path, status, ids in NAMED:
        links = {}
        for place, verb, operation in operations:
            wanted = set(re.findall(r"\{([^}]+)\}", place))
            if wanted and wanted <= set(ids):
                parameters = {name: f"$response.body#{ids[name]}" for name in wanted}
                kept.add((verb, place))
                links[operation["operationId"]] = {"operationId": operation["operationId"], "parameters": parameters}
        assert links, (method, path)
        document["paths"][path][method]["responses"][status]["links"] = links
    document["paths"] = {
        path: {method: one for method, one in item.items() if (method, path) in kept}
        for path, item in document["paths"].items()
    }
    return document


@dataclass
class Seen:
    """What the chains did."""

    heard: Counter[str] = field(default_factory=Counter)
    followed: Counter[str] = field(default_factory=Counter)
    """Requests that were right for an id that an answer had named."""
    ended: list[bool] = field(default_factory=list)
    """Of each chain, whether it deleted, cancelled or undid such a thing."""

    def __str__(self) -> str:
        asked = f"{self.heard.total()} requests to {len(self.heard)} operations"
        found = f"{self.followed.total()} of them found what an answer before had named"
        return f"{asked}, {found}; {sum(self.ended)} chains of {len(self.ended)} deleted, cancelled or undid it"


class Chain:
    """One chain, with a gallery of its own. hypothesis begins many chains as it began others, and gives up with
    `FlakyStrategyDefinition` when an answer then names nothing because a chain before has deleted it."""

    gallery: Settings
    seen: Seen

    def setup(self) -> None:
        self.steps: list[str] = []
        self.seen.ended.append(False)
        self.opened = ExitStack()
        self.session = self.opened.enter_context(requests.Session())
        self.url = self.opened.enter_context(fresh(self.gallery))

    def teardown(self) -> None:
        self.opened.close()

    def before_call(self, case: Any) -> None:  # noqa: ANN401
        if (label := _label(case)) in RIGHT:
            case.body, case.media_type = RIGHT[label], "application/json"
        if "{" not in case.operation.path:
            case.query = {}  # the whole list

    def get_call_kwargs(self, case: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"timeout": 60, "session": self.session, "base_url": self.url}

    def validate_response(self, response: Response, case: Any, **_: Any) -> None:  # noqa: ANN401
        label, seen, asked = _label(case), self.seen, response.request
        found = 200 <= response.status_code < 300 and "{" in case.operation.path
        seen.heard[label] += 1
        seen.followed[label] += found
        seen.ended[-1] |= found and (asked.method == "DELETE" or label.endswith(ENDS))
        self.steps.append(f"{asked.method} {asked.path_url} {asked.body!r:.300} -> {response.status_code}")
        try:
            assert response.status_code < 500, (label, response.text)
            case.validate_response(response, checks=CHECKS)
        except (AssertionError, FailureGroup) as error:
            error.add_note("the chain:\n" + "\n".join(self.steps))
            raise


def _label(case: Any) -> str:  # noqa: ANN401
    return f"{case.operation.method.upper()} {case.operation.path}"


def test_chains_of_requests_answer_as_the_document_says(gallery: Settings, record_property: Any) -> None:  # noqa: ANN401
    with fresh(gallery) as url:
        answer = requests.get(f"{url}/openapi.json", timeout=60)
    document: Any = schemathesis.openapi.from_dict(linked(answer.json()))
    document.config.generation.update(modes=[GenerationMode.POSITIVE], with_security_parameters=False)
    document.config.phases.stateful.inference.algorithms = []  # what it guesses from names leads to few answers
    document = document.exclude(method="GET", path=STREAMS)
    seen = Seen()
    chains: Any = type("Chains", (Chain, document.as_state_machine()), {"gallery": gallery, "seen": seen})
    how = hypothesis.settings(
        max_examples=CHAINS,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    try:
        hypothesis.seed(SEED)(chains).run(settings=how)
    except BaseException as error:
        error.add_note(f"DESCRY_FUZZ_SEED={SEED} DESCRY_FUZZ_CHAINS={CHAINS} DESCRY_FUZZ_STEPS={STEPS}")
        raise
    finally:
        record_property("fuzz", f"{CHAINS} chains, seed {SEED}: {seen}")
    assert seen.followed.total() > 0, "no request asked for what another one had made"
