"""The life of a model version: tried out, judged, encoded, switched to, rolled back, retired, deleted."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import delete
from starlette.testclient import TestClient

from app.commands.models import activate_version, register_checkpoint
from app.core import Core, open_core
from app.database.tables import Embedding
from app.errors import ModelIncompleteError, ModelInUseError, ModelRefusedError
from app.gallery.sources import open_source
from app.jobs.service import JobService
from app.registry.activation import Activation
from app.registry.adoption import adopt
from app.registry.changes import activate_later, keep_standby
from app.registry.encoding import GalleryEncoding
from app.registry.retention import Retention
from app.registry.schemas import ModelOut
from app.registry.service import ModelService, Origin
from app.settings import Settings
from app.vectors.repository import LogRepository
from tests.app.conftest import IngestFolder
from tests.app.test_indexing_jobs import active, finish, taken
from tests.app.test_search_api import ask, people
from tests.app.toy import picture, toy_checkpoint


def described(core: Core, version_id: int) -> ModelOut:
    with core.database.read() as session:
        models = ModelService(session)
        return models.describe(models.find(version_id))


def vectors(core: Core, version_id: int, space: str = "text") -> int:
    with core.database.read() as session:
        return LogRepository(session).count(version_id, space)


@pytest.fixture
def gallery(core: Core, ingest: IngestFolder, tmp_path: Path) -> Core:
    """24 images of 8 people under the version `toy`."""
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    return core


def another(core: Core, folder: Path, words: tuple[str, ...] = ("red", "blue")) -> int:
    return register_checkpoint(core, toy_checkpoint(folder, words=words), folder.name).id


def test_a_candidate_waits_for_its_gate_and_its_lineage_stays(gallery: Core, tmp_path: Path) -> None:
    core = gallery
    origin = Origin({"name": "r"}, "ab" * 32, parent_id=1, job_id="j", metrics={"r1": 0.5}, candidate=True)
    info = adopt(toy_checkpoint(tmp_path / "made", words=("red",)), core.settings.models_dir)
    with core.database.write() as session:
        version = ModelService(session).register(info, "made", origin).id
    found = described(core, version)
    assert (found.status, found.recipe, found.data_fingerprint) == ("candidate", {"name": "r"}, "ab" * 32)
    assert (found.parent_id, found.job_id, found.metrics) == (1, "j", {"r1": 0.5})
    with pytest.raises(ModelRefusedError, match="not been judged"):
        core.switch(version)
    with core.database.write() as session:
        ModelService(session).judge(version, accepted=False, gate={"gain": -3})
    assert (described(core, version).status, described(core, version).gate) == ("refused", {"gain": -3})
    with pytest.raises(ModelRefusedError, match="was refused"):
        activate_version(core, version)
    assert active(core) == 1
    activate_version(core, version, despite_gate=True)
    assert active(core) == version
    core.switch(1)
    with core.database.write() as session:
        ModelService(session).judge(version, accepted=True, gate={"gain": 3})
    assert described(core, version).status == "ready"


def test_a_refusal_while_it_is_encoded_keeps_it_from_answering(gallery: Core, tmp_path: Path) -> None:
    core = gallery
    version = another(core, tmp_path / "late")
    job_id = activate_later(core.database, version).id
    _, work = taken(core)
    work.prepare()
    with core.database.write() as session:
        ModelService(session).judge(version, accepted=False, gate={})
    with pytest.raises(ModelRefusedError):
        work.advance()
    assert (active(core), vectors(core, version), described(core, version).status) == (1, 24, "encoding")
    with core.database.write() as session:
        JobService(session).finish(JobService(session).find(job_id), "failed", ModelRefusedError("refused"))
    assert described(core, version).status == "refused"


def test_each_space_must_be_there_for_each_image(gallery: Core, tmp_path: Path) -> None:
    core = gallery
    two = register_checkpoint(core, toy_checkpoint(tmp_path / "two", two_spaces=True), "two").id
    _, _, encoder = core.active.load_encoder(two)
    assert core.activation.encode_missing(two, encoder)
    with core.database.write() as session:
        half = (Embedding.model_version_id == two, Embedding.space == "image", Embedding.image_id <= 9)
        session.execute(delete(Embedding).where(*half))
    with pytest.raises(ModelIncompleteError, match="9 images"):
        core.activation.complete(two, activate=True)
    assert (active(core), described(core, two).missing) == (1, 9)
    core.activation.encode_missing(two, encoder)
    core.activation.complete(two, activate=True)
    assert (active(core), vectors(core, two, "image"), vectors(core, two, "text")) == (two, 24, 24)


def test_the_last_images_are_encoded_within_the_switch(gallery: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    core = gallery
    other = another(core, tmp_path / "other")
    activate_version(core, other)
    picture(tmp_path / "late" / "1.jpg", "green", shade=40)
    ingest(tmp_path / "late")
    assert described(core, 1).missing == 1
    core.switch(1)  # a rollback that needs no job
    assert (active(core), vectors(core, 1), described(core, 1).missing) == (1, 25, 0)


def test_images_deleted_meanwhile_are_in_no_version(client: TestClient, gallery: Core, tmp_path: Path) -> None:
    other = another(gallery, tmp_path / "other")
    job_id = client.post(f"/v1/models/{other}/activate").json()["id"]
    original, calls = GalleryEncoding._append, list[int]()

    def deleting(*arguments: object) -> bool:
        calls.append(1)
        if len(calls) == 2:  # among what this chunk has read already, and what the first one wrote
            assert client.delete("/v1/images/6").status_code == client.delete("/v1/images/2").status_code == 204
        return original(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GalleryEncoding, "_append", deleting)
        finish(gallery)
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "succeeded"
    assert (active(gallery), vectors(gallery, other), vectors(gallery, 1)) == (other, 22, 22)
    with gallery.database.read() as session:
        kept = session.query(Embedding.image_id).filter(Embedding.image_id.in_((2, 6))).all()
    assert kept == []


def test_rolling_back_takes_one_activation_back(client: TestClient, gallery: Core, tmp_path: Path) -> None:
    refused = client.post("/v1/models/1/rollback")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_predecessor")
    other = another(gallery, tmp_path / "other")
    activate_version(gallery, other)
    assert client.get("/v1/models").json()["predecessor_id"] == 1
    assert client.post("/v1/models/1/rollback").status_code == 409  # it does not answer
    back = client.post(f"/v1/models/{other}/rollback")
    assert (back.status_code, back.json()["id"], back.json()["status"]) == (200, 1, "active")
    assert ask(client, "red")["model_version"]["id"] == 1
    assert client.post(f"/v1/models/{other}/rollback").json()["code"] == "no_predecessor"  # pressed twice
    found = client.get("/v1/models").json()
    assert (found["active_id"], found["predecessor_id"]) == (1, other)


def test_what_came_since_is_encoded_for_the_version_before(gallery: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    core = gallery
    other = another(core, tmp_path / "other")
    activate_version(core, other)
    assert keep_standby(core.database, core.settings) is None
    for colour in ("red", "green", "blue", "yellow", "purple", "orange"):
        picture(tmp_path / "more" / f"{colour}.jpg", colour, "white")
    ingest(tmp_path / "more")
    job_id = keep_standby(core.database, core.settings)
    assert job_id is not None
    assert keep_standby(core.database, core.settings) is None  # it is under way
    assert finish(core) == job_id
    assert (active(core), vectors(core, 1), described(core, 1).status) == (other, 30, "ready")
    quiet = core.settings.model_copy(update={"standby": False})
    assert keep_standby(core.database, quiet) is None


def test_old_versions_lose_their_vectors_but_never_the_last_two(
    client: TestClient, gallery: Core, tmp_path: Path
) -> None:
    core = gallery
    versions = [1, *(another(core, tmp_path / f"v{number}", ("red", f"w{number}")) for number in range(3))]
    for version in versions[1:]:
        activate_version(core, version)
    strict = Retention(core.database, core.settings.model_copy(update={"keep_versions": 1}))
    index = core.settings.index_dir / "version-1-text.index"
    assert index.exists()
    assert Retention(core.database, core.settings).due() == [1]
    assert sorted(strict.sweep()) == [1, versions[1]]
    assert strict.sweep() == []
    assert [vectors(core, version) for version in versions] == [0, 0, 24, 24]
    assert [described(core, version).status for version in versions] == ["retired", "retired", "ready", "active"]
    assert not index.exists()
    for version, code in (
        (versions[3], "model_in_use"),
        (versions[2], "model_in_use"),
        (99, "model_version_not_found"),
    ):
        assert client.delete(f"/v1/models/{version}").json()["code"] == code
    folder = core.settings.models_dir / next(iter(core.settings.models_dir.iterdir())).name
    assert folder.is_dir()
    assert client.delete(f"/v1/models/{versions[1]}").status_code == 204
    assert client.get(f"/v1/models/{versions[1]}").status_code == 404
    assert len(list(core.settings.models_dir.iterdir())) == 3
    # A retired version comes back, encoded anew, with the same answers.
    assert client.post("/v1/models/1/activate").status_code == 202
    with pytest.raises(ModelInUseError, match="job"):
        strict.retire(1)
    finish(core)
    assert (described(core, 1).status, described(core, 1).retired_at) == ("active", None)
    client.post("/v1/models/1/activate")
    assert ask(client, "red coat")["candidates"][0]["identity"]["external_id"] == "red"


def test_a_killed_retirement_is_gone_on_with(gallery: Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = gallery
    for number in range(3):
        activate_version(core, another(core, tmp_path / f"v{number}", ("red", f"w{number}")))
    original = LogRepository.forget_some

    def killed(log: LogRepository, version_id: int, space: str, limit: int) -> int:
        if vectors(core, 1) < 24:
            raise KeyboardInterrupt
        return original(log, version_id, space, 10)

    retention = Retention(core.database, core.settings)
    with monkeypatch.context() as patch:
        patch.setattr(LogRepository, "forget_some", killed)
        with pytest.raises(KeyboardInterrupt):
            retention.sweep()
    assert (vectors(core, 1), described(core, 1).status) == (14, "retired")
    assert Retention(core.database, core.settings).sweep() == [1]
    assert (vectors(core, 1), Retention(core.database, core.settings).due()) == (0, [])


def test_a_replica_has_the_next_version_in_memory_before_it_answers(
    gallery: Core, settings: Settings, tmp_path: Path
) -> None:
    replica = open_core(settings)
    replica.active.follow()
    replica.active.prepare()
    assert replica.active.beside is None
    other = another(gallery, tmp_path / "other")
    activate_later(gallery.database, other)
    replica.active.prepare()
    beside = replica.active.beside
    assert beside is not None
    assert (beside.version_id, replica.active.current().version_id) == (other, 1)
    finish(gallery)
    assert replica.active.current().version_id == 1  # until it looks
    first = replica.active.current()
    replica.active.follow()
    assert replica.active.current().views is beside.views  # nothing was loaded
    assert {space: view.count for space, view in beside.views.items()} == {"text": 24}
    gallery.switch(1)
    replica.active.follow()
    assert replica.active.current() is first  # kept, so that a rollback waits for nothing
    replica.close()


def test_two_who_activate_at_once_leave_one_version(gallery: Core, tmp_path: Path) -> None:
    other = another(gallery, tmp_path / "other")
    activate_version(gallery, other)
    gallery.switch(1)
    threads = [threading.Thread(target=gallery.switch, args=(version,)) for version in (other, 1) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gallery.active.follow()
    assert gallery.active.current().version_id == active(gallery)
    assert next(iter(gallery.ingest().run(open_source(tmp_path / "people")))).status == "duplicate"


def test_the_next_search_follows_a_switch_elsewhere_if_the_version_is_in_memory(
    client: TestClient, gallery: Core, settings: Settings, tmp_path: Path
) -> None:
    other = another(gallery, tmp_path / "other")
    activate_version(gallery, other)
    replica = client.app.state.core  # type: ignore[attr-defined]
    replica.active.follow()
    replica.active.prepare()
    for version in (1, other, 1):
        gallery.switch(version)
        assert ask(client, "red")["model_version"]["id"] == version  # the very next one, whatever the keeper does


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_an_encoding_leaves_the_machine_its_share(
    gallery: Core, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    other = another(gallery, tmp_path / "other")
    _, _, encoder = gallery.active.load_encoder(other)
    pauses: list[float] = []
    monkeypatch.setattr(GalleryEncoding, "_pause", lambda _, seconds, going: pauses.append(seconds))
    modest = Activation(gallery.database, gallery.store, settings.model_copy(update={"encode_share": share}))
    assert modest.encode_missing(other, encoder)
    assert len(pauses) == 6  # one a chunk
    assert all(pause == 0 for pause in pauses) if share == 1 else all(pause > 0 for pause in pauses)
