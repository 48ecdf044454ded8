"""Confirmed feedback as training pairs: what a retraining reads, and that held-out people never give any."""

import json
from pathlib import Path

import pytest

from app.core import Core
from app.database.tables import Image
from app.errors import ExportTargetError
from app.gallery.sources import open_source
from app.queries.feedback import FeedbackService
from app.queries.pairs import export_pairs
from app.queries.recorder import AskedQuery
from app.queries.schemas import FeedbackIn
from app.retraining.dataset import GalleryDataset
from app.retraining.splits import drawn
from tests.app.toy import COLOURS, picture
from training.datasets import read_dataset

PEOPLE = 30
QUERY = AskedQuery("0" * 32, "text", {"query": "somebody in purple"}, None, 1)


@pytest.fixture
def confirmed(core: Core, tmp_path: Path) -> Core:
    """30 people with one described and one bare image; of each, both images are confirmed by one query."""
    lines = []
    for person in range(PEOPLE):
        for view in range(2):
            name = f"{person}-{view}.jpg"
            picture(tmp_path / "p" / name, list(COLOURS)[person % 8], list(COLOURS)[person // 8], shade=view * 9)
            words = {"description": f"the {person}th person"} if view == 0 and person != 1 else {}
            lines.append(json.dumps({"file": name, "identity": f"P{person}", **words, "attributes": {"n": person}}))
    (tmp_path / "p" / "manifest.jsonl").write_text("\n".join(lines))
    list(core.ingest().run(open_source(tmp_path / "p")))
    core.recorder.put(QUERY)
    assert core.recorder.settle(QUERY.id)
    with core.database.write() as session:
        people = range(1, PEOPLE + 1)
        verdicts = [FeedbackIn(identity_id=number, verdict="confirm") for number in people]
        FeedbackService(session).give(QUERY.id, verdicts)
    return core


def side(number: int) -> str:
    return drawn(f"P{number}")


def test_a_retraining_with_feedback_reads_the_words_of_queries_in_train_alone(confirmed: Core, tmp_path: Path) -> None:
    plain = GalleryDataset(confirmed, tmp_path / "plain", None).make(lambda: True, lambda done, total: None)
    assert plain is not None
    made = GalleryDataset(confirmed, tmp_path / "set", None, feedback=True).make(lambda: True, lambda done, total: None)
    assert made is not None
    data = read_dataset("descry_gallery", tmp_path / "set")
    texts: dict[int, list[tuple[str, ...]]] = {}
    for split, records in data.splits.items():
        for record in records:
            number = int(dict(record.groups)["n"])
            assert split == side(number)
            texts.setdefault(number, []).append(record.descriptions)
    for number in range(PEOPLE):
        own, words = f"the {number}th person", "somebody in purple"
        if side(number) == "train":
            assert sorted(texts[number]) == sorted([(words,) if number == 1 else (own, words), (words,)])
        else:
            assert texts.get(number, []) == ([] if number == 1 else [(own,)])
    assert made.fingerprint != plain.fingerprint


def test_an_export_holds_people_of_train_alone_and_marks_them(confirmed: Core, tmp_path: Path) -> None:
    made = export_pairs(confirmed, tmp_path / "out")
    data = read_dataset("descry_gallery", tmp_path / "out")
    trained = [number for number in range(PEOPLE) if side(number) == "train"]
    assert (made.images, made.pairs, made.held_out) == (2 * len(trained), 2 * len(trained), 2 * (PEOPLE - len(trained)))
    assert {split: len(records) for split, records in data.splits.items()} == {
        "train": made.images,
        "val": 0,
        "test": 0,
    }
    assert {record.descriptions for record in data.splits["train"]} == {("somebody in purple",)}
    assert len({record.identity for record in data.splits["train"]}) == len(trained)
    with confirmed.database.read() as session:
        marked = {row.identity_id - 1 for row in session.query(Image) if row.split == "train"}
    assert marked == set(trained)
    with pytest.raises(ExportTargetError):
        export_pairs(confirmed, tmp_path / "out")


def test_what_is_taken_back_or_erased_is_not_trained_on(confirmed: Core, tmp_path: Path) -> None:
    trained = [number for number in range(PEOPLE) if side(number) == "train"]
    with confirmed.database.write() as session:
        FeedbackService(session).give(QUERY.id, [FeedbackIn(identity_id=trained[0] + 1, verdict="reject")])
        listed = FeedbackService(session).listed(QUERY.id).feedback
        (second,) = [row.id for row in listed if row.identity_id == trained[1] + 1]
        FeedbackService(session).take_back(QUERY.id, second)
    assert export_pairs(confirmed, tmp_path / "out").images == 2 * (len(trained) - 2)
