"""Queries as things over HTTP: found, listed, named, asked again, judged, deleted."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import Core
from app.errors import DatabaseWriteError
from app.queries.repository import QueryRepository
from app.queries.service import sweep
from tests.app.conftest import IngestFolder
from tests.app.test_search_api import ask, people
from tests.app.toy import COLOURS, toy_checkpoint
from tests.waiting import LIMIT_S

Json = dict[str, Any]


@pytest.fixture
def filled(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> TestClient:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return client


def jpeg(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 130), COLOURS[colour]).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def by_picture(client: TestClient, colour: str, **options: str) -> Json:
    files = {"file": ("query.jpg", jpeg(colour), "image/jpeg")}
    response = client.post("/v1/search/image", files=files, data=options)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def got(client: TestClient, path: str, status: int = 200) -> Json:
    response = client.get(path)
    assert response.status_code == status, response.text
    found: Json = response.json()
    return found


def again(client: TestClient, query_id: str, status: int = 200, **body: Any) -> Json:  # noqa: ANN401  JSON
    response = client.post(f"/v1/queries/{query_id}/search", json=body)
    assert response.status_code == status, response.text
    found: Json = response.json()
    return found


def judge(client: TestClient, query_id: str, *verdicts: Json, status: int = 201) -> Json:
    response = client.post(f"/v1/queries/{query_id}/feedback", json=list(verdicts))
    assert response.status_code == status, response.text
    found: Json = response.json()
    return found


def shown(answer: Json) -> list[str]:
    return [candidate["identity"]["external_id"] for candidate in answer["candidates"]]


def ids(answer: Json) -> list[int]:
    return [candidate["identity"]["id"] for candidate in answer["candidates"]]


def test_a_search_is_kept_with_what_was_asked(filled: TestClient) -> None:
    answer = ask(filled, "a red coat", limit=3, purpose="case 17", filters={"cameras": ["cam-0"]})
    kept = got(filled, f"/v1/queries/{answer['query_id']}")
    assert kept["definition"] == {
        "query": "a red coat",
        "limit": 3,
        "images_per_identity": 4,
        "group_by": "identity",
        "filters": {"cameras": ["cam-0"]},
    }
    assert (kept["kind"], kept["words"], kept["purpose"]) == ("text", "“a red coat”", "case 17")
    assert (kept["name"], kept["feedback"], kept["outdated"]) == (None, 0, False)
    assert kept["model_version"] == answer["model_version"]
    assert again(filled, answer["query_id"])["candidates"] == answer["candidates"]
    odd = ask(filled, "a red\0 coat", purpose=" case\0 18 ")
    assert got(filled, f"/v1/queries/{odd['query_id']}")["purpose"] == "case 18"


@contextmanager
def unwritable() -> Iterator[None]:
    """Queries cannot be written, all else can: without the audit's entries no search would be answered."""

    def full(self: QueryRepository, rows: list[Json]) -> None:
        raise DatabaseWriteError("no room")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(QueryRepository, "add", full)
        yield


def test_a_query_is_found_before_it_is_written(filled: TestClient, core: Core) -> None:
    serving: Core = filled.app.state.core  # type: ignore[attr-defined]  # the application of the client
    with unwritable():
        answer = ask(filled, "a red coat")
        assert serving.recorder.find(answer["query_id"]) is not None
        assert got(filled, f"/v1/queries/{answer['query_id']}")["words"] == "“a red coat”"
        assert shown(again(filled, answer["query_id"], limit=1)) == ["red"]
    assert serving.recorder.settle(answer["query_id"])
    assert serving.recorder.find(answer["query_id"]) is None
    assert got(filled, f"/v1/queries/{answer['query_id']}")["words"] == "“a red coat”"


def test_pages_of_an_answer_are_one_query(filled: TestClient) -> None:
    first = ask(filled, "a red coat", limit=2)
    second = ask(filled, "a red coat", limit=2, cursor=first["next_cursor"])
    assert second["query_id"] == first["query_id"]
    third = again(filled, first["query_id"], limit=2, cursor=second["next_cursor"])
    assert third["query_id"] == first["query_id"]
    assert len({*ids(first), *ids(second), *ids(third)}) == 6
    assert [query["id"] for query in got(filled, "/v1/queries")["queries"]] == [first["query_id"]]


def test_saved_searches_are_listed_renamed_and_deleted(filled: TestClient) -> None:
    made = [ask(filled, f"a {colour} coat")["query_id"] for colour in COLOURS]
    path = f"/v1/queries/{made[2]}"
    saved = filled.patch(path, json={"name": "  lost child, gate 4 ", "purpose": "case 9"}).json()
    assert (saved["name"], saved["purpose"]) == ("lost child, gate 4", "case 9")
    assert saved["saved_at"] is not None
    assert [query["id"] for query in got(filled, "/v1/queries?saved=true")["queries"]] == [made[2]]
    renamed = filled.patch(path, json={"name": "gate 5"}).json()
    assert (renamed["name"], renamed["purpose"], renamed["saved_at"]) == ("gate 5", "case 9", saved["saved_at"])

    seen: list[str] = []
    page = got(filled, "/v1/queries?limit=3")
    while True:
        seen += [query["id"] for query in page["queries"]]
        if page["next_cursor"] is None:
            break
        page = got(filled, f"/v1/queries?limit=3&cursor={page['next_cursor']}")
    assert seen == made[::-1]

    assert filled.delete(path).status_code == 204
    assert got(filled, path, 404)["code"] == "query_not_found"
    assert got(filled, "/v1/queries?saved=true")["queries"] == []
    unnamed = filled.patch(f"/v1/queries/{made[0]}", json={"name": "x"}).json()
    assert filled.patch(f"/v1/queries/{unnamed['id']}", json={"name": None}).json()["saved_at"] is None


@pytest.mark.parametrize(
    "body", [{"name": " "}, {"name": "a" * 201}, {"name": "a\0b"}, {"purpose": "p" * 201}, {"x": 1}]
)
def test_names_that_cannot_be_are_refused(filled: TestClient, body: Json) -> None:
    query_id = ask(filled, "a red coat")["query_id"]
    response = filled.patch(f"/v1/queries/{query_id}", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_a_picture_is_asked_again_from_its_vector_and_is_not_kept(filled: TestClient, core: Core) -> None:
    answer = by_picture(filled, "green", limit="3")
    kept = got(filled, f"/v1/queries/{answer['query_id']}")
    assert kept["kind"] == "image"
    assert len(kept["definition"]["picture"]["sha256"]) == 64
    second = again(filled, answer["query_id"])
    assert second["candidates"] == answer["candidates"]
    assert second["query_id"] == answer["query_id"]
    stored = [path for path in core.settings.data_dir.rglob("*") if path.is_file()]
    assert not any(jpeg("green") in path.read_bytes() for path in stored)


def test_a_picture_of_another_version_is_outdated_and_words_are_not(
    filled: TestClient, core: Core, tmp_path: Path
) -> None:
    picture, words = by_picture(filled, "green")["query_id"], ask(filled, "a green coat")["query_id"]
    other = toy_checkpoint(tmp_path / "other", words=(*COLOURS, "coat", "a"))
    activate_version(core, register_checkpoint(core, other, "other").id)
    serving: Core = filled.app.state.core  # type: ignore[attr-defined]  # the application of the client
    serving.active.follow()
    refused = again(filled, picture, 409)
    assert refused["code"] == "query_outdated"
    assert got(filled, f"/v1/queries/{picture}")["outdated"] is True
    fresh = again(filled, words)
    assert shown(fresh)[0] == "green"
    assert fresh["model_version"]["name"] == "other"
    assert got(filled, f"/v1/queries/{words}")["model_version"]["name"] == "toy"


def test_feedback_changes_the_second_answer(filled: TestClient) -> None:
    first = ask(filled, "a red coat", limit=8)
    order = ids(first)
    given = judge(
        filled,
        first["query_id"],
        {"identity_id": order[0], "verdict": "reject", "note": "too tall"},
        {"identity_id": order[3], "verdict": "confirm"},
    )
    assert [(row["verdict"], row["note"], row["counts"]) for row in given["feedback"]] == [
        ("reject", "too tall", True),
        ("confirm", None, True),
    ]
    plain = again(filled, first["query_id"])
    assert plain["candidates"] == first["candidates"]
    learnt = again(filled, first["query_id"], use_feedback=True)
    assert order[0] not in ids(learnt)
    assert ids(learnt)[0] == order[3]
    assert sorted(ids(learnt)) == sorted(order[1:])
    assert [warning["code"] for warning in learnt["warnings"]] == ["feedback_used"]
    assert learnt["candidates"][0]["score"] > first["candidates"][3]["score"]
    assert got(filled, f"/v1/queries/{first['query_id']}")["feedback"] == 2


def test_a_rejected_image_is_left_out_and_its_person_is_not(filled: TestClient) -> None:
    first = ask(filled, "a red coat", limit=8)
    best = first["candidates"][0]
    image = best["images"][0]["id"]
    judge(filled, first["query_id"], {"image_id": image, "verdict": "reject"})
    learnt = again(filled, first["query_id"], use_feedback=True, images_per_identity=20)
    assert best["identity"]["id"] in ids(learnt)
    assert image not in [one["id"] for candidate in learnt["candidates"] for one in candidate["images"]]


def test_pages_of_an_answer_with_feedback_hold_until_the_feedback_changes(filled: TestClient) -> None:
    first = ask(filled, "a red coat", limit=8)
    order = ids(first)
    judge(filled, first["query_id"], {"identity_id": order[1], "verdict": "reject"})
    walk: list[int] = []
    cursor = None
    while True:
        page = again(filled, first["query_id"], use_feedback=True, limit=2, cursor=cursor)
        walk += ids(page)
        if (cursor := page["next_cursor"]) is None:
            break
        following = cursor
    assert walk == ids(again(filled, first["query_id"], use_feedback=True))
    assert len(walk) == 7
    assert again(filled, first["query_id"], 422, limit=2, cursor=following)["code"] == "cursor_mismatch"
    judge(filled, first["query_id"], {"identity_id": order[1], "verdict": "confirm"})
    assert again(filled, first["query_id"], 422, use_feedback=True, cursor=following)["code"] == "cursor_mismatch"


def test_the_latest_verdict_counts_and_can_be_taken_back(filled: TestClient) -> None:
    first = ask(filled, "a red coat")
    path = f"/v1/queries/{first['query_id']}/feedback"
    identity = ids(first)[0]
    judge(filled, first["query_id"], {"identity_id": identity, "verdict": "reject"})
    judge(
        filled,
        first["query_id"],
        {"identity_id": identity, "verdict": "reject"},
        {"identity_id": identity, "verdict": "confirm"},
    )
    (row,) = got(filled, path)["feedback"]
    assert (row["verdict"], row["identity_id"], row["image_id"]) == ("confirm", identity, None)
    assert filled.delete(f"{path}/{row['id']}").status_code == 204
    assert got(filled, path)["feedback"] == []
    assert filled.delete(f"{path}/{row['id']}").json()["code"] == "feedback_not_found"


def test_verdicts_that_name_nothing_are_refused_as_a_whole(filled: TestClient) -> None:
    first = ask(filled, "a red coat")
    good = {"identity_id": ids(first)[0], "verdict": "confirm"}
    wrong = {
        "identity_not_found": {"identity_id": 999, "verdict": "confirm"},
        "image_not_found": {"image_id": 999, "verdict": "reject"},
    }
    for code, verdict in wrong.items():
        assert judge(filled, first["query_id"], good, verdict, status=404)["code"] == code
    malformed: list[Json] = [
        {"verdict": "confirm"},
        {"identity_id": 1, "image_id": 1, "verdict": "confirm"},
        {"identity_id": 1},
    ]
    for verdict in malformed:
        assert judge(filled, first["query_id"], good, verdict, status=422)["code"] == "invalid_request"
    assert got(filled, f"/v1/queries/{first['query_id']}/feedback")["feedback"] == []
    assert judge(filled, "0" * 32, good, status=404)["code"] == "query_not_found"
    assert filled.get("/v1/queries/not-an-id").status_code == 422


def test_erasing_a_person_takes_the_feedback_and_the_vector_of_the_picture_along(filled: TestClient) -> None:
    first = by_picture(filled, "green")
    person = ids(first)[0]
    judge(
        filled,
        first["query_id"],
        {"identity_id": person, "verdict": "confirm"},
        {"identity_id": ids(first)[1], "verdict": "reject"},
        {"image_id": first["candidates"][2]["images"][0]["id"], "verdict": "reject"},
    )
    assert filled.delete(f"/v1/images/{first['candidates'][2]['images'][0]['id']}").status_code == 204
    assert filled.delete(f"/v1/identities/{person}").status_code == 204
    rows = got(filled, f"/v1/queries/{first['query_id']}/feedback")["feedback"]
    assert [row["identity_id"] for row in rows] == [ids(first)[1]]
    assert got(filled, f"/v1/queries/{first['query_id']}")["outdated"] is True
    assert again(filled, first["query_id"], 409)["code"] == "query_outdated"


def test_a_sweep_leaves_what_was_named_or_judged(filled: TestClient, core: Core) -> None:
    named, judged, plain = (ask(filled, f"a {colour} coat") for colour in ("red", "green", "blue"))
    filled.patch(f"/v1/queries/{named['query_id']}", json={"name": "kept"})
    judge(filled, judged["query_id"], {"identity_id": ids(judged)[0], "verdict": "reject"})
    serving: Core = filled.app.state.core  # type: ignore[attr-defined]  # the application of the client
    assert serving.recorder.settle(plain["query_id"])
    assert sweep(core.database, 3600.0) == 0
    assert sweep(core.database, 0.0) == 1
    left = {query["id"] for query in got(filled, "/v1/queries")["queries"]}
    assert left == {named["query_id"], judged["query_id"]}


def test_searches_go_on_where_queries_cannot_be_written(filled: TestClient, core: Core) -> None:
    """Every search of 8 threads is answered while the database takes no queries, and kept when it does again."""
    answers: list[str] = []

    def search() -> None:
        answers.append(ask(filled, "a red coat", limit=1)["query_id"])

    with unwritable():
        threads = [threading.Thread(target=search) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT_S)
        assert len(answers) == 8
    serving: Core = filled.app.state.core  # type: ignore[attr-defined]  # the application of the client
    assert all(serving.recorder.settle(query_id) for query_id in answers)
    assert {query["id"] for query in got(filled, "/v1/queries")["queries"]} == set(answers)


def composed(client: TestClient, query: Json, *colours: str) -> Json:
    files = [("files", (colour, jpeg(colour), "image/jpeg")) for colour in colours]
    sent: Json = {"data": {"query": json.dumps(query)}, "files": files} if files else {"json": query}
    response = client.post("/v1/search/composed", **sent)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    return found


def test_a_composed_query_is_asked_again_with_its_pictures_and_examples(filled: TestClient) -> None:
    example = ids(ask(filled, "a blue coat", limit=1))[0]
    query = {
        "parts": [{"text": "a red coat"}, {"picture": "green", "weight": 2}, {"identity_id": example, "weight": 0.5}],
        "negatives": [{"picture": "yellow"}, {"picture": "green", "weight": 0.1}],
        "purpose": "case 3",
        "limit": 3,
    }
    first = composed(filled, query, "green", "yellow")
    kept = got(filled, f"/v1/queries/{first['query_id']}")
    assert (kept["kind"], kept["purpose"], kept["outdated"]) == ("composed", "case 3", False)
    asked = kept["definition"]
    assert [sorted(part) for part in asked["parts"]] == [
        ["text", "weight"],
        ["picture", "weight"],
        ["identity_id", "weight"],
    ]
    assert asked["parts"][1]["picture"] == asked["negatives"][1]["picture"]
    assert kept["words"].startswith("“a red coat” + 2 times uploaded picture ")
    second = again(filled, first["query_id"])
    assert second["candidates"] == first["candidates"]
    assert (second["query_id"], example in ids(second)) == (first["query_id"], False)
    page = again(filled, first["query_id"], cursor=first["next_cursor"])
    assert set(ids(page)).isdisjoint(ids(first))


def test_feedback_on_a_composed_query_is_a_further_part(filled: TestClient) -> None:
    first = composed(filled, {"parts": [{"text": "a red coat"}, {"text": "a purple coat"}], "limit": 8})
    order = ids(first)
    judge(
        filled,
        first["query_id"],
        {"identity_id": order[4], "verdict": "confirm"},
        {"identity_id": order[0], "verdict": "reject"},
    )
    learnt = again(filled, first["query_id"], use_feedback=True)
    assert ids(learnt)[0] == order[4]
    assert order[0] not in ids(learnt)
    assert [part["part"] for part in learnt["candidates"][0]["parts"]] == [0, 1, 2]
    filled.delete(f"/v1/identities/{order[4]}")
    assert sorted(ids(again(filled, first["query_id"], use_feedback=True))) == sorted({*order} - {order[0], order[4]})


def test_an_example_that_was_erased_is_named(filled: TestClient) -> None:
    example = ids(ask(filled, "a blue coat", limit=1))[0]
    first = composed(filled, {"parts": [{"text": "a red coat"}, {"identity_id": example}]})
    filled.delete(f"/v1/identities/{example}")
    assert again(filled, first["query_id"], 404)["code"] == "identity_not_found"


@pytest.mark.parametrize("kind", ["text", "image"])
def test_feedback_learns_in_the_space_of_the_query(filled: TestClient, core: Core, tmp_path: Path, kind: str) -> None:
    """A model with a vector of its own for pictures, of other dimensions."""
    other = toy_checkpoint(tmp_path / "two", two_spaces=True)
    activate_version(core, register_checkpoint(core, other, "two").id)
    serving: Core = filled.app.state.core  # type: ignore[attr-defined]  # the application of the client
    serving.active.follow()
    first = ask(filled, "a red coat", limit=8) if kind == "text" else by_picture(filled, "red", limit="8")
    assert first["model_version"]["name"] == "two"
    order = ids(first)
    judge(filled, first["query_id"], {"identity_id": order[5], "verdict": "confirm"})
    assert ids(again(filled, first["query_id"], use_feedback=True))[0] == order[5]
