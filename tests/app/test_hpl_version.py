"""A version whose two spaces have the same dimension: taking one for the other would fail nowhere but in the scores."""

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from torch import nn

from app.association.candidates import read_candidates
from app.collections.service import CollectionService
from app.commands.models import activate_version, register_checkpoint
from app.core import Core
from app.gallery.sources import open_source
from app.main import create_app
from app.settings import Settings
from models.backbones.routed import RoutedCompact
from models.checkpoint import save_checkpoint
from models.encoder import PersonEncoder, Space
from models.hpl import Hpl, hpl_compact_spec
from models.registry import build
from tests.app.toy import COLOURS, picture


def hpl(files: list[Path]) -> PersonEncoder:
    """Random weights, whose two vectors of a picture have nothing to do with each other; centred on the pictures."""
    torch.manual_seed(3)
    options = {"dim": 16, "image_width": 4, "text_width": 16}
    encoder = build(hpl_compact_spec((*COLOURS, "person"), height=32, width=16, options=options))
    assert isinstance(encoder, Hpl)
    assert isinstance(encoder.backbone, RoutedCompact)
    encoder.eval()
    assert encoder.backbone.join_i2i is not None
    joins = encoder.backbone.image_tower.join, encoder.backbone.join_i2i
    last = [join[1] for join in joins]
    with torch.no_grad():
        for layer in last:
            assert isinstance(layer, nn.Linear)
            layer.weight.normal_()
        pictures = [Image.open(file) for file in files]
        seen = encoder.route(encoder.normalise(torch.stack([encoder.preprocess(image) for image in pictures])))
        for layer, found in zip(last, (seen.t2i, seen.i2i), strict=True):
            assert isinstance(layer, nn.Linear)
            layer.bias.sub_(found.mean(dim=0))
    return encoder


def vectors(encoder: PersonEncoder, file: Path) -> dict[Space, torch.Tensor]:
    with Image.open(file) as image, torch.inference_mode():
        pixels = encoder.preprocess(image)[None]
        return {space: found[0] for space, found in encoder.encode_image(encoder.normalise(pixels)).items()}


def test_words_and_pictures_are_each_scored_in_their_space(
    empty_core: Core, settings: Settings, tmp_path: Path
) -> None:
    core = empty_core
    files = {colour: picture(tmp_path / "people" / f"{colour}.png", colour) for colour in COLOURS}
    encoder = hpl(list(files.values()))
    save_checkpoint(encoder, tmp_path / "hpl", card="# hpl\n")
    version = register_checkpoint(core, tmp_path / "hpl", "hpl").id
    activate_version(core, version)
    core.active.follow()
    list(core.ingest().run(open_source(tmp_path / "people")))
    gallery = {colour: vectors(encoder, file) for colour, file in files.items()}
    query = files["purple"].read_bytes()
    with torch.inference_mode():
        words = encoder.encode_text(encoder.tokenize(["red person"]).ids)[0]
    expected = {
        "text": sorted((float(words @ found["text"]) for found in gallery.values()), reverse=True),
        "image": sorted((float(gallery["purple"]["image"] @ v["image"]) for v in gallery.values()), reverse=True),
    }
    mistaken = sorted((float(gallery["purple"]["text"] @ v["text"]) for v in gallery.values()), reverse=True)
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        told = client.post("/v1/search/text", json={"query": "red person", "limit": 8}).json()
        shown = client.post("/v1/search/image", files={"file": ("q.png", io.BytesIO(query), "image/png")}).json()
    for space, answer in (("text", told), ("image", shown)):
        scores = [candidate["score"] for candidate in answer["candidates"]]
        assert scores == pytest.approx(expected[space], abs=2e-3), space
    assert max(abs(one - other) for one, other in zip(mistaken, expected["image"], strict=True)) > 0.05

    with core.database.read() as session:
        home = CollectionService(session).find("default")
        found = read_candidates(session, home, version, encoder.spec, window_s=None, instants_apart=False)
    own = torch.stack([v["image"] for v in gallery.values()])
    nearest = (torch.from_numpy(found.vectors) @ own.T).amax(dim=1)
    assert nearest.tolist() == pytest.approx([1.0] * len(COLOURS), abs=2e-3)
