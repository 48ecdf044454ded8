"""LGUR's method: the sum of eq 10, and a real run on the miniature set."""

import json
from pathlib import Path

import pytest
import torch

from models.checkpoint import load_checkpoint
from models.clip_baseline import compact_spec
from models.lgur import Lgur, lgur_spec, unit
from models.registry import build
from models.tokenizers import TokenizerSpec
from training.datasets import read_dataset
from training.engine.optimisation import settings_of
from training.engine.trainer import BEST, Trainer
from training.errors import TrainingError
from training.events import read_events
from training.methods.base import Batch, TrainSize
from training.methods.lgur import LgurMethod
from training.networks.building import build_encoder
from training.objectives.identity import part_identity
from training.objectives.ranking import ranking
from training.recipe import Recipe, load_recipe, read_recipe
from training.records import Record

OPTIONS = {
    "dim": 16,
    "image_width": 8,
    "text_width": 32,
    "atoms": 10,
    "heads": 2,
    "dictionary_head": 8,
    "dictionary_hidden": 32,
    "prototypes": 3,
    "part": 16,
    "prototype_head": 8,
    "prototype_hidden": 32,
    "drop_words": 0.0,
}


def recipe(root: Path, **fields: object) -> Recipe:
    content: dict[str, object] = {
        "name": "tiny",
        "method": "lgur",
        "data": {"root": str(root)},
        "encoder": {"height": 32, "width": 16, "options": OPTIONS},
        "augmentation": {"shift": 1, "erase": 0.0, "brightness": 0.1},
        "optimiser": {"lr": 0.004},
        "schedule": {"epochs": 12, "warmup": 0.5},
        "batch": 32,
        "precision": "fp32",
    }
    return read_recipe(content | fields, where="test")


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(5)
    ids = torch.tensor([0, 0, 1, 2, 3, 3])
    tokens = torch.tensor([[2, 3, 4], [2, 3, 0], [5, 0, 0], [3, 3, 3], [4, 2, 5], [0, 0, 0]])
    return Batch(torch.randn(6, 3, 32, 16), tokens, ids, torch.arange(6), torch.arange(6), 0)


def method(chosen: Recipe, **switches: bool) -> LgurMethod:
    torch.manual_seed(0)
    words = TokenizerSpec("words", 16, ("a", "red", "jacket", "woman"))
    network = build(lgur_spec("compact", words, height=32, width=16, options={**OPTIONS, **switches}))
    return LgurMethod(network, chosen, TrainSize(pairs=6, images=6, identities=4)).eval()


def test_the_terms_are_those_of_equation_10(batch: Batch, tmp_path: Path) -> None:
    lgur = method(recipe(tmp_path))
    network, ids = lgur.network, batch.identities
    torch.manual_seed(9)
    terms = lgur(batch)
    assert list(terms) == ["id", "rank", "id_guided", "rank_guided", "guide"]

    patches = network.backbone.image(batch.pixels).tokens
    words = network.backbone.text(batch.token_ids)
    image, text = network.image_parts(patches), network.text_parts(words.tokens, words.mask)
    image_g, text_g = network.guidance(patches, words.tokens, words.mask)

    def identity(*parts: torch.Tensor) -> torch.Tensor:
        return torch.stack([part_identity(lgur.classifiers(part), ids) for part in parts]).sum()

    torch.manual_seed(9)  # negatives are drawn in the order of the terms
    expected = {
        "id": identity(image, text),
        "rank": ranking(unit(image), unit(text), ids, 0.3),
        "id_guided": identity(image_g, text_g),
        "rank_guided": ranking(unit(image_g), unit(text_g), ids, 0.3),
        "guide": ranking(unit(image), unit(image_g), ids, 0.3) + ranking(unit(text), unit(text_g), ids, 0.3),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in lgur.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_without_dictionary_or_guidance_their_terms_are_gone(batch: Batch, tmp_path: Path) -> None:
    for lgur in (
        method(recipe(tmp_path), dictionary=False),
        method(recipe(tmp_path, lgur={"guidance": False})),
    ):
        assert list(lgur(batch)) == ["id", "rank"]


def test_a_batch_of_one_identity_trains(batch: Batch, tmp_path: Path) -> None:
    lgur = method(recipe(tmp_path))
    one = Batch(batch.pixels, batch.token_ids, torch.zeros_like(batch.identities), batch.pairs, batch.images, 0)
    terms = lgur(one)
    assert float(terms["rank"].detach()) == 0.0
    assert float(terms["id"].detach()) > 0.0


def test_lgur_trains_its_own_network_only(tmp_path: Path) -> None:
    baseline = build(compact_spec(("a", "red"), height=32, width=16))
    with pytest.raises(ValueError, match="its own network"):
        LgurMethod(baseline, recipe(tmp_path), TrainSize(1, 1, 1))
    with pytest.raises(TrainingError, match=r"no backbone 'ViT-B-16'"):
        build_encoder(recipe(tmp_path, encoder={"backbone": "ViT-B-16"}), ())


def test_a_run_learns_and_exports_a_servable_checkpoint(tiny_set: Path, tmp_path: Path) -> None:
    trainer = Trainer(recipe(tiny_set), read_dataset("cuhk_pedes", tiny_set), tmp_path, device="cpu")
    trainer.run()
    epochs = [event["losses"] for event in read_events(tmp_path) if event["event"] == "epoch"]
    assert sum(epochs[-1].values()) < 0.7 * sum(epochs[0].values())
    assert json.loads((tmp_path / "metrics.json").read_text())["R@1"] > 40  # chance is 12
    encoder = load_checkpoint(tmp_path / BEST)
    assert isinstance(encoder, Lgur)
    assert encoder.spec.spaces["image"].stored_as == "text"
    assert encoder.encode_text(encoder.tokenize(["a red jacket"]).ids).shape == (1, 48)


def test_the_rows_of_its_ablation_are_the_networks_that_they_name(tmp_path: Path) -> None:
    chosen = load_recipe("lgur-small-synthetic")
    described = Record(tmp_path / "a.jpg", 0, ("a red jacket", "a red jacket"))
    built = {}
    for row in LgurMethod.ablation(chosen):
        own = load_recipe("lgur-small-synthetic", row.overrides)
        network = build_encoder(own, (described,))
        assert isinstance(network, Lgur)
        trained = LgurMethod(network, own, TrainSize(pairs=2, images=1, identities=1))
        built[row.name] = network.dictionary is not None, network.prototypes.queries is not None, trained.guided
    assert built == {
        "baseline": (False, False, False),
        "+PGU": (False, True, False),
        "+DGA": (True, False, True),
        "LGUR": (True, True, True),
    }


@pytest.mark.parametrize("name", ["lgur-cuhk-pedes", "lgur-cuhk-pedes-resnet50"])
def test_the_papers_rates_reach_the_parameters_they_are_for(name: str, tmp_path: Path) -> None:
    options = {"bert_layers": "1", "bert_width": "24", "bert_heads": "2"}
    small = [f"encoder.options.{option}={value}" for option, value in options.items()]
    chosen = load_recipe(name, [*small, "encoder.pretrained=null", "encoder.text_pretrained=null"])
    network = build_encoder(chosen, (Record(tmp_path / "a.jpg", 0, ("a red jacket", "a red jacket")),))
    lgur = LgurMethod(network, chosen, TrainSize(pairs=2, images=1, identities=2))
    rates = {name: settings_of(name, parameter, chosen.optimiser) for name, parameter in lgur.named_parameters()}
    assert {decay for _, decay in rates.values()} == {0.0}
    faster = ("encoder.backbone.text_tower.lstm.", "encoder.prototypes.project", "classifiers.")
    for parameter, (rate, _) in rates.items():
        assert rate == (0.001 if parameter.startswith(faster) else 0.0001), parameter
