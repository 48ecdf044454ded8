"""The shipped checkpoint, from drawn people to ranked identities: synthesise, ingest, search, measure."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core import Core, open_core
from app.gallery.sources import open_source
from app.registry.adoption import adopt
from app.registry.service import ModelService
from app.search.query import Part, Query
from app.search.schemas import SearchOptions
from app.search.service import SearchService
from app.settings import Settings
from models.checkpoint import DEMO, load_checkpoint
from models.tokenizers import words_of
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.evaluation import embed_split
from training.synthetic import SyntheticConfig, generate
from training.synthetic.gallery import GalleryConfig, write_gallery
from training.synthetic.oracle import score_set
from training.synthetic.person import identity_of, pictures_of


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = GalleryConfig(identities=60, images_per_identity=3, seed=11, workers=1)
    return write_gallery(config, tmp_path_factory.mktemp("people") / "gallery")


@pytest.fixture(scope="module")
def core(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    opened = open_core(Settings(data_dir=tmp_path_factory.mktemp("data"), device="cpu"))
    with opened.database.write() as session:
        models = opened.settings.models_dir
        version = ModelService(session).register(adopt(DEMO, models), "shipped").id
    opened.switch(version)
    outcomes = list(opened.ingest().run(open_source(gallery)))
    assert [outcome.status for outcome in outcomes] == ["ingested"] * 180
    yield opened
    opened.close()


def found(core: Core, query: str, limit: int) -> list[str | None]:
    model = core.active.current()
    vector = model.encoder.submit_text(query).result().vector
    service = SearchService(core.database, model)
    asked = Query((Part(vector, "text"),), {"text": query})
    answer = service.answer(asked, SearchOptions(limit=limit, images_per_identity=1), started=0.0)
    return [candidate.identity.external_id for candidate in answer.candidates]


def missing(core: Core, texts: list[str]) -> float:
    """Share of descriptions for which the answer says that the person is probably not there."""
    model, told = core.active.current(), []
    for text in texts:
        part = Part(model.encoder.submit_text(text).result().vector, "text", words=len(words_of(text)))
        answer = SearchService(core.database, model).answer(
            Query((part,), {"text": text}), SearchOptions(), started=0.0
        )
        told.append(answer.no_good_match)
    assert None not in told
    return sum(map(bool, told)) / len(told)


def test_who_is_not_there_is_missed_and_who_is_there_is_not(core: Core, gallery: Path) -> None:
    rows = [json.loads(line)["description"] for line in (gallery / "manifest.jsonl").read_text().splitlines()]
    strangers = []
    for number in range(60):
        identity = identity_of(99, "test", number)
        (picture,) = pictures_of(identity, 99, "test", number, 1)
        strangers += [caption.text for caption in picture.captions]
    there = missing(core, [text for text in rows if len(words_of(text)) >= 12])
    away = missing(core, [text for text in strangers if len(words_of(text)) >= 12])
    assert there < 0.12
    assert away > 0.8


def test_people_are_found_by_their_descriptions(core: Core, gallery: Path) -> None:
    rows = [json.loads(line) for line in (gallery / "manifest.jsonl").read_text().splitlines()]
    answers = [found(core, row["description"], 10) for row in rows]
    first = [answer[0] == row["identity"] for answer, row in zip(answers, rows, strict=True)]
    among = [row["identity"] in answer for answer, row in zip(answers, rows, strict=True)]
    assert sum(among) / len(rows) > 0.97
    assert sum(first) / len(rows) > 0.85


def test_it_knows_people_whom_it_never_saw(tmp_path: Path) -> None:
    folder = generate(
        SyntheticConfig(train=0, val=0, test=100, images_per_identity=3, seed=5, workers=1), tmp_path / "s"
    )
    records = read_dataset("cuhk_pedes", folder).splits["test"]
    encoder = load_checkpoint(DEMO)
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    metrics = embed_split(encoder, records, source).measure()
    oracle = score_set(folder, "test")
    assert metrics.queries == 600
    assert 90 < metrics.r1 <= 100 * oracle.rank1 + 3
    assert metrics.mean_ap > 88


def test_plain_words_of_a_person_are_known() -> None:
    queries = [
        "a man in a black jacket and blue jeans with a backpack",
        "woman with long blonde hair, red coat, carrying a handbag",
        "an old lady in a grey cardigan pulling a suitcase",
        "boy wearing a yellow t-shirt, shorts and a cap",
        "a person with glasses in a striped sweater and white sneakers",
    ]
    assert load_checkpoint(DEMO).tokenize(queries).unknown == ((),) * len(queries)
