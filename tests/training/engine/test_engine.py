"""Real training runs on the miniature set, on the CPU."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from models.checkpoint import load_checkpoint
from models.errors import DeviceError
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.engine.pace import Pace
from training.engine.trainer import BEST, Trainer
from training.errors import TrainingError
from training.evaluation import embed_split
from training.events import read_events
from training.recipe import Recipe, read_recipe


def recipe(root: Path, **fields: object) -> Recipe:
    content: dict[str, object] = {
        "name": "tiny",
        "data": {"root": str(root)},
        "encoder": {
            "height": 32,
            "width": 16,
            "options": {"dim": 32, "image_width": 8, "rows": 4, "text_width": 32, "drop_words": 0.1},
        },
        "loss": {"identity_positives": True, "tau": 0.1},
        "augmentation": {"shift": 1, "erase": 0.0, "brightness": 0.1},
        "optimiser": {"lr": 0.004},
        "schedule": {"epochs": 3, "warmup": 0.5},
        "batch": 32,
        "precision": "fp32",
        "average": 0.9,
    }
    return read_recipe(content | fields, where="test")


def train(chosen: Recipe, folder: Path, *, restart: bool = False) -> Trainer:
    data = read_dataset(chosen.data.format, chosen.data.root)
    trainer = Trainer(chosen, data, folder, device="cpu", restart=restart)
    trainer.run()
    return trainer


@pytest.fixture(scope="module")
def finished(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(recipe(tiny_set, schedule={"epochs": 25, "warmup": 0.5}), folder)
    return folder


def test_a_run_learns_and_leaves_everything_behind(finished: Path, tiny_set: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["R@1"] > 60  # chance on 8 validation people is 12
    encoder = load_checkpoint(finished / BEST)
    records = read_dataset("cuhk_pedes", tiny_set).splits["val"]
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    again = embed_split(encoder, records, source, batch=5).measure()
    assert again.r1 == pytest.approx(metrics["R@1"])
    assert again.mean_ap == pytest.approx(metrics["mAP"])
    assert str(tiny_set) not in (finished / BEST / "model_card.md").read_text()


def test_events_tell_the_run(finished: Path) -> None:
    events = read_events(finished)
    assert events[0]["event"] == "start"
    assert events[-1]["event"] == "end"
    epochs = [event for event in events if event["event"] == "epoch"]
    assert [event["epoch"] for event in epochs] == list(range(25))
    assert epochs[-1]["losses"]["infonce"] < epochs[0]["losses"]["infonce"]
    steps = [event for event in events if event["event"] == "step"]
    assert all(step["images_per_second"] > 0 and step["peak_memory"] > 1 << 20 for step in steps)
    assert steps[0]["seconds_left"] > 0
    assert steps[-1]["step"] == events[0]["steps"]
    assert sum(group["tensors"] for group in events[0]["groups"]) == 55


def test_the_run_ends_after_the_steps_and_evaluations_that_are_left() -> None:
    pace = Pace(batch=10)
    assert (pace.images_per_second, pace.seconds_left(5, 1)) == (0, 0)
    for seconds in [9.0] * 50 + [0.5] * 50:  # the machine got faster; what is long ago counts no more
        pace.step(seconds)
    pace.evaluation(3.0)
    assert pace.images_per_second == pytest.approx(20)
    assert pace.seconds_left(steps=8, evaluations=2) == pytest.approx(10)


def test_a_line_cut_by_a_crash_is_left_out(finished: Path, tmp_path: Path) -> None:
    text = (finished / "events.jsonl").read_text()
    (tmp_path / "events.jsonl").write_text(text + '{"event": "st')
    assert read_events(tmp_path) == read_events(finished)


def test_too_little_data_is_told(tiny_set: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="fewer than one batch of 4096"):
        Trainer(recipe(tiny_set, batch=4096), read_dataset("cuhk_pedes", tiny_set), tmp_path, device="cpu")


def test_pictures_from_disk_and_from_memory_are_the_same(tiny_set: Path) -> None:
    records = read_dataset("cuhk_pedes", tiny_set).splits["val"]
    paths = [record.path for record in records]
    from models.preprocessing import Preprocessing

    pre = Preprocessing(32, 16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    kept, lazy = ImageSource(paths, pre), ImageSource(paths, pre, memory_limit=0)
    kept.load()
    assert kept.fits
    assert not lazy.fits
    assert torch.equal(kept.get([3, 1]), lazy.get([3, 1]))


def test_a_set_without_words_to_choose_by_is_told(tiny_set: Path, tmp_path: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    wordless = tuple(replace(record, descriptions=()) for record in data.splits["val"])
    with pytest.raises(TrainingError, match="val split, which chooses"):
        Trainer(recipe(tiny_set), replace(data, splits={**data.splits, "val": wordless}), tmp_path, device="cpu")


def test_processes_that_were_not_joined_do_not_train_side_by_side(
    tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(
        recipe(tiny_set), read_dataset("cuhk_pedes", tiny_set), tmp_path, device="cpu"
    )  # Accelerate is set up: alone
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="2 processes were started, but Accelerate joined 1"):
        Trainer(recipe(tiny_set), read_dataset("cuhk_pedes", tiny_set), tmp_path, device="cpu")


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_and_not_replaced(tiny_set: Path, tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=device):
        Trainer(recipe(tiny_set), read_dataset("cuhk_pedes", tiny_set), tmp_path, device=device)
