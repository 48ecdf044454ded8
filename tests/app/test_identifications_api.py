"""Identifications over HTTP: two keys, what a sheet of results says of them, and who does not see them."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.core import Core
from app.identifications.schemas import NOTICE
from app.subject.package import Subject
from tests.app.test_access_api import make
from tests.app.test_audit_api import entries
from tests.app.test_limited_keys import ids
from tests.app.test_query_results import rows

__all__ = ["ids"]
Headers = dict[str, str]
Json = Any


@pytest.fixture
def keys(client: TestClient, ids: dict[str, int]) -> dict[str, Headers]:
    """Two people who search, an administrator, and two keys for one collection each."""
    admin = make(client, "admin")
    secret = admin["Authorization"].removeprefix("Bearer ")
    found = {name: make(client, "search", admin=secret, name=name) for name in ("ann", "ben")}
    for name in ("north", "south"):
        found[name] = make(client, "search", admin=secret, collections=[name], name=name)
    return found | {"admin": admin}


def ask(client: TestClient, headers: Headers) -> str:
    body = {"query": "a green person", "limit": 10, "purpose": "case 7"}
    answer = client.post("/v1/search/text", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["query_id"])


def propose(client: TestClient, headers: Headers, query_id: str, identity_id: int, /, **more: object) -> Any:  # noqa: ANN401
    body = {"query_id": query_id, "identity_id": identity_id, "purpose": "case 7", "note": "the scar"} | more
    return client.post("/v1/identifications", json=body, headers=headers)


def act(client: TestClient, headers: Headers, number: int, what: str, **body: object) -> Any:  # noqa: ANN401
    return client.post(f"/v1/identifications/{number}/{what}", json=body, headers=headers)


def test_without_keys_there_is_no_second_person(client: TestClient, ids: dict[str, int]) -> None:
    refused = propose(client, {}, ask(client, {}), ids["here"])
    assert (refused.status_code, refused.json()["code"]) == (409, "second_person_missing")
    assert "descry keys create" in refused.json()["detail"]
    assert client.get("/v1/identifications").json() == {"identifications": [], "next_before": None}


def test_two_people_identify_one(client: TestClient, keys: dict[str, Headers], ids: dict[str, int]) -> None:
    query = ask(client, keys["ann"])
    made = propose(client, keys["ann"], query, ids["both"]).json()
    assert (made["state"], made["notice"], made["may"]) == ("proposed", NOTICE, ["withdraw"])
    assert sorted(made["image_ids"]) == sorted([ids["north/both"], ids["south/both"]])
    refused = act(client, keys["ann"], made["id"], "confirm")
    assert (refused.status_code, refused.json()["code"]) == (409, "second_person_needed")
    (waiting,) = client.get("/v1/identifications?state=proposed", headers=keys["ben"]).json()["identifications"]
    assert (waiting["id"], waiting["may"]) == (made["id"], ["confirm", "refuse"])
    assert waiting["query"]["words"] == "“a green person”"
    confirmed = act(client, keys["ben"], made["id"], "confirm").json()
    assert (confirmed["state"], confirmed["notice"]) == ("confirmed", "Confirmed by two people: ann and ben.")
    again = act(client, keys["admin"], made["id"], "confirm")
    assert (again.status_code, again.json()["code"]) == (409, "identification_settled")
    stranger = act(client, keys["north"], made["id"], "withdraw", reason="no")
    assert stranger.status_code == 404  # it rests on an image of the south
    ended = act(client, keys["ben"], made["id"], "withdraw", reason="it is her sister").json()
    assert (ended["state"], ended["withdrawn"]["note"], ended["notice"]) == ("withdrawn", "it is her sister", NOTICE)


def test_the_audit_names_both_people_and_what_they_said(
    client: TestClient, core: Core, keys: dict[str, Headers], ids: dict[str, int]
) -> None:
    query = ask(client, keys["ann"])
    number = propose(client, keys["ann"], query, ids["here"]).json()["id"]
    act(client, keys["ann"], number, "confirm")
    act(client, keys["ben"], number, "confirm", note="seen twice")
    client.get(f"/v1/identifications/{number}", headers=keys["ben"])
    told = [one for one in entries(core) if "identification" in one.action]
    assert [(one.action, one.actor, one.outcome) for one in told] == [
        ("change.identification", "ann", "ok"),
        ("change.identification.confirm", "ann", "second_person_needed"),
        ("change.identification.confirm", "ben", "ok"),
        ("view.identification", "ben", "ok"),
    ]
    proposed, _, confirmed, viewed = told
    assert json.loads(proposed.words or "") == {"note": "the scar", "purpose": "case 7", "query_id": query}
    assert json.loads(confirmed.words or "") == {"reason": "seen twice"}
    assert (confirmed.facts["identification"], confirmed.facts["state"]) == (number, "confirmed")
    for one in (proposed, confirmed, viewed):
        assert (one.identity_ids, one.image_ids) == ([ids["here"]], [ids["north/here"]])


def test_a_subject_is_told_what_was_said(
    client: TestClient, core: Core, keys: dict[str, Headers], ids: dict[str, int]
) -> None:
    number = propose(client, keys["ann"], ask(client, keys["ann"]), ids["here"]).json()["id"]
    act(client, keys["ben"], number, "refuse", reason="taller")
    (told,) = Subject(core, ids["here"]).summary()["identified"]
    assert (told["state"], told["note"], told["decision_note"]) == ("refused", "the scar", "taller")
    assert told["image_ids"] == [ids["north/here"]]
    assert "ann" not in json.dumps(told)
    assert Subject(core, ids["there"]).summary()["identified"] == []


def test_pages_filters_and_the_person(client: TestClient, keys: dict[str, Headers], ids: dict[str, int]) -> None:
    query = ask(client, keys["ann"])
    numbers = [propose(client, keys["ann"], query, ids[who]).json()["id"] for who in ("both", "here", "there")]
    act(client, keys["ben"], numbers[1], "refuse", reason="another one")

    def listed(**parameters: object) -> Json:
        return client.get("/v1/identifications", params=parameters, headers=keys["ben"]).json()  # type: ignore[arg-type]

    assert [one["id"] for one in listed()["identifications"]] == numbers[::-1]
    page = listed(limit=2)
    assert [one["id"] for one in listed(before=page["next_before"])["identifications"]] == numbers[:1]
    assert [one["id"] for one in listed(state="refused")["identifications"]] == [numbers[1]]
    assert [one["id"] for one in listed(identity_id=ids["there"])["identifications"]] == [numbers[2]]
    assert listed(query_id="0" * 32)["identifications"] == []
    one = client.get(f"/v1/identifications/{numbers[0]}", headers=keys["ben"]).json()
    assert one["identity"]["external_id"] == "both"


def test_ids_of_another_collection_are_not_found(
    client: TestClient, keys: dict[str, Headers], ids: dict[str, int]
) -> None:
    query = ask(client, keys["ann"])
    there = propose(client, keys["ann"], query, ids["there"]).json()["id"]
    both = propose(client, keys["ann"], query, ids["both"]).json()["id"]
    here = propose(client, keys["ann"], query, ids["here"]).json()["id"]
    for number in (there, both):
        assert client.get(f"/v1/identifications/{number}", headers=keys["north"]).status_code == 404
        for what, body in (("confirm", {}), ("refuse", {"reason": "x"}), ("withdraw", {"reason": "x"})):
            assert act(client, keys["north"], number, what, **body).status_code == 404
    listed = client.get("/v1/identifications", headers=keys["north"]).json()["identifications"]
    assert [one["id"] for one in listed] == [here]
    own = ask(client, keys["north"])
    assert propose(client, keys["north"], own, ids["there"]).json()["code"] == "identity_not_found"
    for strange in (ids["south/both"], ids["north/here"]):
        refused = propose(client, keys["north"], own, ids["both"], image_ids=[strange])
        assert refused.json()["code"] == "image_not_found"
    assert propose(client, keys["north"], query, ids["both"]).json()["code"] == "query_not_found"  # ann's
    assert propose(client, keys["north"], own, ids["both"]).json()["image_ids"] == [ids["north/both"]]
    assert act(client, keys["north"], here, "confirm").json()["state"] == "confirmed"


@pytest.mark.parametrize(
    "wrong",
    [
        {"purpose": " "},
        {"note": ""},
        {"note": "a\0b"},
        {"purpose": "x" * 201},
        {"query_id": "../x"},
        {"image_ids": []},
        {"image_ids": [0]},
        {"identity_id": 2**63},
        {"state": "confirmed"},
    ],
)
def test_what_cannot_be_is_refused(client: TestClient, keys: dict[str, Headers], wrong: dict[str, object]) -> None:
    answer = propose(client, keys["ann"], "0" * 32, 1, **wrong)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_refusal_needs_its_reason(client: TestClient, keys: dict[str, Headers], ids: dict[str, int]) -> None:
    number = propose(client, keys["ann"], ask(client, keys["ann"]), ids["here"]).json()["id"]
    for body in ({}, {"reason": " "}, {"reason": None}):
        assert act(client, keys["ben"], number, "refuse", **body).status_code == 422
    assert act(client, keys["ben"], number, "refuse", reason="taller").json()["decided"]["note"] == "taller"


def test_sheets_tell_the_state_of_each(client: TestClient, keys: dict[str, Headers], ids: dict[str, int]) -> None:
    query = ask(client, keys["ann"])
    sheet = {"headers": keys["ann"]}
    confirmed = propose(client, keys["ann"], query, ids["both"], image_ids=[ids["north/both"]]).json()["id"]
    assert act(client, keys["ben"], confirmed, "confirm").status_code == 200
    propose(client, keys["ann"], query, ids["here"])
    address = f"/v1/queries/{query}/results?format="
    by_image = {int(row["image_id"]): row for row in rows(client.get(f"{address}csv", **sheet).text)}  # type: ignore[arg-type]
    told = {image: (row["identification"], row["notice"]) for image, row in by_image.items()}
    assert told == {
        ids["north/both"]: ("confirmed", "Confirmed by two people: ann and ben."),
        ids["south/both"]: ("", NOTICE),  # the same person, by an image that nobody has confirmed
        ids["north/here"]: ("proposed", NOTICE),
        ids["south/there"]: ("", NOTICE),
    }
    whole = json.loads(client.get(f"{address}json", **sheet).content)  # type: ignore[arg-type]
    assert whole["notice"] == NOTICE
    assert {one["identity_id"]: one["state"] for one in whole["identifications"]} == {
        ids["both"]: "confirmed",
        ids["here"]: "proposed",
    }
    page = client.get(f"{address}html", **sheet).text  # type: ignore[arg-type]
    assert "identified by two people: ann and ben, by 1 of 2 images" in page
    assert "proposed as an identification by ann, not confirmed: a candidate" in page
    assert "1 person, each confirmed by two keys; everybody else is a candidate" in page
    assert NOTICE in page
    assert client.get(f"{address}pdf", **sheet).content.startswith(b"%PDF-")  # type: ignore[arg-type]


def test_the_latest_proposal_is_told_where_an_earlier_one_was_refused(
    client: TestClient, keys: dict[str, Headers], ids: dict[str, int]
) -> None:
    query = ask(client, keys["ann"])
    first = propose(client, keys["ann"], query, ids["here"]).json()["id"]
    act(client, keys["ben"], first, "refuse", reason="no")
    propose(client, keys["ben"], query, ids["here"])
    page = client.get(f"/v1/queries/{query}/results?format=html", headers=keys["ann"]).text
    assert "proposed as an identification by ben" in page
    assert "identification refused" not in page
