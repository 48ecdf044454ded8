"""Pictures of gates and features: what is drawn is what the network says."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.bdam import Bdam, bdam_spec
from models.clip_baseline import compact_spec
from models.registry import build
from models.tokenizers import TokenizerSpec
from tests.training.methods.test_method_bdam import OPTIONS, WORDS
from training.captioning import split_description
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.records import Record
from training.reports.bdam import Decoupled, decouple_split, dependence, draw_split


def network(**options: int) -> Bdam:
    torch.manual_seed(0)
    made = build(
        bdam_spec("compact", TokenizerSpec("words", 16, WORDS), height=32, width=16, options=OPTIONS | options)
    )
    assert isinstance(made, Bdam)
    return made.eval()


@pytest.fixture(scope="module")
def people(tiny_set: Path) -> tuple[Record, ...]:
    return read_dataset("cuhk_pedes", tiny_set).splits["test"]


def test_what_is_drawn_is_what_the_network_makes_of_each_image(people: tuple[Record, ...]) -> None:
    encoder = network()
    source = ImageSource([record.path for record in people], encoder.spec.preprocessing)
    found = decouple_split(encoder, people, source, batch=5)
    last = encoder.normalise(source.get([len(people) - 1]))
    source.close()
    with torch.inference_mode():
        alone = encoder.decouple(last)
        text = encoder.tokenize([split_description(people[-1].descriptions[0]).identity]).ids
        weights = encoder.views(last, text, text).weights
    assert alone.gate is not None
    assert alone.clothing_gated is not None
    assert weights is not None
    np.testing.assert_allclose(found.gate[-1], alone.gate[0].numpy(), rtol=1e-4)
    np.testing.assert_allclose(found.clothing[-1], alone.clothing_gated[0].numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.fusion[-1], weights[0, 0].numpy(), rtol=1e-4)
    assert len(found.fusion) == len(found.identities) == len(people)


def test_pictures_are_written_of_what_the_network_has(people: tuple[Record, ...], tmp_path: Path) -> None:
    written = draw_split("tiny", network(), people, tmp_path)
    assert [path.name for path in written] == ["gates.png", "features.png"]
    for path in written:
        with Image.open(path) as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert [path.name for path in draw_split("tiny", network(gate=0), people, tmp_path)] == [
        "gates.png",
        "features.png",
    ]
    assert draw_split("tiny", network(decouple=0, fusion_gate=0), people, tmp_path) == []
    baseline = build(compact_spec(("a", "red"), height=32, width=16))
    with pytest.raises(ValueError, match="pictures of a BDAM network"):
        draw_split("tiny", baseline, people, tmp_path)


def test_dependence_is_beside_that_of_shuffled_features() -> None:
    rng = np.random.default_rng(0)
    same = rng.normal(size=(400, 3)).astype(np.float32)
    nothing = np.zeros((400, 0), dtype=np.float32)
    ids = np.arange(400)
    value, chance = dependence(Decoupled(nothing, nothing[:, 0:0].ravel(), same, same, same, ids))
    assert value > 0.2
    assert chance < 0.02
