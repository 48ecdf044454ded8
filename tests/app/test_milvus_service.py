"""The whole service on Milvus: the same answers as on FAISS, over everything that a search can be asked for."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.core import Core, open_core
from app.errors import EnginesDifferError
from app.main import create_app
from app.settings import Settings
from app.vectors.milvus_engine import MilvusIndex
from tests.app.conftest import IngestFolder
from tests.app.test_command_line import verb
from tests.app.test_index_view import answers
from tests.app.test_search_api import people
from tests.app.toy import COLOURS, picture, toy_checkpoint
from tests.contract.milvus import need_milvus_lite

QUESTIONS: list[dict[str, Any]] = [
    {},
    {"limit": 3, "images_per_identity": 1},
    {"limit": 5, "group_by": "image"},
    {"filters": {"cameras": ["north"]}},
    {"filters": {"cameras": ["north"]}, "group_by": "image", "limit": 100},
    {"filters": {"without_identities": [1, 2]}, "limit": 2},
    {"collection": "other"},
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    need_milvus_lite()
    return Settings(data_dir=tmp_path / "data", ingest_chunk=4, maintenance_s=0.2, device="cpu", vector_engine="milvus")


def asked(client: TestClient) -> list[Any]:
    """Every question, page by page, as far as the engine decides the answer."""
    found = []
    for options in QUESTIONS:
        for colour in ("red", "white"):
            body = {"query": f"a {colour} coat", **options}
            for _ in range(4):
                answer = client.post("/v1/search/text", json=body).raise_for_status().json()
                found.append((answer["candidates"], answer["warnings"]))
                if (cursor := answer["next_cursor"]) is None:
                    break
                body = {**body, "cursor": cursor}
    return found


def on(settings: Settings, engine: str) -> list[Any]:
    """The answers of a process of its own time, with one engine."""
    chosen = settings.model_copy(update={"vector_engine": engine})
    with TestClient(create_app(chosen), base_url="http://127.0.0.1:8000") as client:
        return asked(client)


def test_the_service_answers_as_with_faiss(
    client: TestClient, core: Core, ingest: IngestFolder, settings: Settings, tmp_path: Path
) -> None:
    people(tmp_path / "people")
    lines = [{"file": f"{colour}.jpg", "camera": "north", "identity": colour} for colour in list(COLOURS)[:5]]
    for line in lines:
        picture(tmp_path / "north" / str(line["file"]), str(line["identity"]), "white", shade=33)
    (tmp_path / "north" / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ingest(tmp_path / "people")
    ingest(tmp_path / "north")
    list(core.ingest("other").run(_folder(tmp_path / "people")))
    first = asked(client)
    assert len(first) > 20
    assert all(found for found, _ in first)
    assert isinstance(core.active.loaded and core.active.loaded.view("text")._index, MilvusIndex)
    assert on(settings, "faiss") == first
    best = first[0][0][0]["images"][0]["id"]
    assert client.delete(f"/v1/images/{best}").status_code == 204
    assert client.delete("/v1/identities/3").status_code in (200, 204)
    after = asked(client)
    assert after != first
    assert best not in [image["id"] for found, _ in after for entry in found for image in entry["images"]]
    assert on(settings, "faiss") == after
    assert on(settings, "milvus") == after


def _folder(path: Path) -> Any:  # noqa: ANN401  a source of pictures
    from app.gallery.sources import open_source

    return open_source(path)


def test_to_milvus_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_milvus_lite()
    monkeypatch.setenv("DESCRY_DATA_DIR", str(tmp_path / "data"))
    verb("models", "register", str(toy_checkpoint(tmp_path / "toy", two_spaces=True)))
    verb("models", "activate", "1")
    people(tmp_path / "people")
    verb("ingest", str(tmp_path / "people"))
    before = json.loads(verb("search", "a red coat", "--json"))["candidates"]
    snapshots = tmp_path / "data" / "index"
    moved = json.loads(verb("index", "migrate", "--to", "milvus", "--remove-old", "--json"))
    assert [(item["space"], item["vectors"], item["compared"]) for item in moved] == [
        ("text", 24, 24),
        ("image", 24, 24),
    ]
    assert list(snapshots.glob("*.index")) == []
    with monkeypatch.context() as patch:
        patch.setenv("DESCRY_VECTOR_ENGINE", "milvus")
        assert json.loads(verb("search", "a red coat", "--json"))["candidates"] == before
        assert list(snapshots.glob("*.index")) == []
        assert json.loads(verb("index", "rebuild", "--json"))[0]["vectors"] == 24
    assert "24 vectors; 24 queries compared" in verb("index", "migrate", "--to", "faiss", "--remove-old")
    assert len(list(snapshots.glob("*.index"))) == 2
    collections = tmp_path / "data" / "milvus.db" / "collections"
    assert list(collections.iterdir()) == []
    assert json.loads(verb("search", "a red coat", "--json"))["candidates"] == before


def test_a_killed_move_goes_on_where_it_was(
    core: Core, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.registry.moving import migrate

    people(tmp_path / "people")
    ingest(tmp_path / "people")
    monkeypatch.setattr("app.vectors.repository.PAGE", 5)
    seen: list[int] = []

    def killed(count: int) -> None:
        seen.append(count)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(migrate(core, "milvus", remove_old=False, progress=lambda name, total: killed))
    written: list[int] = []
    monkeypatch.setattr(MilvusIndex, "apply", _noting(MilvusIndex.apply, written))
    (moved,) = migrate(core, "milvus", remove_old=False, progress=lambda name, total: lambda count: None)
    assert (seen, moved.vectors, moved.compared) == ([5, 10, 15], 24, 24)
    assert sum(written) == 9


def _noting(original: Any, written: list[int]) -> Any:  # noqa: ANN401  a method
    def noting(index: MilvusIndex, changes: Any) -> None:  # noqa: ANN401
        written.append(len(changes.ids))
        original(index, changes)

    return noting


def test_engines_that_differ_are_found_out(
    core: Core, ingest: IngestFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.registry.moving import migrate

    people(tmp_path / "people")
    ingest(tmp_path / "people")
    core.active.follow()
    index = core.active.current().view("text")._index
    sequence, ids, vectors = index.contents()
    original = MilvusIndex.search

    def wrong(self: MilvusIndex, query: Any, k: int) -> Any:  # noqa: ANN401
        return original(self, -query, k)

    with monkeypatch.context() as patch:
        patch.setattr(MilvusIndex, "search", wrong)
        with pytest.raises(EnginesDifferError, match="24 of 24 sample queries"):
            list(migrate(core, "faiss", remove_old=True, progress=lambda name, total: lambda count: None))
    assert index.count == 24  # nothing was removed
    (moved,) = migrate(core, "faiss", remove_old=False, progress=lambda name, total: lambda count: None)
    assert (moved.vectors, moved.sequence, len(ids), len(vectors)) == (24, sequence, 24, 24)


def test_a_start_resumes_from_what_milvus_holds(core: Core, ingest: IngestFolder, tmp_path: Path) -> None:
    people(tmp_path / "people")
    ingest(tmp_path / "people")
    core.active.follow()
    before = answers(core.active)
    core.close()
    written: list[int] = []
    again = open_core(core.settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MilvusIndex, "apply", _noting(MilvusIndex.apply, written))
        again.active.follow()
    assert answers(again.active) == before
    assert sum(written) == 0
    again.close()
