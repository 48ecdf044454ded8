"""BDAM's method: the sum of eq 6, its texts, GradNorm across a stop, and a real run on the miniature set."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from models.bdam import Bdam, bdam_spec
from models.checkpoint import load_checkpoint
from models.clip_baseline import compact_spec
from models.registry import build
from models.tokenizers import TokenizerSpec
from tests.training.engine.test_resume import same_state
from training.datasets import read_dataset
from training.engine.trainer import BEST, Trainer
from training.errors import RecipeError, TrainingError
from training.events import read_events
from training.methods.base import Batch, TrainSize
from training.methods.bdam import BdamMethod
from training.networks.building import build_encoder
from training.objectives.decoupling import adversarial, gate_regulariser, hsic, reversed_matching
from training.objectives.infonce import infonce
from training.objectives.triplet import squared_triplet
from training.recipe import Recipe, load_recipe, read_recipe
from training.records import Record

OPTIONS = {
    "dim": 16,
    "image_width": 8,
    "text_width": 32,
    "depth": 1,
    "heads": 2,
    "hidden": 32,
    "dropout": 0.0,
    "drop_words": 0.0,
    "fusion_dim": 16,
    "out": 16,
    "mamba_state": 4,
}
WORDS = (
    *("a", "young", "woman", "man", "with", "long", "black", "hair", "wearing", "red", "blue", "jacket", "jeans"),
    *("and", "person", "in"),
)
CAPTIONS = (
    "a young woman with long black hair wearing a red jacket and blue jeans",
    "a man in a blue jacket",
    "a woman wearing red jeans",
    "a person",
    "a man with black hair",
    "a woman in a red jacket",
)


def recipe(root: Path, **fields: object) -> Recipe:
    content: dict[str, object] = {
        "name": "tiny",
        "method": "bdam",
        "data": {"root": str(root)},
        "encoder": {"height": 32, "width": 16, "options": OPTIONS},
        "bdam": {"tau": 0.1, "weight_warm": 2},
        "augmentation": {"shift": 1, "erase": 0.0, "brightness": 0.1},
        "optimiser": {"lr": 0.004},
        "schedule": {"epochs": 10, "warmup": 0.5},
        "sampler": {"name": "identity", "identities": 8, "pairs": 4},
        "batch": 32,
        "precision": "fp32",
    }
    return read_recipe(content | fields, where="test")


def records(root: Path) -> tuple[Record, ...]:
    return tuple(Record(root / f"{n}.jpg", n // 2, (caption,)) for n, caption in enumerate(CAPTIONS))


def method(root: Path, *, options: dict[str, int] | None = None, **part: object) -> BdamMethod:
    torch.manual_seed(0)
    spec = bdam_spec(
        "compact", TokenizerSpec("words", 16, WORDS), height=32, width=16, options=OPTIONS | (options or {})
    )
    chosen = recipe(root, bdam={"tau": 0.1, "weight_warm": 2, "identity_text": 0.0} | part)
    made = BdamMethod(build(spec), chosen, TrainSize(pairs=6, images=6, identities=3))
    made.prepare(records(root))
    return made.eval()


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    torch.manual_seed(5)
    tokens = method(tmp_path).encoder.tokenize(CAPTIONS).ids
    ids = torch.tensor([0, 0, 1, 1, 2, 2])
    return Batch(torch.randn(6, 3, 32, 16), tokens, ids, torch.arange(6), torch.arange(6), 0)


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def test_the_terms_are_those_of_equation_6(batch: Batch, tmp_path: Path) -> None:
    bdam = method(tmp_path)
    bdam.balance.log_weights.copy_(torch.tensor([1.5, 0.5, 1.2, 0.8]).log())
    terms = bdam(batch)
    assert list(terms) == ["infonce", "triplet", "adversarial", "decouple", "gate"]
    ids, head = batch.identities, bdam.clothing_to_text
    views = bdam.network.views(batch.pixels, batch.token_ids, bdam.identity_ids, bdam.clothing_ids)
    found = views.decoupled
    assert found.clothing is not None
    assert found.clothing_gated is not None
    assert views.weights is not None
    assert views.clothing_text is not None
    assert head is not None
    expected = {
        "infonce": 1.5 * infonce(views.image, views.text, 10.0, ids),
        "triplet": 0.5 * squared_triplet(views.fused, ids, 0.3),
        "adversarial": 1.2 * adversarial(head(found.clothing), views.clothing_text, 10.0),
        "decouple": 0.8 * hsic(found.identity_gated, found.clothing_gated),
        "gate": 0.01 * gate_regulariser(found.gate, views.weights[:, 0]),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-6)
    total(terms).backward()  # type: ignore[no-untyped-call]
    for name, parameter in bdam.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_section_4_3_matches_clothing_and_reverses_identity(batch: Batch, tmp_path: Path) -> None:
    bdam = method(tmp_path, adv="grl")
    views = bdam.network.views(batch.pixels, batch.token_ids, bdam.identity_ids, bdam.clothing_ids)
    found, head = views.decoupled, bdam.clothing_to_text
    assert found.clothing is not None
    assert views.clothing_text is not None
    assert head is not None
    expected = reversed_matching(
        head(found.identity), head(found.clothing), views.clothing_text, 10.0, batch.identities
    )
    torch.testing.assert_close(bdam(batch)["adversarial"], expected)


def test_the_texts_of_a_pair_are_its_own(tmp_path: Path) -> None:
    bdam = method(tmp_path)
    known = bdam.encoder.tokenizer

    def words(ids: torch.Tensor) -> list[str]:
        return [WORDS[int(n) - 2] for n in ids if int(n) > 1]

    assert known.words(bdam.identity_ids).any(dim=1).all()
    assert "jacket" not in words(bdam.identity_ids[0])
    assert {"red", "jacket", "blue", "jeans"} <= set(words(bdam.clothing_ids[0]))
    assert "hair" not in words(bdam.clothing_ids[0])
    assert not bdam.generated.any()


def test_only_a_models_identity_text_replaces_captions_and_as_often_as_said(batch: Batch, tmp_path: Path) -> None:
    rules = method(tmp_path, identity_text=1.0)
    torch.testing.assert_close(rules(batch)["infonce"], method(tmp_path)(batch)["infonce"])
    always = method(tmp_path, identity_text=1.0)
    always.generated.fill_(True)
    width = max(batch.token_ids.shape[1], always.identity_ids.shape[1])
    replaced = replace(batch, token_ids=F.pad(always.identity_ids, (0, width - always.identity_ids.shape[1])))
    torch.testing.assert_close(always(batch)["infonce"], method(tmp_path)(replaced)["infonce"])
    half = method(tmp_path, identity_text=0.5)
    half.generated.fill_(True)
    values = set()
    for seed in range(8):
        torch.manual_seed(seed)
        values.add(round(float(half(batch)["infonce"].detach()), 6))
    assert len(values) > 2


def test_gradnorm_moves_the_weights_and_the_step_takes_them_as_constants(batch: Batch, tmp_path: Path) -> None:
    bdam = method(tmp_path).train()
    for _ in range(6):
        terms = bdam(batch)
        assert all(parameter.grad is None for parameter in bdam.parameters())
    weights = bdam.balance.weights
    assert float(weights.sum()) == pytest.approx(4.0, rel=1e-5)
    assert (weights - 1).abs().max() > 0.01
    assert not weights.requires_grad
    total(terms).backward()  # type: ignore[no-untyped-call]
    told = bdam.measurements()
    assert told["weight_infonce"] == pytest.approx(float(weights[0]), abs=1e-3)
    assert 0 < told["gate_mean"] < 1
    assert 0 < told["fusion_image"] < 1
    assert "gate_mean" not in bdam.measurements()
    seldom = method(tmp_path, weight_every=3).train()
    for _ in range(7):
        seldom(batch)
    assert int(seldom.balance.seen) == 3
    still = method(tmp_path, gradnorm=False).train()
    for _ in range(4):
        still(batch)
    assert torch.equal(still.balance.weights, torch.ones(4))
    evaluated = method(tmp_path)
    evaluated(batch)
    assert int(evaluated.balance.seen) == 0


def test_its_losses_fall_on_one_batch(batch: Batch, tmp_path: Path) -> None:
    bdam = method(tmp_path, gradnorm=False).train()
    optimiser = torch.optim.Adam(bdam.parameters(), lr=0.003)
    history = []
    for _ in range(40):
        optimiser.zero_grad()
        terms = bdam(batch)
        total(terms).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        history.append({name: float(value.detach()) for name, value in terms.items()})
    for name in ("infonce", "triplet", "adversarial"):
        assert history[-1][name] < 0.7 * history[0][name], name
    assert history[-1]["decouple"] < 0.1


def test_a_batch_of_one_identity_and_one_without_positives_train(batch: Batch, tmp_path: Path) -> None:
    for ids in (torch.zeros(6, dtype=torch.int64), torch.arange(6)):
        bdam = method(tmp_path).train()
        for _ in range(4):  # GradNorm, too, meets a task without a gradient
            terms = bdam(replace(batch, identities=ids))
        assert float(terms["triplet"].detach()) == 0.0
        total(terms).backward()  # type: ignore[no-untyped-call]
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in bdam.parameters())
        assert bdam.balance.weights.isfinite().all()


def test_what_cannot_be_trained_is_refused(batch: Batch, tmp_path: Path) -> None:
    baseline = build(compact_spec(("a", "red"), height=32, width=16))
    with pytest.raises(ValueError, match="its own network"):
        BdamMethod(baseline, recipe(tmp_path), TrainSize(1, 1, 1))
    with pytest.raises(ValueError, match="there is no clothing"):
        method(tmp_path, options={"decouple": 0})
    off = dict.fromkeys(("infonce", "triplet", "adversarial", "decouple"), False)
    with pytest.raises(RecipeError, match="turn on infonce"):
        recipe(tmp_path, bdam=off)
    with pytest.raises(TrainingError, match="no backbone 'ViT-B-16'"):
        build_encoder(recipe(tmp_path, encoder={"backbone": "ViT-B-16"}), ())
    unprepared = BdamMethod(method(tmp_path).encoder, recipe(tmp_path), TrainSize(6, 6, 3))
    with pytest.raises(ValueError, match="call `prepare`"):
        unprepared(batch)


def test_a_run_learns_and_exports_a_servable_checkpoint(tiny_set: Path, tmp_path: Path) -> None:
    # The triplet loss on fused features is soon met by their texts alone, and teaches the image nothing.
    chosen = recipe(
        tiny_set,
        bdam={"tau": 0.1, "weight_warm": 2, "triplet_on": "image"},
        optimiser={"lr": 0.002},
        schedule={"epochs": 12, "warmup": 0.5},
    )
    trainer = Trainer(chosen, read_dataset("cuhk_pedes", tiny_set), tmp_path, device="cpu")
    trainer.run()
    epochs = [event for event in read_events(tmp_path) if event["event"] == "epoch"]
    assert epochs[-1]["loss_infonce"] < 0.85 * epochs[0]["loss_infonce"]  # four pairs of one identity: log 4 is least
    weighted = epochs[-1]["losses"]["infonce"]
    assert weighted != pytest.approx(epochs[-1]["loss_infonce"], rel=0.01)
    weights = [epochs[-1][f"weight_{task}"] for task in ("infonce", "triplet", "adversarial", "decouple")]
    assert sum(weights) == pytest.approx(4.0, abs=1e-3)
    assert json.loads((tmp_path / "metrics.json").read_text())["R@1"] > 20  # chance is 12
    encoder = load_checkpoint(tmp_path / BEST)
    assert isinstance(encoder, Bdam)
    assert encoder.encode_text(encoder.tokenize(["a red jacket"]).ids).shape == (1, 16)


def test_a_stopped_run_goes_on_with_its_weights_and_not_with_other_texts(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = OPTIONS | {"dropout": 0.1, "drop_words": 0.1}
    chosen = recipe(
        tiny_set,
        encoder={"height": 32, "width": 16, "options": options},
        schedule={"epochs": 3, "warmup": 0.5},
        save_every=1,
        average=0.9,
    )
    data = read_dataset("cuhk_pedes", tiny_set)
    Trainer(chosen, data, tmp_path / "whole", device="cpu").run()
    stopped = Trainer(chosen, data, tmp_path / "parts", device="cpu")
    save = stopped._save_state

    def stop() -> None:
        save()
        if stopped.position.step == stopped.pairs.steps + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(stopped, "_save_state", stop)
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    with monkeypatch.context() as changed:
        changed.setattr("training.descriptions.person_texts.split_description", lambda caption: _Same(caption))
        with pytest.raises(TrainingError, match="texts are not those that the run began with"):
            Trainer(chosen, data, tmp_path / "parts", device="cpu")
    resumed = Trainer(chosen, data, tmp_path / "parts", device="cpu")
    assert resumed.position.step == resumed.pairs.steps + 1
    resumed.run()
    same_state(tmp_path / "whole", tmp_path / "parts")
    trained = resumed.accelerator.unwrap_model(resumed.method)
    assert int(trained.balance.seen) == resumed.position.step
    assert (trained.balance.weights - 1).abs().max() > 0.01


class _Same:
    def __init__(self, caption: str) -> None:
        self.identity = self.clothing = caption


def test_the_rows_of_its_ablation_are_the_networks_and_losses_that_they_name(tmp_path: Path) -> None:
    described = Record(tmp_path / "a.jpg", 0, ("a red jacket", "a red jacket"))
    built: dict[str, tuple[bool, bool, bool, str]] = {}
    for row in BdamMethod.ablation(load_recipe("bdam-small-synthetic")):
        own = load_recipe("bdam-small-synthetic", row.overrides)
        network = build_encoder(own, (described,))
        if own.method == "clip_baseline":
            built[row.name] = (False, False, False, str(own.sampler.name))
            continue
        assert isinstance(network, Bdam)
        trained = BdamMethod(network, own, TrainSize(pairs=2, images=1, identities=1))
        fusion = network.fusion
        modules = network.decoupling is not None, bool(len(fusion.mamba.mixers)), fusion.gate is not None
        built[row.name] = (*modules, "".join(task[0] for task in trained.balance.tasks))
    assert built["baseline"] == built["baseline, pairs shuffled"] == (False, False, False, "i")
    assert built["+BDAM"] == built["+BDAM shallow"] == (True, False, False, "itad")
    assert built["+fusion"] == (False, True, True, "it")
    assert built["+fusion w/o Mamba"] == (False, False, True, "it")
    assert built["+fusion w/o gate"] == (False, True, False, "it")
    assert built["full"] == (True, True, True, "itad")
    assert built["full w/o InfoNCE"] == (True, True, True, "tad")
    assert built["full w/o adversarial"] == (True, True, True, "itd")
    assert built["ITC on compact's rows, pairs shuffled"][3] == "shuffle"
    assert len(set(built)) == 26


@pytest.mark.parametrize("name", ["bdam-cuhk-pedes", "bdam-icfg-pedes", "bdam-rstpreid"])
def test_the_papers_recipes_build_their_network(name: str, tmp_path: Path) -> None:
    small = {"vit_layers": 1, "vit_width": 24, "vit_heads": 2, "bert_layers": 1, "bert_width": 24, "bert_heads": 2}
    sizes = [f"encoder.options.{option}={value}" for option, value in (small | {"depth": 1, "heads": 2}).items()]
    chosen = load_recipe(name, [*sizes, "encoder.pretrained=null", "encoder.text_pretrained=null"])
    described = Record(tmp_path / "a.jpg", 0, ("a woman in a red jacket", "a red jacket"))
    network = build_encoder(chosen, (described,))
    bdam = BdamMethod(network, chosen, TrainSize(pairs=2, images=1, identities=1))
    bdam.prepare((described,))
    tokens = network.tokenize(described.descriptions).ids
    one = torch.zeros(2, dtype=torch.int64)
    terms = bdam.train()(Batch(torch.randn(2, 3, 224, 224), tokens, one, torch.arange(2), one, 0))
    total(terms).backward()  # type: ignore[no-untyped-call]
    shared = bdam.network.backbone.shared_weight
    assert shared.shape == (24, 96)
    assert shared.grad is not None
    assert shared.grad.abs().sum() > 0
