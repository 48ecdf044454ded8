"""HPL's method: its stages' terms and what each trains, and real runs on the miniature set (methods.md 7)."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models.backbones.clip import ClipBackbone
from models.backbones.compact import CompactBackbone
from models.checkpoint import load_checkpoint
from models.clip_baseline import compact_spec
from models.hpl import Hpl, hpl_clip_spec, hpl_compact_spec
from models.registry import build
from training.datasets import read_dataset
from training.engine.optimisation import settings_of
from training.engine.trainer import BEST, Trainer
from training.errors import RecipeError
from training.events import read_events
from training.methods.base import Batch, Pictures, TrainSize
from training.methods.hpl import BASE, CONSTRUCT, HplMethod
from training.networks.building import build_encoder
from training.networks.prompts import InversionNet, PromptEncoder
from training.objectives.prompts import (
    instance_consistency,
    local_alignment,
    prompt_contrast,
    prototype_identity,
    token_gap,
)
from training.objectives.sdm import sdm
from training.objectives.triplet import batch_hard_triplet
from training.recipe import MAIN, Recipe, load_recipe, read_recipe
from training.records import Record

WORDS = ("a", "red", "jacket", "woman", "photo", "of", "person")
OPTIONS = {"dim": 16, "image_width": 8, "text_width": 24, "drop_words": 0.0}
SMALL = {"heads": 2, "depth": 1, "pseudo_tokens": 3, "id_tokens": 2}
PAIRS, PICTURES = [0, 0, 1, 3], [1, 1, 4, 4]


def recipe(root: Path, *, hpl: Mapping[str, object] | None = None, **fields: object) -> Recipe:
    construct = {"name": CONSTRUCT, "optimiser": {"lr": 0.003}, "schedule": {"epochs": 4, "warmup": 0.0}}
    base = {"name": BASE, "optimiser": {"lr": 0.004}, "schedule": {"epochs": 6, "warmup": 0.5}}
    content: dict[str, object] = {
        "name": "tiny",
        "method": "hpl",
        "data": {"root": str(root)},
        "encoder": {"height": 32, "width": 16, "options": OPTIONS},
        "hpl": {**SMALL, **(hpl or {})},
        "augmentation": {"shift": 1, "erase": 0.0, "brightness": 0.1},
        "before": [base, construct],
        "optimiser": {"lr": 0.002},
        "schedule": {"epochs": 4, "warmup": 0.5},
        "sampler": {"name": "identity", "identities": 8, "pairs": 4},
        "batch": 32,
        "precision": "fp32",
    }
    return read_recipe(content | fields, where="test")


def drawn_batch() -> Batch:
    torch.manual_seed(5)
    tokens = torch.tensor([[2, 3, 4], [2, 3, 0], [5, 0, 0], [3, 3, 3]])
    places = torch.arange(4)
    pictures = Pictures(torch.randn(4, 3, 32, 16), torch.tensor(PICTURES), torch.zeros(4).long(), places)
    return Batch(torch.randn(4, 3, 32, 16), tokens, torch.tensor(PAIRS), places, places, 0, None, pictures)


def method(tmp_path: Path, stage: str, **hpl: object) -> HplMethod:
    torch.manual_seed(0)
    chosen = recipe(tmp_path, hpl=hpl)
    network = build(hpl_compact_spec(WORDS, height=32, width=16, routed=chosen.hpl.trt, options=OPTIONS))
    made = HplMethod(network, chosen, TrainSize(pairs=4, images=4, identities=5, pictures=4))
    if chosen.hpl.prompted:
        nn.init.normal_(made.id_tokens)
        made.begin_stage(CONSTRUCT)
    made.begin_stage(stage)
    return made.train()


def moved(made: nn.Module) -> set[str]:
    """The children, and the encoder's and own parameters, that have a gradient; all of it must be finite."""
    found = set()
    for name, parameter in made.named_parameters():
        if parameter.grad is not None and parameter.grad.abs().sum() > 0:
            assert parameter.grad.isfinite().all(), name
            found.add(name.split(".")[0])
    return found


def backward(terms: dict[str, torch.Tensor]) -> None:
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]


def test_stage_one_is_equation_13_and_moves_prompts_alone(tmp_path: Path) -> None:
    made, batch = method(tmp_path, CONSTRUCT), drawn_batch()
    assert not made.encoder.training
    before = {name: value.clone() for name, value in made.encoder.state_dict().items()}
    terms = made(batch)
    backward(terms)
    assert moved(made) == {"id_tokens", "invert_image", "invert_text"}
    for name, value in made.encoder.state_dict().items():
        torch.testing.assert_close(value, before[name], msg=name)  # nor do batch statistics move

    assert batch.pictures is not None
    ids = torch.tensor([*PAIRS, *PICTURES])
    seen = made.network.route(torch.cat([batch.pixels, batch.pictures.pixels]))
    text = made.network.backbone.text(batch.token_ids)
    words, mask = made.network.backbone.text_sequence(text)
    own = made.id_tokens[ids]
    image_prompts = made.prompts(own, made.invert_image(seen.sequence))
    text_prompts = made.prompts(own[:4], made.invert_text(words, mask))
    of_identities = made.prompts(own)
    expected = {
        "t2i": prompt_contrast(of_identities, ids, seen.t2i, ids, 50.0),
        "i2t": prompt_contrast(seen.t2i, ids, of_identities, ids, 50.0),
        "ic": instance_consistency(image_prompts, seen.t2i, text_prompts, text.pooled),
    }
    assert list(terms) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)


def test_stage_two_is_equation_14(tmp_path: Path) -> None:
    made, batch = method(tmp_path, MAIN), drawn_batch()
    made.eval()
    terms = made(batch)
    assert batch.pictures is not None
    own, ids = torch.tensor(PAIRS), torch.tensor([*PAIRS, *PICTURES])
    seen = made.network.route(torch.cat([batch.pixels, batch.pictures.pixels]))
    text = made.network.backbone.text(batch.token_ids)
    v, t = seen.t2i[:4], text.pooled
    image_tokens = made.invert_image(seen.part(0, 4).sequence)
    text_tokens = made.invert_text(*made.network.backbone.text_sequence(text))
    image_prompts, text_prompts = (made.prompts(made.id_tokens[own], p) for p in (image_tokens, text_tokens))
    prototypes = made.prompts(made.id_tokens)
    torch.testing.assert_close(made.prototypes, prototypes)
    guesses = made.classifier_t2i(v), made.classifier_t2i(t), made.classifier_i2i(seen.i2i)
    expected = {
        "match": sdm(v, t, own, 50.0),
        "id_t2i": (F.cross_entropy(guesses[0], own) + F.cross_entropy(guesses[1], own)) / 2,
        "triplet": batch_hard_triplet(seen.i2i, ids, 0.3),
        "id_i2i": F.cross_entropy(guesses[2], ids),
        "cic": prototype_identity(seen.i2i, ids, prototypes, 50.0),
        "ilpa": 0.4 * local_alignment(text_prompts, v, image_prompts, t),
        "cmpr": 0.06 * token_gap(text_tokens, image_tokens),
    }
    assert list(terms) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)


def test_stage_two_moves_inversion_nets_through_equation_12_alone(tmp_path: Path) -> None:
    trained = {"encoder", "classifier_t2i", "classifier_i2i"}
    for cmpr, nets in ((True, {"invert_image", "invert_text"}), (False, set[str]())):
        made = method(tmp_path, MAIN, cmpr=cmpr)
        assert made.encoder.training
        backward(made(drawn_batch()))
        assert moved(made) == trained | nets
        free = {name.split(".")[0] for name, parameter in made.named_parameters() if parameter.requires_grad}
        assert free == trained | nets
    made = method(tmp_path, MAIN)
    made(drawn_batch())["ilpa"].backward()
    assert moved(made) == {"encoder"}


def test_each_task_moves_its_own_read_out(tmp_path: Path) -> None:
    made = method(tmp_path, MAIN)
    backbone = made.network.backbone
    assert isinstance(backbone, CompactBackbone)
    readers = {"match": "join.", "id_t2i": "join.", "ilpa": "join.", "triplet": "join_i2i.", "id_i2i": "join_i2i."}
    for term, own in (readers | {"cic": "join_i2i."}).items():
        made.zero_grad()
        made(drawn_batch())[term].backward()
        touched = {name for name, p in backbone.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        joins = {name.split("join")[1].split(".")[0] for name in touched if "join" in name and "text" not in name}
        assert joins == {own.removeprefix("join").removesuffix(".")}, term


def test_the_base_stage_is_equation_2_with_infonce(tmp_path: Path) -> None:
    made = method(tmp_path, BASE)
    terms = made(drawn_batch())
    assert list(terms) == ["match", "id_t2i", "triplet", "id_i2i"]
    backward(terms)
    assert moved(made) == {"encoder", "classifier_t2i", "classifier_i2i"}


def test_without_pictures_the_described_images_stand_for_them(tmp_path: Path) -> None:
    made, batch = method(tmp_path, MAIN), drawn_batch()
    made.eval()
    alone = Batch(batch.pixels, batch.token_ids, batch.identities, batch.pairs, batch.images, 0)
    terms = made(alone)
    seen = made.network.route(batch.pixels)
    torch.testing.assert_close(terms["triplet"], batch_hard_triplet(seen.i2i, batch.identities, 0.3))
    torch.testing.assert_close(terms["cic"], prototype_identity(seen.i2i, batch.identities, made.prototypes, 50.0))


def test_stages_are_refused_where_they_make_no_sense(tmp_path: Path) -> None:
    network, size = build(hpl_compact_spec(WORDS, height=32, width=16, options=OPTIONS)), TrainSize(1, 1, 1)
    none = {"ilpa": False, "cic": False, "cmpr": False}
    with pytest.raises(RecipeError, match="all off"):
        HplMethod(network, recipe(tmp_path, hpl=none), size)
    with pytest.raises(RecipeError, match="there is none"):
        HplMethod(network, recipe(tmp_path, before=[]), size)
    assert not hasattr(HplMethod(network, recipe(tmp_path, hpl=none, before=[]), size), "prompts")
    baseline = build(compact_spec(WORDS, height=32, width=16))
    with pytest.raises(ValueError, match="its own network"):
        HplMethod(baseline, recipe(tmp_path), TrainSize(1, 1, 1))


@pytest.fixture(scope="module")
def clip_network() -> Hpl:
    """The paper's, at random, for small pictures; tests leave its weights as they are."""
    torch.manual_seed(0)
    network = build(hpl_clip_spec("ViT-B-16-quickgelu", height=64, width=32))
    assert isinstance(network, Hpl)
    return network


@pytest.mark.parametrize("kind", ["compact", "clip"])
@torch.inference_mode()
def test_the_second_text_encoder_reads_a_sentence_as_the_first_does(kind: str, clip_network: Hpl) -> None:
    torch.manual_seed(0)
    network = clip_network if kind == "clip" else build(hpl_compact_spec(WORDS, options=OPTIONS))
    assert isinstance(network, Hpl)
    network.eval()
    backbone, tokenizer = network.backbone, network.tokenizer
    prompts = PromptEncoder(backbone, tokenizer)
    if isinstance(backbone, ClipBackbone):
        table = backbone.clip.token_embedding
    else:
        assert isinstance(backbone, CompactBackbone)
        table = backbone.text_tower.embed

    def words(text: str) -> torch.Tensor:
        ids = tokenizer([text]).ids[0]
        found: torch.Tensor = table(ids[tokenizer.words(ids)])
        return found[None]

    def read(text: str) -> torch.Tensor:
        return backbone.text(tokenizer([text]).ids).pooled

    alone = read("A photo of red woman person")
    torch.testing.assert_close(prompts(words("red woman")), alone, atol=1e-5, rtol=1e-4)
    whole = read("A photo of red woman and a jacket person.")
    torch.testing.assert_close(prompts(words("red woman"), words("a jacket")), whole, atol=1e-5, rtol=1e-4)


def test_the_second_text_encoder_is_a_copy_of_its_moment() -> None:
    torch.manual_seed(0)
    network = build(hpl_compact_spec(WORDS, options=OPTIONS))
    assert isinstance(network, Hpl)
    prompts = PromptEncoder(network.backbone, network.tokenizer).train()
    assert not any(module.training for module in prompts.modules())
    assert not any(parameter.requires_grad for parameter in prompts.parameters())
    identity = torch.randn(2, 3, prompts.width)
    before = prompts(identity)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    torch.testing.assert_close(prompts(identity), before)
    prompts.take(network.backbone)
    assert float((prompts(identity) - before).abs().max()) > 0.01


def test_an_inversion_net_ignores_padding_and_leads_to_the_width_of_words() -> None:
    torch.manual_seed(0)
    net = InversionNet(16, 24, tokens=3, depth=2, heads=2)
    features, mask = torch.randn(2, 5, 16), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    out = net(features, mask)
    assert out.shape == (2, 3, 24)
    torch.testing.assert_close(net(features[1:, :3]), out[1:], atol=1e-5, rtol=1e-4)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert isinstance(InversionNet(16, 16, tokens=1, depth=1, heads=2).out, nn.Identity)


def test_the_paper_s_network_has_gradients_where_each_stage_trains(clip_network: Hpl) -> None:
    network, chosen = clip_network, load_recipe("hpl-cuhk-market", ["encoder.pretrained=null"])
    made = HplMethod(network, chosen, TrainSize(pairs=4, images=4, identities=5, pictures=4))
    assert made.prompts.width == 512
    assert isinstance(made.invert_image.out, nn.Identity)
    tokens = network.tokenize(["a woman in red", "a man", "a bag", "a red hat"]).ids
    places = torch.arange(4)
    pictures = Pictures(torch.randn(4, 3, 64, 32), torch.tensor(PICTURES), places, places)
    batch = Batch(torch.randn(4, 3, 64, 32), tokens, torch.tensor(PAIRS), places, places, 0, None, pictures)
    for stage in (CONSTRUCT, MAIN):
        made.zero_grad()
        made.begin_stage(stage)
        made.train()
        backward(made(batch))
        nets = {"invert_image", "invert_text"}
        rest = {"id_tokens"} if stage == CONSTRUCT else {"encoder", "classifier_t2i", "classifier_i2i"}
        assert moved(made) == nets | rest
    network.zero_grad()


def test_a_run_learns_in_each_stage_and_leaves_no_prompts_behind(tiny_set: Path, tmp_path: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    chosen = recipe(tiny_set)
    trainer = Trainer(chosen, data, tmp_path, device="cpu")
    trainer.run()
    epochs = [event["losses"] for event in read_events(tmp_path) if event["event"] == "epoch"]
    for stage in chosen.stages:
        first, last = (sum(epochs[at].values()) for at in (stage.first, stage.end - 1))
        assert last < 0.9 * first, stage.name
    encoder = load_checkpoint(tmp_path / BEST)
    assert isinstance(encoder, Hpl)
    assert encoder.spec.stored_spaces == ("text", "image")
    assert not [name for name in encoder.state_dict() if "prompt" in name or "invert" in name or "id_tokens" in name]
    found = encoder.encode_image(torch.randn(2, 3, 32, 16))
    assert float((found["text"] - found["image"]).abs().max()) > 0.01

    again = Trainer(chosen, data, tmp_path, device="cpu")
    done, resumed = (t.accelerator.unwrap_model(t.method).state_dict() for t in (trainer, again))
    assert again.stage.name == MAIN
    for name in ("prototypes", "id_tokens", "prompts.begin", "prompts.tower.words.join.1.weight"):
        torch.testing.assert_close(resumed[name], done[name], msg=name)


def test_the_rows_of_its_ablation_are_the_methods_that_they_name(tmp_path: Path) -> None:
    described = Record(tmp_path / "a.jpg", 0, ("a red jacket", "a red jacket"))
    built, stages = {}, {}
    for row in HplMethod.ablation(load_recipe("hpl-small-synthetic")):
        own = load_recipe("hpl-small-synthetic", row.overrides)
        network = build_encoder(own, (described,))
        made = HplMethod(network, own, TrainSize(pairs=2, images=1, identities=1))
        built[row.name] = made.network.routed, made.part.ilpa, made.part.cic, made.part.cmpr
        stages[row.name] = [stage.name for stage in own.stages]
    assert built == {
        "none": (False, False, False, False),
        "+TRT": (True, False, False, False),
        "+HPL": (True, True, True, False),
        "+CMPR": (True, True, True, True),
    }
    assert stages["none"] == stages["+TRT"] == [BASE, MAIN]
    assert stages["+HPL"] == stages["+CMPR"] == [BASE, CONSTRUCT, MAIN]


@pytest.mark.parametrize("name", ["hpl-cuhk-market", "hpl-icfg-msmt17", "hpl-rstp-duke"])
def test_the_paper_s_rates_reach_the_parameters_they_are_for(name: str, clip_network: Hpl) -> None:
    chosen = load_recipe(name, ["encoder.pretrained=null"])
    construct, main = chosen.stages
    assert (construct.name, construct.schedule.epochs, main.schedule.epochs) == (CONSTRUCT, 10, 60)
    made = HplMethod(clip_network, chosen, TrainSize(pairs=2, images=1, identities=3))
    made.begin_stage(CONSTRUCT)
    rates = {n: settings_of(n, p, construct.optimiser)[0] for n, p in made.named_parameters() if p.requires_grad}
    assert {n for n, rate in rates.items() if rate == 0.02} == {"id_tokens"}
    assert set(rates.values()) == {0.02, 5e-5}
    made.begin_stage(MAIN)
    rates = {n: settings_of(n, p, main.optimiser)[0] for n, p in made.named_parameters() if p.requires_grad}
    assert "id_tokens" not in rates
    assert rates["encoder.backbone.class_i2i"] == 1e-5
    assert rates["classifier_i2i.weight"] == pytest.approx(5e-5)
    assert chosen.data.pictures is not None
    assert (chosen.batch, chosen.data.pictures.batch, chosen.data.pictures.each) == (64, 64, 4)
