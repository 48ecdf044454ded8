"""Keys over HTTP: who is let in, where, and for how long. The matrix of routes and keys is made from the app itself."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from app.access.limits import Limiter
from app.access.rules import SCOPES, Need, granted, need_of, rules
from app.core import Core
from app.database.tables import now
from app.main import create_app
from app.settings import Settings
from tests.app.conftest import IngestFolder

HOLDERS = ("none", "revoked", *SCOPES)


def make(client: TestClient, *scopes: str, admin: str = "", **more: object) -> dict[str, str]:
    """The headers of a new key."""
    headers = {"Authorization": f"Bearer {admin}"} if admin else {}
    made = client.post("/v1/admin/keys", json={"name": "test", "scopes": scopes, **more}, headers=headers)
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['key']}"}


def routes(client: TestClient) -> set[tuple[str, str]]:
    """Every route of the app's own document, parameters named alike."""
    document = client.get("/openapi.json").json()
    return {
        (method.upper(), re.sub(r"\{[^}]+\}", "{id}", path))
        for path, item in document["paths"].items()
        for method in item
    }


@pytest.fixture
def keys(client: TestClient) -> dict[str, dict[str, str]]:
    """A key of each kind; after this nothing is open."""
    admin = make(client, "admin")
    secret = admin["Authorization"].removeprefix("Bearer ")
    found = {scope: make(client, scope, admin=secret) for scope in ("search", "ingest")}
    found |= {"admin": admin, "none": {}, "revoked": make(client, "admin", admin=secret)}
    revoked = found["revoked"]["Authorization"].split("_")[1]
    number = next(
        key["id"] for key in client.get("/v1/admin/keys", headers=admin).json()["keys"] if key["prefix"] == revoked
    )
    assert client.delete(f"/v1/admin/keys/{number}", headers=admin).json()["revoked_at"]
    return found


def test_every_route_has_a_row_and_every_row_a_route(client: TestClient) -> None:
    outside = {("GET", path) for path in ("/", "/static/{path}", "/docs", "/docs/{path}", "/openapi.json")}
    assert set(rules()) - outside == routes(client)


@pytest.mark.parametrize("holder", HOLDERS)
def test_each_key_may_do_exactly_what_the_table_says(
    client: TestClient, keys: dict[str, dict[str, str]], holder: str
) -> None:
    for (method, path), need in rules().items():
        # An id that no row has and a body that no route takes: whoever is let in changes nothing.
        where = path.replace("{id}", "9007199254740993").replace("{path}", "app.js")
        if (method, path) in {("DELETE", "/v1/session"), ("POST", "/v1/session")}:
            continue  # they set cookies: below
        answer = client.request(method, where, headers=keys[holder], content=b"\xff")
        client.cookies.clear()
        if need is Need.PUBLIC:
            assert answer.status_code not in (401, 403), (method, path)
        elif holder in ("none", "revoked"):
            assert answer.status_code == 401, (method, path)
            assert answer.json()["code"] == {"none": "key_required", "revoked": "key_revoked"}[holder]
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="descry"'
        elif granted(need, [holder]):
            assert answer.status_code not in (401, 403), (method, path)
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), (method, path)


def test_a_route_without_a_row_is_not_open(client: TestClient, keys: dict[str, dict[str, str]]) -> None:
    assert need_of("GET", "/v1/nothing") is Need.ANY
    assert client.get("/v1/nothing").status_code == 401
    assert client.get("/v1/nothing", headers=keys["search"]).status_code == 404
    assert client.head("/v1/gallery").status_code == 401
    assert client.get("/v1/gallery/", headers=keys["search"], follow_redirects=False).status_code == 307
    assert client.get("/v1//gallery", headers=keys["search"]).status_code == 404


def test_the_first_key_ends_open_access_for_ever(client: TestClient) -> None:
    assert client.get("/v1/session").json() == {
        "open": True,
        "key_id": None,
        "name": "open",
        "scopes": list(SCOPES),
        "collections": None,
        "purpose_required": False,
        "purpose_free_collections": [],
    }
    admin = make(client, "admin")
    assert client.get("/v1/gallery").json()["code"] == "key_required"
    (key,) = client.get("/v1/admin/keys", headers=admin).json()["keys"]
    assert client.delete(f"/v1/admin/keys/{key['id']}", headers=admin).status_code == 200
    assert client.get("/v1/gallery").json()["code"] == "key_required"
    assert client.get("/v1/gallery", headers=admin).json()["code"] == "key_revoked"


def test_beyond_this_machine_nothing_is_open(settings: Settings) -> None:
    beyond = settings.model_copy(update={"host": "0.0.0.0"})
    with TestClient(create_app(beyond)) as client:
        assert client.get("/v1/gallery").json()["code"] == "key_required"
        assert client.get("/healthz").status_code == 200
    with TestClient(create_app(beyond.model_copy(update={"allow_open": True}))) as client:
        assert client.get("/v1/session").json()["open"] is True


def test_a_secret_is_shown_once_and_kept_nowhere(client: TestClient, core: Core) -> None:
    admin = make(client, "admin")
    secret = admin["Authorization"].removeprefix("Bearer ")
    listed = client.get("/v1/admin/keys", headers=admin)
    assert secret not in listed.text
    assert listed.json()["keys"][0]["prefix"] in secret
    with core.database.read() as session:
        (row,) = session.execute(text("SELECT * FROM access_keys")).all()
    assert secret not in str(row)
    assert secret.split("_", 2)[2] not in str(row)


def test_a_rotated_key_ends_and_the_new_one_works(client: TestClient) -> None:
    admin = make(client, "admin")
    new = client.post("/v1/admin/keys/1/rotate", headers=admin).json()["key"]
    assert client.get("/v1/gallery", headers=admin).json()["code"] == "key_invalid"
    assert client.get("/v1/gallery", headers={"Authorization": f"Bearer {new}"}).status_code == 200
    assert client.post("/v1/admin/keys/77/rotate", headers={"Authorization": f"Bearer {new}"}).status_code == 404


def test_a_key_expires(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = make(client, "admin")["Authorization"].removeprefix("Bearer ")
    late = make(client, "search", admin=admin, expires_at=(now() + timedelta(hours=1)).isoformat())
    assert client.get("/v1/gallery", headers=late).status_code == 200
    later = now() + timedelta(hours=2)
    monkeypatch.setattr("app.access.directory.now", lambda: later)
    client.app.state.directory.forget()  # type: ignore[attr-defined]  # a second later it would by itself
    assert client.get("/v1/gallery", headers=late).json()["code"] == "key_expired"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " ", "scopes": ["search"]},
        {"name": "a\nb", "scopes": ["search"]},
        {"name": "a", "scopes": ["search"], "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "a", "scopes": ["search"], "expires_at": "2099-01-01T00:00:00"},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["everything"]},
        {"name": "a", "scopes": ["search"], "collections": []},
    ],
)
def test_a_key_that_cannot_be_is_refused(client: TestClient, wrong: dict[str, object]) -> None:
    assert client.post("/v1/admin/keys", json=wrong).status_code == 422
    assert client.get("/v1/session").json()["open"] is True


def test_a_collection_that_does_not_exist_is_said(client: TestClient) -> None:
    answer = client.post("/v1/admin/keys", json={"name": "a", "scopes": ["search"], "collections": ["nowhere"]})
    assert answer.json()["code"] == "collection_not_found"


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Basic dTpw", "Bearer descry_00000000_" + "a" * 43, "\xff"])
def test_nonsense_is_no_key(client: TestClient, header: str) -> None:
    make(client, "admin")
    answer = client.get("/v1/gallery", headers={b"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_the_page_signs_in_with_a_cookie_that_scripts_cannot_read(client: TestClient) -> None:
    admin = make(client, "admin")
    signed = client.post("/v1/session", headers=admin)
    assert signed.json()["scopes"] == list(SCOPES)
    cookie = signed.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/v1/gallery").status_code == 200  # the client kept the cookie
    assert client.delete("/v1/session").status_code == 204
    client.cookies.clear()
    assert client.get("/v1/gallery").status_code == 401


@pytest.mark.usefixtures("standing")
def test_a_key_that_is_used_too_often_waits_and_others_do_not(settings: Settings, core: Core) -> None:
    slow = settings.model_copy(update={"key_rate_per_minute": 6.0, "key_rate_burst": 3})
    with TestClient(create_app(slow), base_url="http://127.0.0.1:8000") as client:
        admin = make(client, "admin")
        other = make(client, "search", admin=admin["Authorization"].removeprefix("Bearer "))
        codes = [client.get("/v1/gallery", headers=admin).status_code for _ in range(4)]
        assert codes == [200, 200, 429, 429]  # one went into the making of the other key
        refused = client.get("/v1/gallery", headers=admin)
        assert refused.json()["code"] == "rate_limited"
        assert 1 <= int(refused.headers["Retry-After"]) <= 10
        assert client.get("/v1/gallery", headers=other).status_code == 200


@pytest.mark.usefixtures("standing")
def test_whoever_guesses_keys_waits(client: TestClient) -> None:
    admin = make(client, "admin")
    guess = {"Authorization": "Bearer descry_00000000_" + "a" * 43}
    codes = [client.get("/v1/gallery", headers=guess).status_code for _ in range(12)]
    assert codes == [401] * 10 + [429] * 2
    assert client.get("/v1/gallery", headers=admin).status_code == 429  # a right guess is not told from a wrong one


@pytest.mark.usefixtures("standing")
def test_who_guesses_keys_is_alone_in_waiting(client: TestClient) -> None:
    admin, guess = make(client, "admin"), {"Authorization": "Bearer descry_00000000_" + "a" * 43}
    while (refused := client.get("/v1/gallery", headers=guess)).status_code == 401:
        pass
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) >= 1
    assert client.get("/healthz").status_code == 200
    elsewhere = TestClient(client.app, base_url="http://127.0.0.1:8000", client=("127.0.0.2", 50_000))
    assert elsewhere.get("/v1/gallery", headers=admin).status_code == 200
    assert elsewhere.get("/v1/gallery", headers=guess).status_code == 401  # it has its own guesses


def test_a_bucket_refills() -> None:
    ticking = [100.0]
    limiter = Limiter(60, 2, clock=lambda: ticking[0])
    assert [limiter.take("a") for _ in range(2)] == [0.0, 0.0]
    assert limiter.take("a") == pytest.approx(1.0)
    assert limiter.take("b") == 0.0
    ticking[0] += 0.5
    assert limiter.wait("a") == pytest.approx(0.5)
    ticking[0] += 0.5
    assert limiter.take("a") == 0.0
    assert Limiter(0, 1).take("a") == 0.0


def test_secrets_are_not_in_the_log(client: TestClient, caplog: pytest.LogCaptureFixture, ingest: IngestFolder) -> None:
    admin = make(client, "admin")
    caplog.set_level("DEBUG")
    client.get("/v1/gallery", headers=admin)
    client.post("/v1/session", headers=admin)
    assert admin["Authorization"].split("_", 2)[2] not in caplog.text
