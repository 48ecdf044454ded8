"""The service keeps to its OpenAPI document, whatever comes: schemathesis makes requests from it, right and wrong ones.

`DESCRY_FUZZ_EXAMPLES` (3) is how many of each kind each operation gets; `DESCRY_FUZZ_SEED` (1) chooses others.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.core.control import SkipTest
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as conformance

from app.core import Core
from app.settings import Settings
from tests.app.conftest import IngestFolder
from tests.app.toy import picture
from tests.served import serving

EXAMPLES = int(os.environ.get("DESCRY_FUZZ_EXAMPLES", "3"))
SEED = int(os.environ.get("DESCRY_FUZZ_SEED", "1"))
SLOW = {("POST", "/v1/admin/retraining-jobs"): 2}
"""Each request that is right starts a process of `training`."""
KEPT_OUT = {
    ("POST", "/v1/admin/keys"),  # the first key would end the open mode
    ("DELETE", "/v1/admin/keys/{key_id}"),  # these two would end the key that the test uses
    ("POST", "/v1/admin/keys/{key_id}/rotate"),
}
CHECKS = [
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_headers_conformance,
    conformance.response_schema_conformance,
]


@dataclass(frozen=True)
class Served:
    url: str
    key: str


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data", maintenance_s=3600, device="cpu", key_rate_per_minute=10**9, key_rate_burst=10**6
    )


@pytest.fixture(params=["open", "keys"])
def served(request: pytest.FixtureRequest, core: Core, ingest: IngestFolder, tmp_path: Path) -> Iterator[Served]:
    for shade, colour in enumerate(("red", "green", "blue")):
        picture(tmp_path / "pictures" / f"{shade}.jpg", colour)
    ingest(tmp_path / "pictures")
    with serving(core.settings) as url:
        key = ""
        if request.param == "keys":
            made = requests.post(f"{url}/v1/admin/keys", json={"name": "root", "scopes": ["admin"]}, timeout=60)
            key = made.json()["key"]
        yield Served(url, key)


def faults(served: Served, mode: GenerationMode) -> dict[str, str]:
    """The first fault of each operation, by its name."""
    found: dict[str, str] = {}
    document = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    document.config.generation.update(modes=[mode], with_security_parameters=False)
    headers = {"Authorization": f"Bearer {served.key}"} if served.key else {}
    with requests.Session() as session:
        for result in document.get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            name = (operation.method.upper(), operation.path)
            if name in KEPT_OUT:
                continue

            @hypothesis.seed(SEED)
            @hypothesis.settings(
                max_examples=SLOW.get(name, EXAMPLES),
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.explicit, Phase.generate],
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case[Any]) -> None:
                response = case.call(base_url=served.url, session=session, headers=headers, timeout=60)
                assert response.status_code < 500, response.text
                case.validate_response(response, checks=CHECKS)

            try:
                check()
            except SkipTest:
                assert mode is GenerationMode.NEGATIVE  # nothing of such a request can be wrong
            except (AssertionError, FailureGroup) as error:
                found[" ".join(name)] = f"{error!r}"[:1500]
    return found


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_operation_answers_as_the_document_says(served: Served, mode: GenerationMode) -> None:
    assert faults(served, mode) == {}
