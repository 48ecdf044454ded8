"""A run of several stages on two data sets: what each stage trains, and stopping within and between them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.engine.test_resume import same_state
from tests.training.miniature import write_market
from tests.training.staged import Staged, staged
from training.datasets.preparation import prepare_data
from training.engine.state import STATE
from training.engine.trainer import BEST, Trainer
from training.errors import RecipeError, TrainingError
from training.events import read_events
from training.methods import METHODS
from training.recipe import Recipe, load_recipe

STEPS = 6  # of an epoch


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("pictures") / "market")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "clip_baseline", Staged)


def start(chosen: Recipe, folder: Path) -> Trainer:
    return Trainer(chosen, prepare_data(chosen), folder, device="cpu")


def stopped(chosen: Recipe, folder: Path, step: int) -> Trainer:
    """A run that ends just after the state of a step is saved."""
    trainer = start(chosen, folder)
    original = trainer._save_state

    def save() -> None:
        original()
        if trainer.position.step == step:
            raise KeyboardInterrupt

    trainer._save_state = save  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    return trainer


@pytest.fixture(scope="module")
def whole(tiny_set: Path, market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "clip_baseline", Staged)
        start(staged(tiny_set, market), folder).run()
    return folder


@pytest.mark.parametrize("step", [3, 2 * STEPS, 2 * STEPS + 2], ids=["in the first", "between", "in the second"])
def test_stopping_within_and_between_stages_changes_nothing(
    step: int, whole: Path, tiny_set: Path, market: Path, tmp_path: Path
) -> None:
    chosen = staged(tiny_set, market)
    stopped(chosen, tmp_path, step)
    resumed = start(chosen, tmp_path)
    assert resumed.position.step == step
    assert resumed.stage.name == ("main" if step > 2 * STEPS else "heads")
    resumed.run()
    same_state(whole, tmp_path)
    assert load_file(tmp_path / STATE)["method.anchors"].abs().sum() > 0


def test_a_stage_trains_its_own_part_with_an_optimiser_of_its_own(
    whole: Path, tiny_set: Path, market: Path, tmp_path: Path
) -> None:
    chosen = staged(tiny_set, market)
    fresh = {name: value.clone() for name, value in start(chosen, tmp_path / "fresh").method.named_parameters()}
    stopped(chosen, tmp_path / "heads", 2 * STEPS)
    between, end = load_file(tmp_path / "heads" / STATE), load_file(whole / STATE)
    for name, value in fresh.items():
        head = name.startswith("head.")
        assert torch.equal(between[f"method.{name}"], value) != head, name
        assert torch.equal(end[f"method.{name}"], between[f"method.{name}"]) == head, name
    counts = {float(value) for name, value in end.items() if name.startswith("optimiser.") and name.endswith(".step")}
    assert counts == {2.0 * STEPS}


def test_events_name_the_stage_and_its_rate(whole: Path) -> None:
    events = read_events(whole)
    begun = [event for event in events if event["event"] == "stage"]
    assert [(event["stage"], event["epoch"], event["epochs"]) for event in begun] == [("heads", 0, 2), ("main", 2, 2)]
    assert begun[0]["groups"] == [{"lr": 0.02, "weight_decay": 0.0, "tensors": 2}]
    assert sum(group["tensors"] for group in begun[1]["groups"]) == 55
    last = {event["epoch"]: event for event in events if event["event"] == "step"}
    assert [last[epoch]["stage"] for epoch in range(4)] == ["heads", "heads", "main", "main"]
    assert [last[epoch]["lr"] for epoch in (0, 1)] == pytest.approx([0.02, 0.016])
    assert last[1]["stage_seconds_left"] == 0 < last[1]["seconds_left"]
    assert [event["epoch"] for event in events if event["event"] == "evaluation"] == [2, 3]
    assert [event["stage"] for event in events if event["event"] == "epoch"] == ["heads"] * 2 + ["main"] * 2


def test_a_stage_may_leave_the_best_checkpoint_where_the_recipe_says_so(
    tiny_set: Path, market: Path, tmp_path: Path
) -> None:
    before = [{"name": "heads", "schedule": {"epochs": 1}, "evaluate": True}]
    start(staged(tiny_set, market, before=before, schedule={"epochs": 1}), tmp_path).run()
    assert [event["stage"] for event in read_events(tmp_path) if event["event"] == "evaluation"] == ["heads", "main"]


def test_both_data_sets_are_measured(whole: Path) -> None:
    evaluation = next(event for event in read_events(whole) if event["event"] == "evaluation")
    assert evaluation["metrics"]["protocol"] == "text_to_image"
    assert evaluation["image_to_image"]["protocol"] == "image_to_image"
    assert evaluation["image_to_image"]["queries"] == 3  # one person was set aside, seen by three cameras
    card = (whole / BEST / "model_card.md").read_text()
    assert "## Data: market" in card
    assert "## Quality, image to image, on val (3 queries)" in card
    assert "root: market" in card


def test_what_a_method_does_not_know_is_refused(
    tiny_set: Path, market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = staged(tiny_set, market)
    data = prepare_data(chosen)
    with pytest.raises(TrainingError, match=r"names a second data set .* not what CUHK-PEDES holds"):
        Trainer(chosen, replace(data, pictures=None), tmp_path, device="cpu")
    monkeypatch.setattr(Staged, "takes_pictures", False)
    with pytest.raises(TrainingError, match="trains on pairs alone"):
        Trainer(chosen, data, tmp_path, device="cpu")
    monkeypatch.setattr(Staged, "stages", ("main",))
    with pytest.raises(TrainingError, match="knows no stage heads; its stages are: main"):
        Trainer(chosen, data, tmp_path, device="cpu")


def test_a_stage_that_trains_nothing_is_told(
    tiny_set: Path, market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Staged, "begin_stage", lambda self, stage: self.requires_grad_(False))
    with pytest.raises(TrainingError, match="trains nothing"):
        start(staged(tiny_set, market), tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("before=[{name: main}]", "different names"),
        ("before=[{name: a}, {name: a}]", "different names"),
        ("before=[{name: A}]", "name"),
        ("data.pictures={root: x, batch: 6, each: 4}", "4 pictures of each of two people"),
        ("data.pictures={root: x, batch: 4, each: 4}", "4 pictures of each of two people"),
        ("accumulate=4\x00data.pictures={root: x, batch: 8, each: 4}", "would cut an identity of data.pictures"),
    ],
)
def test_what_is_wrong_with_stages_and_pictures_is_named(override: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        load_recipe("compact-synthetic", override.split("\x00"))


def test_stages_follow_one_another() -> None:
    recipe = load_recipe(
        "compact-synthetic", ["before=[{name: a, schedule: {epochs: 3}}, {name: b, schedule: {epochs: 2}}]"]
    )
    assert [(stage.name, stage.first, stage.end) for stage in recipe.stages] == [
        ("a", 0, 3),
        ("b", 3, 5),
        ("main", 5, 5 + recipe.schedule.epochs),
    ]
    assert recipe.epochs == 5 + recipe.schedule.epochs
