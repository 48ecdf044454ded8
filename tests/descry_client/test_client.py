"""The client against a real server: searches, uploads, jobs, errors, keys, retries."""

import asyncio
import zipfile
from pathlib import Path

import httpx
import pytest

from app.core import Core
from descry_client import (
    AsyncClient,
    Client,
    ConflictError,
    ConnectionFailedError,
    ForbiddenError,
    InvalidRequestError,
    JobEndedError,
    NotAuthorisedError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from descry_client.models import ComposedPart, Filters, RetentionRuleIn
from tests.app.conftest import IngestFolder
from tests.app.test_jobs_api import run
from tests.loops import finished


def test_a_folder_is_uploaded_searched_and_deleted(descry: Client, core: Core, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    job = descry.gallery.upload_folder(folder, collection="door", progress=lambda sent, of: told.append((sent, of)))
    assert told[-1][0] == told[-1][1]
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
    assert run(core) == job.id
    heard: list[str] = []
    done = descry.jobs.wait(job.id, told=lambda news: heard.append(type(news).__name__))
    assert done.counts is not None
    assert (done.counts.ingested, done.counts.rejected) == (6, 0)
    assert {"JobOut", "JobLine"} <= set(heard)
    assert {item.name for item in descry.jobs.items(job.id, page=2)} >= {"a.jpg", "below/f.jpg"}
    assert [one.id for one in descry.jobs.all(page=1)] == [job.id]
    answer = descry.search.text("red coat", limit=1, collection="door", filters=Filters(provisional=True))
    best = answer.candidates[0]
    assert descry.images.file(best.images[0].id)[:2] == b"\xff\xd8"
    assert descry.identities.get(best.identity.id).images[0].id == best.images[0].id
    assert len({one.identity.id for one in descry.search.text_candidates("red coat", page=2)}) == 6
    descry.images.delete(best.images[0].id)
    with pytest.raises(NotFoundError) as gone:
        descry.images.get(best.images[0].id)
    assert (gone.value.code, gone.value.status) == ("image_not_found", 404)
    assert gone.value.request_id
    assert descry.gallery.summary().images == 5


def test_rules_of_retention_are_set_and_read(descry: Client) -> None:
    assert descry.retention.get().rules == []
    rules = [RetentionRuleIn(collection="default", days=30), RetentionRuleIn(collection="default", camera="a", days=2)]
    told = [(rule.camera, rule.days, rule.due) for rule in descry.retention.replace(rules).rules]
    assert told == [(None, 30, 0), ("a", 2, 0)]
    assert [(rule.camera, rule.days, rule.due) for rule in descry.retention.get().rules] == told


def test_pictures_and_parts_are_queries_too(descry: Client, ingest: IngestFolder, folder: Path) -> None:
    ingest(folder)
    by_picture = descry.search.image(folder / "a.jpg", limit=3, filters={"provisional": True})
    assert by_picture.candidates[0].images[0].source_name == "a.jpg"
    both = descry.search.composed(
        [ComposedPart(picture="mine"), {"text": "red coat"}],
        negatives=[{"text": "green coat"}],
        pictures={"mine": (folder / "a.jpg").read_bytes()},
    )
    assert both.candidates[0].images[0].source_name == "a.jpg"
    kept = descry.queries.name(both.query_id, "case 17")
    assert [query.id for query in descry.queries.all(saved=True)] == [kept.id]
    descry.queries.judge(kept.id, [{"identity_id": both.candidates[0].identity.id, "verdict": "confirm"}])
    assert len(descry.queries.feedback(kept.id).feedback) == 1
    assert descry.queries.results(kept.id, form="pdf").startswith(b"%PDF")


def test_two_keys_identify_a_person(url: str, descry: Client, ingest: IngestFolder, folder: Path) -> None:
    ingest(folder)
    boss = Client(url, descry.keys.create("boss", ["admin"]).key)
    ann, ben = (Client(url, boss.keys.create(name, ["search"]).key) for name in ("ann", "ben"))
    asked = ann.search.text("a red coat", purpose="case 17")
    whom = asked.candidates[0].identity.id
    made = ann.identifications.propose(asked.query_id, whom, purpose="case 17", note="her coat")
    with pytest.raises(ConflictError) as refused:
        ann.identifications.confirm(made.id)
    assert refused.value.code == "second_person_needed"
    assert [one.may for one in ben.identifications.all(state="proposed", page=1)] == [["confirm", "refuse"]]
    assert ben.identifications.confirm(made.id, "hers").state == "confirmed"
    assert ann.identifications.withdraw(made.id, "her sister").state == "withdrawn"
    again = ben.identifications.propose(asked.query_id, whom, purpose="case 17", note="x", image_ids=made.image_ids)
    assert ann.identifications.refuse(again.id, "her sister").state == "refused"
    assert boss.identifications.get(again.id).decided is not None
    for client in (boss, ann, ben):
        client.close()


def test_the_same_with_async_and_await(url: str, core: Core, folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*.jpg"):
            file.write(path, path.relative_to(folder))

    async def walk() -> list[int]:
        async with AsyncClient(url) as descry:
            first = await descry.gallery.upload_archive(archive, idempotency_key="one")
            again = await descry.gallery.upload_archive(archive, idempotency_key="two")
            assert first.id != again.id
            await asyncio.to_thread(run, core)
            await descry.jobs.wait(first.id)
            with pytest.raises(WaitTimeoutError):
                await descry.jobs.wait(again.id, timeout_s=0.01)
            cancelled = await descry.jobs.cancel(again.id)
            with pytest.raises(JobEndedError) as ended:
                await descry.jobs.wait(cancelled.id, poll_s=0.05)
            assert ended.value.job.state == "cancelled"
            return [one.identity.id async for one in descry.search.text_candidates("red coat", page=4)]

    assert len(set(finished(walk()))) == 6


def test_the_server_s_code_is_in_the_error(descry: Client) -> None:
    with pytest.raises(InvalidRequestError) as wrong:
        descry.search.text("")
    assert wrong.value.code == "query_empty"
    with pytest.raises(NotFoundError) as lost:
        descry.jobs.get("../keys")
    assert lost.value.code in ("job_not_found", "not_found")
    with pytest.raises(ValueError, match="job_id"):
        descry.jobs.get("..")


def test_a_key_is_sent_and_shown_nowhere(url: str) -> None:
    with Client(url) as nobody:
        admin = nobody.keys.create("root", ["admin"])
        with pytest.raises(NotAuthorisedError) as refused:
            nobody.search.text("red")
        assert refused.value.code == "key_required"
    with Client(url, admin.key) as chief:
        searcher = chief.keys.create("desk", ["search"])
        assert chief.who().scopes == ["search", "ingest", "admin"]
        assert (chief.who().purpose_required, chief.who().purpose_free_collections) == (True, [])
        assert [one.name for one in chief.keys.all()] == ["root", "desk"]
        assert admin.key not in repr(chief) + str(vars(chief)["_transport"])
    with Client(url, searcher.key) as desk:
        with pytest.raises(ForbiddenError) as scope:
            desk.keys.all()
        assert scope.value.code == "scope_missing"
        assert searcher.key not in repr(scope.value) + str(scope.value.problem)
    secret = "descry_aaaaaaaa_secretsecret"
    with Client("http://127.0.0.1:9", secret) as away, pytest.raises(ConnectionFailedError) as failed:
        away.health()
    assert secret not in repr(failed.value)
    assert failed.value.__suppress_context__
    for address in (f"http://user:{secret}@host", f"https://host/?key={secret}", "host"):
        with pytest.raises(ValueError, match="address") as address_error:
            Client(address)
        assert secret not in str(address_error.value)


class Busy(httpx.BaseTransport):
    """What a busy server answers, which no test can make a real one answer at will."""

    def __init__(self, *statuses: int, wait: str | None = "0") -> None:
        self.statuses, self.wait, self.asked = list(statuses), wait, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            return httpx.Response(200, json={"status": "ok", "id": 1, "name": "x", "images": 0, "created_at": 0})
        headers = {} if self.wait is None else {"Retry-After": self.wait}
        problem = {"type": "t", "title": "t", "detail": "d", "code": "busy", "instance": "/", "request_id": "r"}
        return httpx.Response(status, json={**problem, "status": status}, headers=headers)


def busy(*statuses: int, wait: str | None = "0") -> tuple[Client, Busy]:
    transport = Busy(*statuses, wait=wait)
    return Client("http://127.0.0.1:1", http=httpx.Client(transport=transport)), transport


def test_a_busy_server_is_asked_again_within_bounds() -> None:
    client, server = busy(429, 503, 429)
    assert client.health().status == "ok"
    assert server.asked == 4
    client, server = busy(429, 429, 429, 429)
    with pytest.raises(RateLimitedError) as error:
        client.health()
    assert (server.asked, error.value.retry_after_s) == (4, 0)
    client, server = busy(429, wait="3600")
    with pytest.raises(RateLimitedError):
        client.health()
    assert server.asked == 1, "so long a wait is for the caller to decide"


def test_what_may_have_been_done_is_not_sent_again() -> None:
    client, server = busy(503)
    with pytest.raises(ServerError):
        client.collections.create("x")
    assert server.asked == 1
    client, server = busy(429)
    client.collections.create("x")
    assert server.asked == 2


def test_an_answer_of_something_else_is_told_apart() -> None:
    def other(request: httpx.Request) -> httpx.Response:
        return httpx.Response(502 if "healthz" in request.url.path else 200, text="<html>proxy</html>")

    client = Client("http://127.0.0.1:1", http=httpx.Client(transport=httpx.MockTransport(other)))
    with pytest.raises(UnexpectedAnswerError, match="502"):
        client.health()
    with pytest.raises(UnexpectedAnswerError, match="JobDetail"):
        client.jobs.get("x")
