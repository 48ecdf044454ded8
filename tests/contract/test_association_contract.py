"""An association with tracks, camera metadata, undo and erasure: the same on both databases."""

from starlette.testclient import TestClient

from app.association.candidates import read_candidates
from app.core import Core
from tests.app.test_association_api import Take, associate, owners, take, work_off
from tests.app.toy import toy_spec

__all__ = ["take"]


def test_a_run_from_its_request_to_its_undoing(client: TestClient, core: Core, take: Take) -> None:
    noon = "2026-05-04T12:00:00Z"
    entries: list[dict[str, object]] = [
        {"colour": "red", "camera": "a", "captured_at": noon, "track": 1},
        {"colour": "red", "camera": "a", "captured_at": "2026-05-04T12:00:09Z", "track": 1},
        {"colour": "red", "camera": "b", "captured_at": "2026-05-04T12:30:00Z"},
        {"colour": "red", "camera": "b", "captured_at": "2026-05-05T12:30:00Z"},
        {"colour": "red", "camera": "a", "captured_at": noon, "turned": True},
        {"colour": "red", "identity": "named"},
    ]
    images = take(entries)
    before = owners(core)
    with core.database.read() as session:
        found = read_candidates(session, 1, 1, toy_spec(), window_s=3600, instants_apart=True)
    assert (found.images, found.without_vector, found.crowded) == ([2, 1, 1, 1], 0, 0)
    assert found.sightings.strangers.tolist() == [[0, 3]]
    run = associate(client, window_s=3600, instants_apart=True)
    work_off(core)
    now = owners(core)
    assert len({now[image] for image in images[:3]}) == 1
    assert len({now[image] for image in images}) == 4
    assert client.get(f"/v1/associations/{run['id']}").json()["found"]["sizes"] == {"1": 2, "3": 1}
    assert client.get(f"/v1/identities/{now[images[0]]}/history").json()["events"][0]["run_id"] == run["id"]
    assert client.post(f"/v1/associations/{run['id']}/undo").status_code == 200
    assert owners(core) == before
    assert client.delete(f"/v1/identities/{before[images[0]]}").status_code == 204
    assert client.delete(f"/v1/images/{images[2]}").status_code == 204
    assert set(owners(core)) == set(images[3:])
