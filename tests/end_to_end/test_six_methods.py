"""A checkpoint of every method, trained, registered, indexed and searched by words and by a picture on one server."""

import io
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from app.commands.models import activate_version, register_checkpoint
from app.core import opened
from app.gallery.sources import open_source
from app.settings import Settings
from models.checkpoint import load_checkpoint
from models.encoder import PersonEncoder
from tests.end_to_end.test_service_process import serving
from tests.training.conftest import write_set
from tests.training.methods.test_method_bdam import OPTIONS as BDAM
from tests.training.methods.test_method_hkgr import OPTIONS as HKGR
from tests.training.methods.test_method_hpl import OPTIONS as HPL
from tests.training.methods.test_method_lgur import OPTIONS as LGUR
from tests.waiting import LIMIT_S
from training.datasets.preparation import prepare_data
from training.engine.trainer import BEST, Trainer
from training.methods import METHODS
from training.recipe import Recipe, read_recipe

QUERY = "a person in a red shirt and blue trousers"
TOLERANCE = 2e-3
"""The gallery's vectors are stored as fp16."""


def recipe(root: Path, method: str) -> Recipe:
    plain: dict[str, object] = {"dim": 32, "image_width": 8, "rows": 4, "text_width": 32}
    options: dict[str, Any] = {"lgur": LGUR, "hkgr": HKGR, "hpl": HPL, "bdam": BDAM}
    stages = [
        {"name": name, "optimiser": {"lr": 0.003}, "schedule": {"epochs": 1, "warmup": 0.0}}
        for name in ("base", "construct")
    ]
    own: dict[str, dict[str, object]] = {
        "hkgr": {"hkgr": {"align": "infonce", "tau": 0.1, "text_aug": "none", "depth": 1, "heads": 2}},
        "hpl": {"hpl": {"heads": 2, "depth": 1, "pseudo_tokens": 3, "id_tokens": 2}, "before": stages},
        "bdam": {"bdam": {"tau": 0.2, "weight_warm": 2}},
    }
    content: dict[str, object] = {
        "name": method,
        "method": method,
        "data": {"root": str(root)},
        "encoder": {"height": 32, "width": 16, "options": options.get(method, plain), "word_minimum": 1},
        "optimiser": {"lr": 0.003},
        "schedule": {"epochs": 2, "warmup": 0.5},
        "sampler": {"name": "identity", "identities": 8, "pairs": 4},
        "batch": 32,
        "precision": "fp32",
    }
    return read_recipe(content | own.get(method, {}), where="test")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("people") / "CUHK-PEDES")


def trained(root: Path, method: str, folder: Path) -> Path:
    chosen = recipe(root, method)
    Trainer(chosen, prepare_data(chosen), folder, device="cpu").run()
    return folder / BEST


def expected(encoder: PersonEncoder, files: list[Path], query: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What the encoder itself says: the scores of all pictures for the words and for the picture, best first."""
    with torch.inference_mode():
        seen = encoder.encode_image(encoder.normalise(torch.stack([encoder.preprocess(opened_as(f)) for f in files])))
        shown = encoder.encode_image(encoder.normalise(encoder.preprocess(opened_as(query))[None]))
        words = encoder.encode_text(encoder.tokenize([QUERY]).ids)[0]
    stored = encoder.spec.stored("image")
    scores = {"text": seen["text"] @ words, "image": seen[stored] @ shown[stored][0]}
    return {space: np.sort(found.numpy())[::-1] for space, found in scores.items()}


def opened_as(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def scores(response: httpx.Response, version: int) -> np.ndarray[Any, Any]:
    answer = response.raise_for_status().json()
    assert answer["model_version"]["id"] == version
    return np.sort([image["score"] for candidate in answer["candidates"] for image in candidate["images"]])[::-1]


def activate(client: httpx.Client, version: int) -> None:
    """By the server and its worker: the gallery is encoded, then the version answers."""
    job = client.post(f"/v1/models/{version}/activate").raise_for_status().json()
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        active = client.post("/v1/search/text", json={"query": QUERY}).raise_for_status().json()["model_version"]
        if active["id"] == version:
            return
        time.sleep(0.1)
    raise AssertionError(f"version {version} does not become active: {job}")


def test_every_method_answers_words_and_pictures(people: Path, tmp_path: Path) -> None:
    files = sorted((people / "imgs").rglob("p?_*.png"))
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for file in files:
        (gallery / file.name).write_bytes(file.read_bytes())
    data, versions = tmp_path / "data", {}
    with opened(Settings(data_dir=data, device="cpu")) as core:
        for method in METHODS:
            folder = trained(people, method, tmp_path / "runs" / method)
            versions[method] = (register_checkpoint(core, folder, method).id, load_checkpoint(folder))
        first = next(iter(METHODS))
        activate_version(core, versions[first][0])
        outcomes = [outcome.status for outcome in core.ingest().run(open_source(gallery))]
    assert outcomes == ["ingested"] * len(files)
    assert {encoder.spec.method for _, encoder in versions.values()} >= {"clip_baseline", "lgur", "hkgr", "hpl", "bdam"}
    query = people / "imgs" / "made" / "p33_c01_.png"
    with serving(data) as (client, _):
        for method, (version, encoder) in versions.items():
            if method != first:
                activate(client, version)
            told = client.post("/v1/search/text", json={"query": QUERY, "limit": 100})
            picture = {"file": ("query.png", io.BytesIO(query.read_bytes()), "image/png")}
            shown = client.post("/v1/search/image", files=picture, data={"limit": "100"})
            for space, response in (("text", told), ("image", shown)):
                wanted = expected(encoder, files, query)[space]
                found = scores(response, version)
                assert len(found) == len(files), (method, space)
                np.testing.assert_allclose(found, wanted, atol=TOLERANCE, err_msg=f"{method}, {space}")
