"""Erased means: nowhere in any file or table of the data folder."""

import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app
from app.core import Core, opened
from app.database.privacy import ERASED
from app.database.tables import Embedding, Feedback, Identity, IdentityEvent, Image, Query, now
from app.embedding.cache import TextEmbedding
from app.exports.package import Export
from app.exports.results import file_of, result_path
from app.gallery.ingest import Outcome
from app.gallery.sources import open_source
from app.identities.answers import split
from app.identities.changes import IdentityChanges
from app.identities.erasing import Eraser
from app.identities.erasures import ErasureRepository
from app.identities.schemas import SplitRequest
from app.jobs.repository import JobRepository, NewItem
from app.jobs.service import JobService
from app.queries.feedback import FeedbackService
from app.queries.recorder import AskedQuery
from app.queries.schemas import FeedbackIn
from app.settings import Settings
from app.vectors.scrub import without
from tests.app.conftest import IngestFolder
from tests.app.toy import picture

NAME = "Erika-Mustermann-77"


def traces_of(core: Core, identity_id: int) -> tuple[dict[str, bytes], list[str]]:
    """What must not be found afterwards: bytes of pictures, vectors and names; and paths of files."""
    with core.database.read() as session:
        images = session.query(Image).filter(Image.identity_id == identity_id).all()
        traces = {"name": NAME.encode(), "camera": b"camera-of-erika", "file": b"erika-front.jpg"}
        files = []
        for image in images:
            data = core.store.read(image.store_name)
            assert data is not None
            # What is behind the header, which all pictures of this size share.
            traces[f"picture {image.id}"] = data[-120:]
            traces[f"hash {image.id}"] = image.sha256.encode()
            traces[f"place {image.id}"] = image.store_name.encode()
            files.append(image.store_name)
            for row in session.query(Embedding).filter(Embedding.image_id == image.id):
                traces[f"vector {image.id} {row.space}"] = row.vector
    return traces, files


def found_in(folder: Path, traces: dict[str, bytes]) -> list[str]:
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        found += [f"{what} in {path.relative_to(folder)}" for what, trace in traces.items() if trace in data]
    return found


def named_in_tables(data: Path, identity_id: int, images: list[int]) -> list[str]:
    """Rows that name the person or the images, besides the ledger, the log and the history of jobs: numbers only."""
    connection = sqlite3.connect(data / "descry.sqlite3")
    columns = {"images": ("id", "identity_id"), "identities": ("id",), "embeddings": ("image_id",)}
    columns |= {"feedback": ("identity_id", "image_id")}
    found = []
    for table, names in columns.items():
        for name in names:
            wanted = [identity_id] if "identity" in name or table == "identities" else images
            marks = ",".join("?" * len(wanted))
            rows = connection.execute(f"SELECT count(*) FROM {table} WHERE {name} IN ({marks})", wanted).fetchone()
            found += [f"{table}.{name}"] * rows[0]
    connection.close()
    return found


def fill(core: Core, folder: Path) -> int:
    """Six images, two of them of a person whom much is known of; returns the person."""
    lines: list[dict[str, Any]] = []
    for number, file in enumerate(("erika-front.jpg", "erika-back.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg")):
        noise = np.random.default_rng(number).integers(0, 255, 3).tolist()
        picture(folder / file, ("red", "green", "blue", "yellow", "purple", "orange")[number], shade=noise[0] // 8)
        lines.append({"file": file, "identity": f"p-{number}", "camera": "gate"})
    for line in lines[:2]:
        line |= {"identity": NAME, "camera": "camera-of-erika", "description": f"{NAME} in a coat"}
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    outcomes = list(core.ingest().run(open_source(folder)))
    with core.database.read() as session:
        found = session.get(Image, outcomes[0].image_id)
        assert found is not None
        return found.identity_id


def ask_about(core: Core, identity_id: int) -> None:
    """Queries, a verdict, and the items of a job, as the service writes them."""
    vectors = np.ones(24, np.float32).tobytes()
    with core.database.write() as session:
        common = {"created_at": now(), "model_version_id": 1, "key_id": None}
        session.add(
            Query(
                id="a" * 32,
                kind="image",
                definition={"image": {"sha256": "0" * 64}},
                vectors=vectors,
                name=f"looking for {NAME}",
                saved_at=now(),
                purpose="case Erika",
                **common,
            )
        )
        session.add(Query(id="b" * 32, kind="text", definition={"query": f"where is {NAME.lower()}"}, **common))
        session.add(Query(id="c" * 32, kind="text", definition={"query": "a red coat"}, purpose="kept", **common))
    with core.database.write() as session:
        FeedbackService(session).give("a" * 32, [FeedbackIn(identity_id=identity_id, verdict="confirm")])


def exported(core: Core) -> Path:
    """The result of an export job."""
    with core.database.write() as session:
        job = JobService(session).create("export", {"collection": None}).id
    core.settings.exports_dir.mkdir(exist_ok=True)
    export = Export(core.database, core.store, core.settings, result_path(core.settings, job), None)
    export.begin()
    while export.copy():
        pass
    assert export.publish(lambda *_: None)
    return result_path(core.settings, job)


@pytest.mark.parametrize("way", ["verb", "route"])
def test_nothing_is_left_of_an_erased_person(core: Core, settings: Settings, tmp_path: Path, way: str) -> None:
    person = fill(core, tmp_path)
    ask_about(core, person)
    core.active.follow()
    core.active.current().view("text").save()
    result = exported(core)
    traces, files = traces_of(core, person)
    before = found_in(settings.data_dir, traces)
    for what in ("name in descry.sqlite3", "picture 1 in images", "vector 1 text in index", "picture 2 in exports"):
        assert any(what.split(" in ")[0] in line and what.split(" in ")[1] in line for line in before), what
    core.close(save=True)
    if way == "verb":
        done = CliRunner().invoke(
            app, ["erase", "--identity", str(person), "--data-dir", str(settings.data_dir), "--json"]
        )
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout) == {"identity": person, "images": [1, 2]}
    else:
        from app.main import create_app

        with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as client:
            assert client.delete(f"/v1/identities/{person}").status_code == 204
            assert client.delete(f"/v1/identities/{person}").status_code == 404
    assert found_in(settings.data_dir, traces) == []
    assert named_in_tables(settings.data_dir, person, [1, 2]) == []
    assert not result.exists()
    assert not [file for file in files if list(settings.images_dir.glob(f"{file}*"))]
    with opened(settings) as again:
        with again.database.read() as session:
            kept = {query.id[0]: (query.name, query.purpose, query.vectors) for query in session.query(Query)}
            assert kept == {"a": (None, None, None), "c": (None, "kept", None)}
            ledger = [entry[:2] for entry in ErasureRepository(session).listed()]
        assert ledger == [("image", 1), ("image", 2), ("identity", person)]
        again.active.follow()
        assert again.active.current().view("text").count == 4


def test_an_export_without_the_person_stays(core: Core, settings: Settings, tmp_path: Path) -> None:
    fill(core, tmp_path)
    result = exported(core)
    with zipfile.ZipFile(result) as packed:
        assert f"collection-1/{file_of(1)}" in packed.namelist()
    runner = CliRunner()
    folder = ["--data-dir", str(settings.data_dir)]
    assert runner.invoke(app, ["erase", "--image", "3", *folder]).exit_code == 0
    assert not result.exists()
    second = exported(core)
    result.write_bytes(second.read_bytes())
    with core.database.write() as session:
        assert JobService(session).create("export", {"collection": None}).id
    unknown = runner.invoke(app, ["erase", "--image", "99", *folder])
    assert unknown.exit_code != 0
    assert result.exists()
    assert second.exists()


def test_an_index_file_is_scrubbed_and_stays_readable(
    core: Core, settings: Settings, ingest: IngestFolder, tmp_path: Path
) -> None:
    fill(core, tmp_path)
    core.active.follow()
    core.active.current().view("text").save()
    (path,) = settings.index_dir.glob("*.index")
    assert not without(path, [77])
    assert without(path, [3, 4])
    assert not without(path, [3, 4])
    path.write_bytes(path.read_bytes()[:-3])
    assert without(path, [1])
    assert not path.exists()


def test_the_index_file_of_a_version_that_nobody_has_loaded_goes(
    core: Core, settings: Settings, tmp_path: Path
) -> None:
    fill(core, tmp_path)
    core.active.follow()
    core.active.current().view("text").save()
    (path,) = settings.index_dir.glob("*.index")
    other = path.with_name("version-7-text.index")
    other.write_bytes(path.read_bytes())
    core.active.maintain()
    assert other.exists()
    Eraser(core).image(1)
    core.active.maintain()
    assert not other.exists()
    assert path.exists()


def asked(core: Core, query_id: str, **columns: Any) -> None:  # noqa: ANN401  of the row
    with core.database.write() as session:
        row = {"kind": "text", "definition": {"query": "x"}, "created_at": now(), "model_version_id": 1, "key_id": None}
        session.add(Query(id=query_id * 32, **{**row, **columns}))


def test_names_of_the_merged_and_notes_go_and_those_of_others_stay(core: Core, tmp_path: Path) -> None:
    person = fill(core, tmp_path)
    asked(core, "a", definition={"query": "P-2 in red"})
    asked(core, "b", purpose="find p-3")
    asked(core, "c")
    with core.database.write() as session:
        named = {row.external_id: row.id for row in session.query(Identity)}
        merged, apart = named["p-2"], named["p-3"]
        IdentityChanges(session).merge(person, [merged, apart], drop_names=True)
    with core.database.write() as session:
        back = session.query(IdentityEvent).filter(IdentityEvent.from_id == apart).one().id
        split(session, person, SplitRequest(undo=back))
    with core.database.read() as session:
        other = session.query(Image).filter(Image.source_name == "e.jpg").one().identity_id
    with core.database.write() as session:
        notes = [FeedbackIn(identity_id=other, verdict="reject", note=f"this is not {NAME}")]
        FeedbackService(session).give("c" * 32, [*notes, FeedbackIn(identity_id=apart, verdict="reject", note="blue")])
    Eraser(core).identity(person)
    with core.database.read() as session:
        assert {row.id[0]: row.purpose for row in session.query(Query)} == {"b": "find p-3", "c": None}
        assert {row.identity_id: row.note for row in session.query(Feedback)} == {other: None, apart: "blue"}
        assert [entry[:2] for entry in ErasureRepository(session).listed() if entry[0] == "identity"] == [
            ("identity", person),
            ("identity", merged),
        ]
        assert session.get(Identity, apart) is not None
    Eraser(core).identity(apart)
    with core.database.read() as session:
        assert [event.before for event in session.query(IdentityEvent)] == [None] * 3
        assert {row.id[0]: row.purpose for row in session.query(Query)} == {"b": None, "c": None}


def test_what_is_in_memory_goes_too(core: Core, settings: Settings, tmp_path: Path) -> None:
    """A query that is not written yet, and words that the model did not know."""
    person = fill(core, tmp_path)
    core.active.follow()
    cache = core.active.current().encoder.cache
    cache.put(cache.key(NAME), TextEmbedding(np.ones(24, np.float32), (NAME,), (), truncated=False, empty=True))
    assert len(cache) == 1
    core.recorder.put(AskedQuery("d" * 32, "text", {"query": f"{NAME} today"}, None, 1))
    Eraser(core).identity(person)
    assert len(cache) == cache.size == 0
    assert core.recorder.find("d" * 32) is None
    with core.database.read() as session:
        assert session.get(Query, "d" * 32) is None


def test_what_another_process_has_in_memory_goes_with_its_next_look(
    core: Core, settings: Settings, tmp_path: Path
) -> None:
    person = fill(core, tmp_path)
    core.active.follow()
    core.follow_erasures()
    cache = core.active.current().encoder.cache
    cache.put(cache.key(NAME), TextEmbedding(np.ones(24, np.float32), (NAME,), (), truncated=False, empty=True))
    core.follow_erasures()
    assert len(cache) == 1
    with opened(settings) as other:
        Eraser(other).identity(person)
    assert len(cache) == 1
    core.follow_erasures()
    assert len(cache) == 0


def test_a_duplicate_of_what_was_erased_meanwhile_keeps_no_name(core: Core, tmp_path: Path) -> None:
    """Its bytes were known when they were looked for, or are those of one before it in the source; the image was erased
    before the outcome was written."""
    fill(core, tmp_path)
    items = [
        NewItem(0, "erika-again.jpg"),
        NewItem(1, "c-again.jpg"),
        NewItem(2, "broken.jpg"),
        NewItem(3, "erika-2.jpg"),
    ]
    with core.database.write() as session:
        job = JobService(session).create("ingest", {"collection": "default", "folder": "x"}).id
        JobRepository(session).add_items(job, items)
    Eraser(core).image(1)
    outcomes = [Outcome("erika-again.jpg", "duplicate", 1), Outcome("c-again.jpg", "duplicate", 3)]
    with core.database.write() as session:
        outcomes += [Outcome("broken.jpg", "rejected", code="x"), Outcome("erika-2.jpg", "duplicate")]
        JobRepository(session).settle(job, [0, 1, 2, 3], outcomes)
    with core.database.read() as session:
        told = [(item.name, item.image_id) for item in JobRepository(session).items(job, after=-1, limit=9)]
    assert told == [(ERASED, 1), ("c-again.jpg", 3), ("broken.jpg", None), (ERASED, None)]
