"""/metrics: what it counts, that its labels are few, and that it is there when the database is not."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.access.rules import UNKNOWN_ROUTE, route_of, rules
from app.core import Core
from app.database.tables import Job, JobItem, now
from app.errors import DatabaseUnreachableError
from app.jobs.names import names_in_use, worker_name
from app.metrics import service
from app.metrics.instruments import STAGES
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people

Found = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(client: TestClient, **headers: str) -> Found:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: Found, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


@pytest.fixture(autouse=True)
def _fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "COUNTS_KEPT_S", -1.0)


def test_requests_are_counted_by_route_and_status(client: TestClient) -> None:
    before = read(client)
    for number in (4711, 4712):
        assert client.get(f"/v1/identities/{number}").status_code == 404
    client.get("/nobody/was/here")
    client.request("BREW", "/healthz")
    found = read(client)

    def grown(**labels: str) -> float:
        return value(found, "descry_requests_total", **labels) - value(before, "descry_requests_total", **labels)

    assert grown(method="GET", route="/v1/identities/{id}", status="404") == 2
    assert grown(method="GET", route=UNKNOWN_ROUTE, status="404") == 1
    assert grown(method="other", route="/healthz", status="405") == 1
    timed = "descry_request_seconds_count"
    assert value(found, timed, route="/v1/identities/{id}") - value(before, timed, route="/v1/identities/{id}") == 2


def test_a_search_counts_each_stage_and_its_place_in_the_queue(
    client: TestClient, ingest: IngestFolder, tmp_path: Path
) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    before = read(client)
    for _ in range(2):
        ask(client, "a person in a red coat")
    found = read(client)
    name = "descry_search_stage_seconds_count"
    grown = {stage: value(found, name, stage=stage) - value(before, name, stage=stage) for stage in STAGES}
    # The second one was in the cache, and waited for nothing.
    assert grown == {"wait": 1, "encode": 2, "search": 2, "fetch": 2, "total": 2}
    assert value(found, "descry_text_cache_lookups_total", result="hit") == 1
    assert value(found, "descry_encoder_items_total", queue="texts", outcome="answered") == 1
    assert value(found, "descry_encoder_items_total", queue="texts", outcome="refused") == 0
    assert value(found, "descry_encoder_waiting", queue="texts") == 0


def test_the_index_says_how_far_it_is_behind(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    ask(client, "red")  # catches up
    found = read(client)
    assert value(found, "descry_index_vectors", space="text") == 24
    assert value(found, "descry_index_exact", space="text") == 1
    assert value(found, "descry_index_lag", space="text") == 0
    assert value(found, "descry_log_head") == value(found, "descry_index_applied", space="text") == 24
    assert value(found, "descry_active_model_version") == value(found, "descry_loaded_model_version") == 1
    assert value(found, "process_resident_memory_bytes") > 2**20


def test_jobs_items_and_workers(client: TestClient, core: Core) -> None:
    with core.database.write() as session:
        for number, (state, worker) in enumerate((("running", "one"), ("failed", None), ("failed", None))):
            job = Job(id=f"job-{number}", kind="ingest", resource="encoder", state=state, parameters={}, worker=worker)
            job.heartbeat_at = now() if worker else None
            session.add(job)
        session.flush()
        for place, status in enumerate(("ingested", "ingested", "rejected", None)):
            session.add(JobItem(job_id="job-0", position=place, name="a", status=status))
    with worker_name(core.settings.workers_dir, "here"):
        assert names_in_use(core.settings.workers_dir) == ["here"]
        found = read(client)
    assert value(found, "descry_jobs", kind="ingest", state="failed") == 2
    assert value(found, "descry_jobs", kind="ingest", state="running") == 1
    assert [value(found, "descry_job_items", kind="ingest", status=one) for one in ("ingested", "rejected")] == [2, 1]
    assert value(found, "descry_job_items", kind="ingest", status="waiting") == 1
    assert value(found, "descry_workers_here") == value(found, "descry_workers_busy") == 1
    assert 0 <= value(found, "descry_job_heartbeat_age_seconds") < 60
    assert names_in_use(core.settings.workers_dir) == []


def test_labels_are_few_and_say_nothing_of_anybody(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    ask(client, "somebody in a purple coat", purpose="case 4711")
    client.get("/v1/identities/4713?purpose=turquoise")
    text = client.get("/metrics").text
    said = "\n".join(line if line.startswith("#") else line.rsplit(" ", 1)[0] for line in text.splitlines())
    assert 'route="/v1/search/text"' in said  # figures are left out: any digits may stand in an instant
    for word in ("purple", "4711", "4713", "turquoise", "cam-0", "toy", "default"):
        assert word not in said, word
    routes = {path for _, path in rules()} | {UNKNOWN_ROUTE}
    assert set(re.findall(r'route="([^"]*)"', text)) <= routes
    assert set(re.findall(r'[{,](\w+)="', text)) == {
        *("method", "route", "status", "le", "stage", "space", "queue", "outcome", "result", "kind", "state")
    }
    assert route_of("/v1/images/77/file") == "/v1/images/{id}/file"


def test_an_absent_database_is_a_figure_and_no_error(
    client: TestClient, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> None:
        raise DatabaseUnreachableError("away")

    monkeypatch.setattr("app.metrics.service._State._head", away)
    found = read(client)
    assert value(found, "descry_database_up") == 0
    assert value(found, "descry_loaded_model_version") == 1
    assert not any(name == "descry_log_head" for name, _ in found)


def test_only_an_administrator_reads_them_once_there_is_a_key(client: TestClient) -> None:
    made = client.post("/v1/admin/keys", json={"name": "a", "scopes": ["admin"]}).json()["key"]
    admin = {"Authorization": f"Bearer {made}"}
    search = client.post("/v1/admin/keys", json={"name": "s", "scopes": ["search"]}, headers=admin).json()["key"]
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": f"Bearer {search}"}).status_code == 403
    assert value(read(client, **admin), "descry_database_up") == 1
