"""Support and heat maps over HTTP and on the command line, with a real, small, untrained network."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from app.cli import app as verbs
from app.commands.models import activate_version, register_checkpoint
from app.core import Core
from app.errors import EncoderBusyError
from app.explanations.explainer import Explainer, PhraseVectors
from app.explanations.service import PHRASES
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from models.checkpoint import save_checkpoint
from models.clip_baseline import compact_spec
from models.registry import build
from tests.app.conftest import IngestFolder
from tests.app.toy import COLOURS, picture

WORDS = (*COLOURS, "coat", "hat", "shirt", "shoes", "bag", "man", "a", "in", "with", "no", "and")
QUERY = "a man in a red coat with a blue bag and no hat"


@pytest.fixture
def explained(empty_core: Core, settings: Settings, tmp_path: Path) -> Iterator[TestClient]:
    """A gallery of two pictures under a `compact` network."""
    torch.manual_seed(3)
    spec = compact_spec(WORDS, height=48, width=24, length=16, dim=32, image_width=8, text_width=16)
    save_checkpoint(build(spec), tmp_path / "compact", card="# small\n")
    activate_version(empty_core, register_checkpoint(empty_core, tmp_path / "compact", "compact").id)
    picture(tmp_path / "people" / "a.jpg", "red", "blue", size=(40, 90))
    picture(tmp_path / "people" / "b.jpg", "green", "white", size=(1500, 3000))
    list(empty_core.ingest().run(open_source(tmp_path / "people")))
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


def ask(client: TestClient, what: str, image_id: int, query: str) -> Any:  # noqa: ANN401  a response
    return client.post(f"/v1/images/{image_id}/{what}", json={"query": query})


def test_support_names_the_phrases_of_a_description(explained: TestClient) -> None:
    answer = ask(explained, "support", 1, f"  {QUERY} ").json()
    assert set(answer) == {"image_id", "model_version", "score", "phrases", "warnings"}
    assert (answer["image_id"], answer["model_version"], answer["warnings"]) == (1, {"id": 1, "name": "compact"}, [])
    assert [QUERY[phrase["start"] : phrase["end"]] for phrase in answer["phrases"]] == [
        "a man",
        "a red coat",
        "a blue bag",
        "hat",
    ]
    assert [phrase["absent"] for phrase in answer["phrases"]] == [False, False, False, True]
    person, *things = answer["phrases"]
    assert person["support"] is None
    assert -1 <= person["score"] <= 1
    assert all(0 <= phrase["support"] <= 1 for phrase in things)
    assert len({phrase["support"] for phrase in things}) == 3


def test_scores_are_those_of_a_search(explained: TestClient) -> None:
    found = explained.post("/v1/search/text", json={"query": "a red coat"}).json()
    scores = {image["id"]: image["score"] for one in found["candidates"] for image in one["images"]}
    for image_id in (1, 2):
        answer = ask(explained, "support", image_id, "a red coat").json()
        assert answer["score"] == pytest.approx(scores[image_id], abs=1e-6)
        assert answer["phrases"][0]["score"] == pytest.approx(scores[image_id], abs=1e-6)


def test_a_heat_map_is_a_picture_of_the_size_of_the_stored_one(explained: TestClient) -> None:
    response = ask(explained, "heatmap", 1, "a red coat")
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    assert response.headers["cache-control"] == "private, no-store"
    support = ask(explained, "support", 1, "a red coat").json()
    assert float(response.headers["descry-score"]) == pytest.approx(support["score"], abs=2e-3)
    assert response.headers["descry-model-version"] == "1"
    shown = Image.open(io.BytesIO(response.content))
    assert (shown.format, shown.size) == ("PNG", (40, 90))
    assert ask(explained, "heatmap", 1, "a red coat").content == response.content
    other = ask(explained, "heatmap", 1, "a blue bag").content
    assert (np.asarray(Image.open(io.BytesIO(other))) != np.asarray(shown)).any()


def test_a_heat_map_of_a_large_picture_is_bounded(explained: TestClient) -> None:
    shown = Image.open(io.BytesIO(ask(explained, "heatmap", 2, "a green shirt").content))
    assert shown.size == (512, 1024)


@pytest.mark.parametrize("what", ["support", "heatmap"])
@pytest.mark.parametrize(
    ("image_id", "query", "status", "code"),
    [
        (99, "a red coat", 404, "image_not_found"),
        (1, "  ", 422, "query_empty"),
        (1, "red " * 600, 422, "query_too_long"),
        (1, "qqqq wwww", 422, "query_not_understood"),
    ],
)
def test_what_cannot_be_explained(
    explained: TestClient, what: str, image_id: int, query: str, status: int, code: str
) -> None:
    response = ask(explained, what, image_id, query)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_long_descriptions_are_cut_and_say_so(explained: TestClient) -> None:
    query = " and ".join(f"a {colour} {thing}" for colour in COLOURS for thing in ("coat", "hat"))
    answer = ask(explained, "support", 1, query).json()
    assert len(answer["phrases"]) == PHRASES
    assert "phrases_left_out" in {warning["code"] for warning in answer["warnings"]}
    answer = ask(explained, "support", 1, "no").json()
    assert (answer["phrases"], [warning["code"] for warning in answer["warnings"]]) == ([], ["no_phrases"])


def test_a_phrase_that_the_model_does_not_know_has_no_score(explained: TestClient) -> None:
    answer = ask(explained, "support", 1, "a red coat and sandals").json()
    assert [(phrase["text"], phrase["score"], phrase["support"]) for phrase in answer["phrases"][1:]] == [
        ("sandals", None, None)
    ]


def test_a_network_without_places_says_so(client: TestClient, ingest: IngestFolder, tmp_path: Path) -> None:
    picture(tmp_path / "toy-people" / "a.jpg", "red")
    ingest(tmp_path / "toy-people")
    assert ask(client, "support", 1, "a red coat").json()["phrases"][0]["support"] > 0.5
    response = ask(client, "heatmap", 1, "a red coat")
    assert (response.status_code, response.json()["code"]) == (409, "model_not_explainable")


def _fill(explainer: Explainer, job: Callable[[], bool], jobs: list[Future[Any]]) -> None:
    for _ in range(1000):
        jobs.append(explainer.submit(job))


def test_too_many_explanations_are_refused_and_searches_go_on(explained: TestClient) -> None:
    explainer: Explainer = explained.app.state.explainer  # type: ignore[attr-defined]
    begun, go_on = threading.Event(), threading.Event()

    def long() -> bool:
        begun.set()
        return go_on.wait(60)

    jobs: list[Future[Any]] = [explainer.submit(long)]
    assert begun.wait(60)
    try:
        with pytest.raises(EncoderBusyError):
            _fill(explainer, long, jobs)
        response = ask(explained, "heatmap", 1, "a red coat")
        assert (response.status_code, response.json()["code"]) == (429, "encoder_busy")
        assert int(response.headers["retry-after"]) > 0
        assert explained.post("/v1/search/text", json={"query": "a red coat"}).status_code == 200
    finally:
        go_on.set()
    assert all(job.result(60) for job in jobs)
    assert ask(explained, "heatmap", 1, "a red coat").status_code == 200


def test_remembered_phrases_have_the_vectors_of_new_ones(core: Core) -> None:
    vectors, encoder = PhraseVectors(), core.active.current().encoder
    first = vectors.of(encoder, ["red coat", "blue", "red coat"])
    assert np.array_equal(first[0], first[2])
    assert np.array_equal(vectors.of(encoder, ["blue", "green", "red coat"])[[2, 0]], first[:2])
    assert np.allclose(first[1], encoder.submit_text("blue").result().vector, atol=1e-6)


def test_the_verb_explains(explained: TestClient, settings: Settings, tmp_path: Path) -> None:
    folder, out = ["--data-dir", str(settings.data_dir)], tmp_path / "heat.png"
    result = CliRunner().invoke(verbs, ["explain", "1", QUERY, "--out", str(out), "--json", *folder])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["heatmap"] == str(out)
    del answer["heatmap"]
    assert answer == ask(explained, "support", 1, QUERY).json()
    assert out.read_bytes() == ask(explained, "heatmap", 1, QUERY).content
    shown = CliRunner().invoke(verbs, ["explain", "1", QUERY, *folder])
    assert "a red coat" in shown.stdout
    assert "no hat" in shown.stdout
