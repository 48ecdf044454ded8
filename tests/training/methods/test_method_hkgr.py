"""HKGR's method: its terms, its two streams of text, and a real run on the miniature set."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from models.checkpoint import load_checkpoint
from models.clip_baseline import compact_spec
from models.descriptions import parse
from models.hkgr import Hkgr, hkgr_spec
from models.registry import build
from training.datasets import read_dataset
from training.descriptions.parsed_captions import write_parsed
from training.engine.optimisation import settings_of
from training.engine.state import STATE
from training.engine.trainer import BEST, Trainer
from training.errors import ParsedCaptionsError, TrainingError
from training.events import read_events
from training.methods.base import Batch, TrainSize
from training.methods.hkgr import HkgrMethod
from training.networks.building import build_encoder
from training.objectives.infonce import infonce
from training.objectives.sdm import sdm
from training.recipe import Recipe, load_recipe, read_recipe
from training.records import Record
from training.reports.hkgr import MASKED, masked_sheet

OPTIONS = {"dim": 32, "image_width": 8, "rows": 3, "text_width": 32, "heads": 2, "fine_dim": 24, "drop_words": 0.0}
TEXTS = (
    "a woman in a red jacket and a black hat",
    "the woman wears a red jacket",
    "a man with a black bag",
    "",
    "black",
    "a man is wearing a red hat",
)


def recipe(root: Path, part: dict[str, object] | None = None, **fields: object) -> Recipe:
    content: dict[str, object] = {
        "name": "tiny",
        "method": "hkgr",
        "data": {"root": str(root)},
        "encoder": {"height": 32, "width": 16, "options": OPTIONS, "word_minimum": 1},
        "hkgr": {"align": "infonce", "tau": 0.1, "text_aug": "none", "depth": 1, "heads": 2} | (part or {}),
        "augmentation": {"shift": 1, "erase": 0.0, "brightness": 0.1},
        "optimiser": {"lr": 0.004},
        "schedule": {"epochs": 10, "warmup": 0.5},
        "batch": 32,
        "precision": "fp32",
    }
    return read_recipe(content | fields, where="test")


def method(chosen: Recipe) -> HkgrMethod:
    torch.manual_seed(0)
    described = Record(Path("a.jpg"), 0, TEXTS)
    made = HkgrMethod(build_encoder(chosen, (described,)), chosen, TrainSize(pairs=6, images=6, identities=4))
    made.prepare((described,))
    return made


def batch(made: HkgrMethod) -> Batch:
    torch.manual_seed(5)
    tokens = made.encoder.tokenize(TEXTS).ids
    return Batch(
        torch.randn(6, 3, 32, 16), tokens, torch.tensor([0, 0, 1, 2, 3, 1]), torch.arange(6), torch.arange(6), 0
    )


@pytest.mark.parametrize("align", ["sdm", "infonce"])
def test_the_terms_are_those_of_the_sum(align: str, tmp_path: Path) -> None:
    made = method(recipe(tmp_path, {"align": align, "identity": 2.0})).eval()
    network, data = made.network, batch(made)
    terms = made(data)
    assert list(terms) == ["coarse", "fine", "id", "mlm"]
    image, text = network.backbone.image(data.pixels), network.backbone.text(data.token_ids)
    fine = network.image_embedding(image), network.text_embedding(text)
    assert fine[0] is not None
    assert fine[1] is not None
    for name, (a, b) in {"coarse": (image.pooled, text.pooled), "fine": fine}.items():
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)  # type: ignore[arg-type]
        expected = sdm(a, b, data.identities, 10) if align == "sdm" else infonce(a, b, 10, data.identities)
        torch.testing.assert_close(terms[name], expected)
    assert made.classifiers is not None
    weight, bias = made.classifiers.weight[0], made.classifiers.bias[0]
    losses = [F.cross_entropy(x @ weight + bias, data.identities) for x in (image.pooled, text.pooled)]
    torch.testing.assert_close(terms["id"], losses[0] + losses[1])  # 2.0 times their mean
    assert made.log_scale.requires_grad == (align == "infonce")


def test_every_parameter_learns_and_from_finite_gradients(tmp_path: Path) -> None:
    made = method(recipe(tmp_path, {"identity": 1.0})).train()
    torch.stack(list(made(batch(made)).values())).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_the_losses_fall_on_a_fixed_batch(tmp_path: Path) -> None:
    made = method(recipe(tmp_path)).train()
    data = batch(made)
    optimiser = torch.optim.AdamW(made.parameters(), lr=3e-3)
    told = []
    for step in range(60):
        torch.manual_seed(step % 3)  # three ways to hide words
        terms = made(data)
        told.append({name: float(value.detach()) for name, value in terms.items()})
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    for name in ("coarse", "fine", "mlm"):
        first, last = (sum(step[name] for step in part) for part in (told[:3], told[-3:]))
        assert last < 0.5 * first, name


def test_the_language_head_sees_hidden_words_and_the_alignment_what_text_aug_says(tmp_path: Path) -> None:
    for aug in ("none", "mask15"):
        made = method(recipe(tmp_path, {"text_aug": aug})).eval()
        data = batch(made)
        seen: list[torch.Tensor] = []

        def record(_: torch.nn.Module, given: tuple[torch.Tensor], seen: list[torch.Tensor] = seen) -> None:
            seen.append(given[0])

        tower = made.network.backbone.text_tower
        assert isinstance(tower, torch.nn.Module)
        hook = tower.register_forward_pre_hook(record)
        clean = data.token_ids.clone()
        made(data)
        hook.remove()
        assert torch.equal(data.token_ids, clean)
        aligned, hidden = seen
        assert torch.equal(aligned, clean) == (aug == "none")
        mask = made.encoder.tokenizer.mask_id
        for shown in (hidden, *([aligned] if aug == "mask15" else [])):
            assert bool((shown == mask).any())
        assert not torch.equal(hidden, aligned)


def test_masking_follows_the_file_where_there_is_one(tmp_path: Path) -> None:
    file = tmp_path / "x_parsed_captions.json"
    rows = [{"caption": text, "object": [], "attribute": [], "relation": []} for text in TEXTS]
    rows[0]["object"] = ["hat"]
    file.write_text(json.dumps(rows))
    made = method(recipe(tmp_path, {"parsed": str(file), "levels": ["object"]}))
    ids = made.encoder.tokenize(TEXTS).ids
    hat = made.encoder.tokenize(["hat"]).ids[0, 0]
    found = [made.hide(ids[:1], torch.tensor([0])).labels[0] for _ in range(40)]
    assert {tuple(row[row > 0].tolist()) for row in found} <= {(int(hat),), (int(ids[0, 0]),)}
    write_parsed(file, [parse(text) for text in TEXTS[:5]])
    with pytest.raises(ParsedCaptionsError, match="5 rows"):
        method(recipe(tmp_path, {"parsed": str(file)}))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    baseline = build(compact_spec(("a", "red"), height=32, width=16))
    with pytest.raises(ValueError, match="its own network"):
        HkgrMethod(baseline, recipe(tmp_path), TrainSize(1, 1, 1))
    chosen = recipe(tmp_path)
    unread = HkgrMethod(build_encoder(chosen, (Record(tmp_path, 0, TEXTS),)), chosen, TrainSize(6, 6, 4))
    with pytest.raises(ValueError, match="`prepare` first"):
        unread(batch(unread))
    silent = method(recipe(tmp_path, {"mlm": 0}))
    assert set(silent(batch(silent))) == {"coarse", "fine"}
    with pytest.raises(ValueError, match="no language head"):
        silent.tell(
            silent.network.backbone.image(batch(silent).pixels), silent.hide(batch(silent).token_ids, torch.arange(6))
        )
    wrong = recipe(tmp_path, encoder={"options": {"atoms": 3}, "word_minimum": 1})
    with pytest.raises(TrainingError, match="atoms"):
        build_encoder(wrong, (Record(tmp_path, 0, TEXTS),))


def test_a_run_learns_resumes_and_leaves_a_servable_checkpoint_and_a_sheet(tiny_set: Path, tmp_path: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    Trainer(recipe(tiny_set), data, tmp_path / "run", device="cpu").run()
    epochs = [event for event in read_events(tmp_path / "run") if event["event"] == "epoch"]
    for name in ("coarse", "fine", "mlm"):
        assert epochs[-1]["losses"][name] < 0.8 * epochs[0]["losses"][name]
    assert epochs[-1]["told_attribute"] > epochs[0]["told_attribute"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["R@1"] > 40  # chance is 12
    encoder = load_checkpoint(tmp_path / "run" / BEST)
    assert isinstance(encoder, Hkgr)
    assert encoder.encode_text(encoder.tokenize(["a red jacket"]).ids).shape == (1, 32 + 24)
    sheet = masked_sheet(tmp_path / "run", data, tmp_path / "report", captions=4)
    assert sheet is not None
    assert sheet.name == MASKED
    with Image.open(sheet) as picture:
        assert picture.width > 600
        assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 20
    again = Trainer(recipe(tiny_set), data, tmp_path / "run", device="cpu")
    assert again.position.step == again.epochs * again.pairs.steps
    assert (tmp_path / "run" / STATE).is_file()


def test_a_run_without_a_language_head_has_no_sheet(tiny_set: Path, tmp_path: Path) -> None:
    chosen = recipe(tiny_set, {"mlm": 0}, schedule={"epochs": 1, "warmup": 0})
    data = read_dataset("cuhk_pedes", tiny_set)
    Trainer(chosen, data, tmp_path / "run", device="cpu").run()
    assert masked_sheet(tmp_path / "run", data, tmp_path / "report") is None


def test_the_rows_of_its_ablation_are_what_they_name(tmp_path: Path) -> None:
    described = Record(tmp_path / "a.jpg", 0, (*TEXTS, *TEXTS))
    built = {}
    for row in HkgrMethod.ablation(load_recipe("hkgr-small-synthetic")):
        own = load_recipe("hkgr-small-synthetic", row.overrides)
        network = build_encoder(own, (described,))
        assert isinstance(network, Hkgr)
        made = HkgrMethod(network, own, TrainSize(pairs=12, images=1, identities=1))
        built[row.name] = network.fine_text is not None, own.hkgr.levels if made.mlm_head is not None else ()
        assert row.equal_budget == (own.schedule.epochs == load_recipe("hkgr-small-synthetic").schedule.epochs)
    assert built == {
        "baseline": (False, ()),
        "+MGA": (True, ()),
        "+MLM random": (True, ("random",)),
        "+MLM object": (True, ("object",)),
        "+MLM attribute": (True, ("attribute",)),
        "+MLM relation": (True, ("relation",)),
        "HKGR": (True, ("object", "attribute", "relation")),
        "baseline, twice the steps": (False, ()),
    }


@pytest.mark.parametrize(
    ("name", "tau", "batch_size", "decay", "identity"),
    [("cuhk-pedes", 0.01, 64, 1e-3, 0), ("icfg-pedes", 0.02, 32, 4e-5, 1), ("rstpreid", 0.02, 64, 1e-2, 1)],
)
def test_the_papers_settings_are_shipped(
    name: str, tau: float, batch_size: int, decay: float, identity: float, tmp_path: Path
) -> None:
    chosen = load_recipe(f"hkgr-{name}")
    part = chosen.hkgr
    assert (part.tau, chosen.batch, chosen.optimiser.weight_decay, part.identity) == (tau, batch_size, decay, identity)
    assert (part.align, part.mask_ratio, part.depth, part.heads, part.text_aug) == ("sdm", 0.3, 4, 8, "mask15")
    assert (chosen.schedule.epochs, chosen.schedule.warmup, chosen.optimiser.eps) == (60, 5, 1e-3)
    # The rates, by the names that a small network has too.
    small = replace_encoder(chosen)
    made = HkgrMethod(build_encoder(small, (Record(tmp_path, 0, TEXTS),)), small, TrainSize(6, 6, 4))
    for parameter, value in made.named_parameters():
        rate, found = settings_of(parameter, value, chosen.optimiser)
        bias = "bias" in parameter
        factor = 2 if bias else 1
        factor = 5 if parameter.startswith("cross.") and not bias else factor
        factor = 5 if parameter.startswith(("classifiers.", "mlm_head.")) else factor
        factor = 10 if parameter.startswith("encoder.fine_") else factor
        assert rate == pytest.approx(factor * 1e-5), parameter
        assert found == (0 if bias else decay), parameter


def replace_encoder(chosen: Recipe) -> Recipe:
    options = {**OPTIONS, "dim": 64}
    encoder = chosen.encoder.model_copy(
        update={"backbone": "compact", "height": 32, "width": 16, "options": options, "word_minimum": 1}
    )
    return chosen.model_copy(update={"encoder": encoder})


def test_a_spec_that_does_not_fit_is_refused() -> None:
    from models.tokenizers import TokenizerSpec

    spec = hkgr_spec("compact", TokenizerSpec("words", 8, ("a",)), height=32, width=16, options=OPTIONS)
    with pytest.raises(ValueError, match="dimensions"):
        build(replace(spec, options={**spec.options, "fine": False}))
