"""Training that goes on from a checkpoint: the same vectors for what it knew, room for what is new."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.bdam import Bdam
from models.checkpoint import load_checkpoint
from models.clip_baseline import ClipBaseline
from models.errors import CheckpointError
from tests.training.engine.test_engine import recipe
from tests.training.methods.test_method_bdam import recipe as bdam_recipe
from tests.training.studies.test_comparison import checkpoint
from training.datasets import read_dataset
from training.engine.plan import make_plan
from training.engine.trainer import Trainer
from training.errors import MemoryEndedError, RecipeError, TrainingError, resource_error
from training.events import read_events
from training.networks.building import build_encoder
from training.networks.start import take_towers
from training.recipe import Recipe, read_recipe


def starting(root: Path, base: Path, **fields: object) -> Recipe:
    made = recipe(root, average=0.0, **fields)
    return made.model_copy(update={"encoder": made.encoder.model_copy(update={"start": base})})


def test_known_words_keep_their_vectors_and_new_ones_are_learnt(tiny_set: Path, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", 1)
    known = load_checkpoint(base)
    encoder = build_encoder(starting(tiny_set, base), read_dataset("cuhk_pedes", tiny_set).splits["train"]).eval()
    old, new = known.spec.tokenizer.vocabulary, encoder.spec.tokenizer.vocabulary
    assert new[: len(old)] == old
    assert {"pants", "top"} <= set(new) - set(old)
    text, pixels = ["a person in a red shirt"], torch.rand(1, 3, 32, 16)
    ids = known.tokenize(["red shirt person"]).ids
    assert torch.equal(ids, encoder.tokenize(["red shirt person"]).ids)
    torch.testing.assert_close(known.encode_text(ids), encoder.encode_text(ids))
    torch.testing.assert_close(known.encode_image(pixels)["text"], encoder.encode_image(pixels)["text"])
    assert known.tokenize(["red pants"]).unknown == (("pants",),)
    assert encoder.tokenize(["red pants"]).unknown == ((),)
    assert encoder.tokenize(text).empty == (False,)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_a_run_begins_with_the_weights_and_ends_with_others(tiny_set: Path, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", 1)
    chosen = starting(tiny_set, base, schedule={"epochs": 1})
    trainer = Trainer(chosen, read_dataset("cuhk_pedes", tiny_set), tmp_path / "run", device="cpu")
    weights = load_checkpoint(base).state_dict()
    begun = {name: value.clone() for name, value in trainer.encoder.state_dict().items()}
    same = [name for name in weights if weights[name].shape == begun[name].shape]
    assert len(same) == len(weights) - 1  # all but the word table
    assert all(torch.equal(weights[name], begun[name]) for name in same)
    info = trainer.run()
    assert info.spec.backbone == "compact"
    ended = trainer.encoder.state_dict()
    assert any(not torch.equal(weights[name], ended[name]) for name in same)
    assert read_events(tmp_path / "run")[0]["event"] == "start"


def test_another_methods_checkpoint_and_too_little_data_are_refused(tiny_set: Path, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", 1)
    chosen = starting(tiny_set, base)
    with pytest.raises(TrainingError, match="is a checkpoint of 'clip_baseline', and lgur trains 'lgur'"):
        build_encoder(chosen.model_copy(update={"method": "lgur"}), ())
    with pytest.raises(TrainingError, match="31 image-text pairs to train on, fewer than one batch of 32"):
        make_plan(chosen, 31)
    plan = make_plan(chosen, 100, device="cpu", measure=True)
    assert (plan.steps, plan.epochs) == (9, 3)
    assert plan.seconds_per_step is not None
    assert plan.seconds_per_step > 0
    assert replace(plan, seconds=None, seconds_per_step=None) == make_plan(chosen, 100)


def with_towers(root: Path, base: Path, **options: int) -> Recipe:
    """BDAM on `compact` in the sizes of `checkpoint`'s network."""
    content = bdam_recipe(root, average=0.0, schedule={"epochs": 1}).model_dump(mode="json")
    content["encoder"]["options"] |= {"text_width": 16} | options
    content["encoder"] |= {"towers": str(base), "word_minimum": 1}
    return read_recipe(content, where="test")


def test_the_towers_of_another_method_are_taken_by_name(tiny_set: Path, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", 1)
    chosen, train = with_towers(tiny_set, base), read_dataset("cuhk_pedes", tiny_set).splits["train"]
    known = load_checkpoint(base)
    weights, old = known.state_dict(), known.spec.tokenizer.vocabulary
    encoder = build_encoder(chosen, train)
    state = encoder.state_dict()
    assert encoder.spec.method == "bdam"
    assert encoder.spec.tokenizer.vocabulary[: len(old)] == old
    assert "pants" in encoder.spec.tokenizer.vocabulary[len(old) :]
    fresh = take_towers(encoder, base)
    assert set(fresh) == {f"backbone.image_tower.{part}" for part in ("positions", "project.weight", "project.bias")}
    for name in state:
        if name.startswith(("backbone.image_tower.", "backbone.text_tower.")) and name not in fresh:
            assert torch.equal(state[name][: len(weights[name])] if "embed" in name else state[name], weights[name]), (
                name
            )
    ids = known.tokenize(["red shirt person"]).ids
    assert torch.equal(ids, encoder.tokenize(["red shirt person"]).ids)
    assert isinstance(known, ClipBaseline)
    assert isinstance(encoder, Bdam)
    seen = known.eval().backbone.text(ids).pooled, encoder.eval().backbone.text(ids).pooled
    torch.testing.assert_close(seen[0], seen[1])


def test_a_run_begins_with_towers_and_resumes_without_taking_them_again(tiny_set: Path, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "base", 1)
    chosen, people = with_towers(tiny_set, base), read_dataset("cuhk_pedes", tiny_set)
    trainer = Trainer(chosen, people, tmp_path / "run", device="cpu")
    weights = load_checkpoint(base).state_dict()
    first = "backbone.image_tower.stem.0.weight"
    assert torch.equal(trainer.encoder.state_dict()[first], weights[first])
    trainer.run()
    ended = trainer.encoder.state_dict()[first].clone()
    assert not torch.equal(ended, weights[first])
    again = Trainer(chosen, people, tmp_path / "run", device="cpu")
    assert torch.equal(again.encoder.state_dict()[first], ended)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("clip_baseline", {"rows": 4}),
        ("dgcmia", {"rows": 4}),
        ("hkgr", {"rows": 4, "heads": 2, "fine_dim": 8}),
        ("hpl", {"rows": 4}),
    ],
)
def test_each_method_takes_the_towers(tiny_set: Path, tmp_path: Path, method: str, options: dict[str, int]) -> None:
    base = checkpoint(tmp_path / "base", 1)
    encoder = {"height": 32, "width": 16, "towers": str(base), "word_minimum": 1}
    sizes = {"dim": 16, "image_width": 8, "text_width": 16}
    content = {"name": "tiny", "method": method, "data": {"root": str(tiny_set)}}
    chosen = read_recipe(content | {"encoder": encoder | {"options": sizes | options}}, where="test")
    state = build_encoder(chosen, read_dataset("cuhk_pedes", tiny_set).splits["train"]).state_dict()
    for name, value in load_checkpoint(base).state_dict().items():
        if name.startswith(("backbone.image_tower.stem", "backbone.image_tower.stages", "backbone.text_tower.bind")):
            assert torch.equal(state[name], value), name


def test_towers_that_do_not_fit_are_refused(tiny_set: Path, tmp_path: Path) -> None:
    base, train = checkpoint(tmp_path / "base", 1), read_dataset("cuhk_pedes", tiny_set).splits["train"]
    with pytest.raises(TrainingError, match=r"text_tower.embed.weight is \(\d+, 16\) in .* and \(\d+, 24\) here"):
        build_encoder(with_towers(tiny_set, base, text_width=24), train)
    chosen = with_towers(tiny_set, base)
    with pytest.raises(RecipeError, match="start, which takes the whole network, or towers, not both"):
        read_recipe(
            {**chosen.model_dump(mode="json"), "encoder": {"start": str(base), "towers": str(base)}}, where="test"
        )
    with pytest.raises(RecipeError, match="towers are those of compact"):
        read_recipe(
            {**chosen.model_dump(mode="json"), "encoder": {"towers": str(base), "backbone": "vit-base+bert"}},
            where="test",
        )
    lgur = chosen.model_copy(update={"method": "lgur"})  # its pixels are normalised as ImageNet's
    lgur = lgur.model_copy(update={"encoder": lgur.encoder.model_copy(update={"options": {"dim": 16, "heads": 2}})})
    with pytest.raises(TrainingError, match="pixels of another mean and deviation"):
        build_encoder(lgur, train)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        build_encoder(with_towers(tiny_set, tmp_path / "nowhere"), train)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out_of_memory"),
        (OSError(28, "No space left on device"), "disk_full"),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "disk_full"),
        (MemoryEndedError("x"), "out_of_memory"),
        (ValueError("a batch of 3"), None),
    ],
)
def test_what_libraries_raise_when_something_ends(error: Exception, code: str | None) -> None:
    found = resource_error(error)
    assert (found.code if found else None) == code
    wrapped = RuntimeError("outer")
    wrapped.__cause__ = error
    again = resource_error(wrapped)
    assert (again.code if again else None) == code
