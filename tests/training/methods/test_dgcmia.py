"""DGCMIA as a method: its terms, its memory, its weak supervision, its recipe section."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models.checkpoint import load_checkpoint
from tests.training.engine.test_engine import recipe
from training.datasets import read_dataset
from training.engine.state import STATE
from training.engine.trainer import BEST, Trainer
from training.errors import RecipeError
from training.events import read_events
from training.methods.base import Batch, TrainSize
from training.methods.dgcmia import DgcmiaMethod
from training.networks.building import build_encoder
from training.objectives.infonce import infonce
from training.recipe import Recipe, load_recipe
from training.recipes.method_parts import DgcmiaPart
from training.records import PersonData
from training.reports.run import plot_relations

LOW = {"image_threshold": 0.3, "text_threshold": 0.3, "memory_threshold": 0.3, "tau": 0.1, "learn_itc_tau": True}


def dgcmia(root: Path, part: dict[str, object] | None = None, **fields: object) -> Recipe:
    return recipe(root, method="dgcmia", dgcmia=LOW | (part or {}), **fields)


def method_of(chosen: Recipe) -> DgcmiaMethod:
    data = read_dataset("cuhk_pedes", chosen.data.root)
    torch.manual_seed(0)
    made = DgcmiaMethod(build_encoder(chosen, data.splits["train"]), chosen, TrainSize(40, 20, 10))
    return made.train()


def batch_of(pairs: list[int], *, epoch: int, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images = torch.tensor(pairs)
    return Batch(
        pixels=torch.randn(len(pairs), 3, 32, 16, generator=rng),
        token_ids=torch.randint(1, 9, (len(pairs), 6), generator=rng),
        identities=images // 4,
        pairs=images,
        images=images // 2,
        epoch=epoch,
        plain=torch.randn(len(pairs), 3, 32, 16, generator=rng),
    )


def run(chosen: Recipe, folder: Path, data: PersonData | None = None) -> Trainer:
    trainer = Trainer(chosen, data or read_dataset("cuhk_pedes", chosen.data.root), folder, device="cpu")
    trainer.run()
    return trainer


def test_the_terms_are_those_that_are_on_and_the_global_one_waits_for_the_banks(tiny_set: Path) -> None:
    whole = method_of(dgcmia(tiny_set))
    assert set(whole(batch_of([0, 1, 5, 9], epoch=0))) == {"itc", "lrc", "iasc"}
    assert set(whole(batch_of([0, 1, 5, 9], epoch=1))) == {"itc", "lrc", "gsrc", "iasc"}
    bare = method_of(dgcmia(tiny_set, {"lrc": False, "gsrc": False, "iasc": False}))
    assert set(bare(batch_of([0, 1, 5, 9], epoch=1))) == {"itc"}
    late = method_of(dgcmia(tiny_set, {"lrc_from_epoch": 1, "gsrc_from_epoch": 3, "iasc_from_epoch": 2}))
    assert [set(late(batch_of([0, 1], epoch=epoch))) for epoch in range(4)] == [
        {"itc"},
        {"itc", "lrc"},
        {"itc", "lrc", "iasc"},
        {"itc", "lrc", "gsrc", "iasc"},
    ]


def test_the_base_view_is_the_plain_one_unless_asked(tiny_set: Path) -> None:
    for view in ("plain", "augmented"):
        made = method_of(dgcmia(tiny_set, {"base_view": view, "iasc": False, "itc_reduction": "mean"}))
        made.encoder.eval()  # no dropped words, no batch statistics: the same numbers again
        batch = batch_of([0, 1, 5, 9], epoch=0)
        pixels = batch.plain if view == "plain" else batch.pixels
        assert pixels is not None
        images, texts = made.encoder.encode_image(pixels)["text"], made.encoder.encode_text(batch.token_ids)
        torch.testing.assert_close(made(batch)["itc"], infonce(images, texts, 10.0))
    doubled = method_of(dgcmia(tiny_set, {"iasc": False, "base_view": "augmented"}))
    doubled.encoder.eval()
    torch.testing.assert_close(doubled(batch)["itc"], 2 * infonce(images, texts, 10.0))
    with pytest.raises(ValueError, match="without augmentation"):
        method_of(dgcmia(tiny_set))(replace(batch, plain=None))


def test_the_memory_is_written_after_the_losses_in_training_only(tiny_set: Path) -> None:
    made = method_of(dgcmia(tiny_set, {"alpha": 0.9}))
    made.encoder.eval()
    batch = batch_of([3, 8], epoch=0)
    assert batch.plain is not None
    images = made.encoder.encode_image(batch.plain)["text"].detach()
    made(batch)
    assert made.filled.nonzero().flatten().tolist() == [3, 8]
    torch.testing.assert_close(made.image_bank[[3, 8]], images)
    # Epoch 1 sees what epoch 0 left: other pixels of the same pairs are blended, and the global loss read the old rows.
    again = batch_of([3, 8], epoch=1, seed=1)
    assert again.plain is not None
    newer = made.encoder.encode_image(again.plain)["text"].detach()
    made(again)
    torch.testing.assert_close(made.image_bank[[3, 8]], 0.9 * newer + 0.1 * images)
    before = made.image_bank.clone()
    made.eval()
    made(batch_of([3, 8], epoch=2, seed=2))
    assert torch.equal(made.image_bank, before)


def test_no_gradient_reaches_the_memory_and_all_reach_the_encoder(tiny_set: Path) -> None:
    made = method_of(dgcmia(tiny_set, {"memory": "fp16"}))
    made(batch_of(list(range(0, 40, 3)), epoch=0))
    terms = made(batch_of(list(range(1, 40, 3)), epoch=1))
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert made.image_bank.dtype == torch.float16
    assert not made.image_bank.requires_grad
    missing = [name for name, value in made.named_parameters() if value.requires_grad and value.grad is None]
    assert missing == []
    assert all(bool(value.grad.isfinite().all()) for value in made.parameters() if value.grad is not None)


@pytest.mark.parametrize("preset", ["paper", "released_code"])
def test_one_pair_and_one_identity_train(tiny_set: Path, preset: str) -> None:
    made = method_of(dgcmia(tiny_set, {"preset": preset, "image_threshold": -1, "text_threshold": -1}))
    made.encoder.eval()  # batch norm needs more than one sample
    for epoch in (0, 1, 2):
        for pairs in ([0], [0, 1, 2, 3]):
            terms = made(batch_of(pairs, epoch=epoch))
            assert all(bool(value.isfinite()) for value in terms.values())


def test_what_was_mined_is_counted_against_the_true_identities(tiny_set: Path) -> None:
    made = method_of(dgcmia(tiny_set, {"image_threshold": -1, "text_threshold": -1, "memory_threshold": -1}))
    made(batch_of([0, 1, 4, 5], epoch=0))
    assert made.measurements() == {
        "local_relations": 12.0,
        "global_relations": 0.0,
        "global_new_relations": 0.0,
        "local_accuracy": round(4 / 12, 4),
        "local_recall": 1.0,
    }
    made(batch_of([2, 6], epoch=1))
    told = made.measurements()
    assert told["global_relations"] == 6  # two anchors, three candidates each, of four that the banks hold
    assert told["global_new_relations"] == 6  # pairs 0, 1 are image 0, pair 2 is image 1
    assert told["global_accuracy"] in {
        round(n / 6, 4) for n in range(2, 5)
    }  # two of the four are right for each anchor
    assert made.measurements()["local_relations"] == 0


def test_hidden_identities_change_no_loss_and_no_weight(tiny_set: Path, tmp_path: Path) -> None:
    chosen, data = dgcmia(tiny_set, schedule={"epochs": 3}, save_every=1), read_dataset("cuhk_pedes", tiny_set)
    identities = [record.identity for record in data.splits["train"]]
    mixed = np.random.default_rng(0).permutation(identities).tolist()
    assert mixed != identities
    train = tuple(replace(r, identity=i) for r, i in zip(data.splits["train"], mixed, strict=True))
    run(chosen, tmp_path / "true", data)
    run(chosen, tmp_path / "mixed", PersonData(data.name, {**data.splits, "train": train}))
    # Not the steps: how many of them are reported depends on the clock.
    first, second = (
        [event for event in read_events(tmp_path / name) if event["event"] in {"epoch", "evaluation"}]
        for name in ("true", "mixed")
    )
    for a, b in zip(first, second, strict=True):
        assert a.get("losses") == b.get("losses")
        assert a.get("metrics") == b.get("metrics")
    told = [[event["local_accuracy"] for event in run if event["event"] == "epoch"] for run in (first, second)]
    assert told[0] != told[1]  # the log does read them
    states = [load_file(tmp_path / name / STATE) for name in ("true", "mixed")]
    logged = {"method.identity_of", "method.counts"}
    for name in states[0].keys() - logged:
        assert torch.equal(states[0][name], states[1][name]), name


def test_a_stopped_run_goes_on_with_its_memory(tiny_set: Path, tmp_path: Path) -> None:
    chosen, data = dgcmia(tiny_set, save_every=1), read_dataset("cuhk_pedes", tiny_set)
    whole = run(chosen, tmp_path / "whole", data)
    stopped = Trainer(chosen, data, tmp_path / "parts", device="cpu")
    original = stopped._save_state

    def stop_in_the_second_epoch() -> None:
        original()
        if stopped.position.step == stopped.pairs.steps + 2:
            raise KeyboardInterrupt

    stopped._save_state = stop_in_the_second_epoch  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    run(chosen, tmp_path / "parts", data)
    first, second = (load_file(tmp_path / name / STATE) for name in ("whole", "parts"))
    assert first.keys() == second.keys()
    assert first["method.filled"].any()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6, msg=name)
    last = [[e for e in read_events(tmp_path / name) if e["event"] == "epoch"][1] for name in ("whole", "parts")]
    assert last[0]["local_relations"] == last[1]["local_relations"]  # counted over the whole epoch, not since the stop
    # What is left is a baseline checkpoint: nothing of the method is in it.
    encoder = load_checkpoint(tmp_path / "whole" / BEST)
    assert encoder.spec.method == "clip_baseline"
    names = set(load_file(tmp_path / "whole" / BEST / "model.safetensors"))
    assert names == set(whole.encoder.state_dict())


def test_what_was_mined_is_drawn(tiny_set: Path, tmp_path: Path) -> None:
    run(dgcmia(tiny_set, schedule={"epochs": 3}), tmp_path / "run")
    path = plot_relations(tmp_path / "run", tmp_path)
    assert path is not None
    with Image.open(path) as picture:
        colours = picture.convert("RGB").getcolors(1 << 20)
        assert colours is not None
        seen = {colour for _, colour in colours}
    assert {(31, 119, 180), (255, 127, 14)} <= seen  # the local and the global curve
    run(recipe(tiny_set, schedule={"epochs": 1}), tmp_path / "baseline")
    assert plot_relations(tmp_path / "baseline", tmp_path) is None


def test_the_baseline_of_the_compact_recipe_has_the_same_budget_and_no_identities() -> None:
    whole, bare = load_recipe("dgcmia-compact-synthetic"), load_recipe("itc-compact-synthetic")
    assert not bare.loss.identity_positives
    assert not bare.loss.sdm
    for field in ("encoder", "optimiser", "schedule", "batch", "average", "augmentation"):
        assert getattr(whole, field) == getattr(bare, field)


def test_presets_fill_what_is_not_given() -> None:
    released = DgcmiaPart(preset="released_code")
    told = (released.itc_reduction, released.duplicates, released.global_rows, released.always_mask_first)
    assert told == ("mean", "keep", "all", True)
    assert released.memory == "fp16"
    assert DgcmiaPart(preset="released_code", duplicates="merge").duplicates == "merge"
    paper = DgcmiaPart()
    assert (paper.itc_reduction, paper.duplicates, paper.global_rows) == ("sum", "merge", "paper")
    assert (paper.softening, paper.top_k, paper.alpha, paper.eps, paper.tau) == (0.1, 3, 0.9, 1e-6, 0.02)
    assert (paper.image_threshold, paper.text_threshold, paper.memory_threshold) == (0.7, 0.7, 0.7)


@pytest.mark.parametrize("wrong", ["preset=mine", "gsrc_from_epoch=0", "softening=1", "top_k=0", "lambda=0.1"])
def test_a_wrong_section_is_named(wrong: str) -> None:
    with pytest.raises(RecipeError, match=r"dgcmia\." + wrong.partition("=")[0]):
        load_recipe("dgcmia-compact-synthetic", [f"dgcmia.{wrong}"])


@pytest.mark.parametrize("name", ["cuhk-pedes", "icfg-pedes", "rstpreid"])
def test_the_papers_settings_are_shipped(name: str) -> None:
    chosen = load_recipe(f"dgcmia-{name}")
    assert chosen.dgcmia == DgcmiaPart()
    assert (chosen.batch, chosen.schedule.epochs, chosen.schedule.warmup) == (64, 40, 5)
    assert (chosen.encoder.backbone, chosen.encoder.height, chosen.encoder.width) == ("ViT-B-16-quickgelu", 384, 128)
    assert (chosen.optimiser.name, chosen.optimiser.lr, chosen.optimiser.eps) == ("adam", 1e-5, 1e-3)
