"""Real training runs on the miniature set, on the CPU."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint import load_checkpoint
from training.datasets import read_dataset
from training.engine import BEST, Trainer
from training.errors import TrainingError
from training.evaluation import embed_split
from training.events import read_events
from training.images import ImageSource
from training.recipe import Recipe, read_recipe
from training.state import STATE


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


def test_a_line_cut_by_a_crash_is_left_out(finished: Path, tmp_path: Path) -> None:
    text = (finished / "events.jsonl").read_text()
    (tmp_path / "events.jsonl").write_text(text + '{"event": "st')
    assert read_events(tmp_path) == read_events(finished)


def test_stopping_and_resuming_changes_nothing(tiny_set: Path, tmp_path: Path) -> None:
    chosen = recipe(tiny_set, save_every=1)
    whole = train(chosen, tmp_path / "whole")
    data = read_dataset("cuhk_pedes", tiny_set)
    interrupted = Trainer(chosen, data, tmp_path / "parts", device="cpu")
    original, calls = interrupted._save_state, []

    def stop_in_the_second_epoch() -> None:
        original()
        calls.append(interrupted.position.step)
        if interrupted.position.step == interrupted.pairs.steps + 2:
            raise KeyboardInterrupt

    interrupted._save_state = stop_in_the_second_epoch  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    resumed = Trainer(chosen, data, tmp_path / "parts", device="cpu")
    assert resumed.position.step == whole.pairs.steps + 2
    resumed.run()
    first, second = (load_file(tmp_path / run / STATE) for run in ("whole", "parts"))
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6, msg=name)


def test_a_killed_process_goes_on_when_the_command_is_repeated(tiny_set: Path, tmp_path: Path) -> None:
    chosen = recipe(tiny_set, save_every=1, schedule={"epochs": 400, "warmup": 0.5})
    from training.recipe import dump_recipe

    (tmp_path / "recipe.yaml").write_text(dump_recipe(chosen))
    out = tmp_path / "run"
    words = ["train", str(tmp_path / "recipe.yaml"), "--out", str(out), "--device", "cpu"]
    child = subprocess.Popen(
        [sys.executable, "-m", "training", *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not (out / BEST / "spec.json").is_file():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    resumed = Trainer(chosen, read_dataset("cuhk_pedes", tiny_set), out, device="cpu")
    assert resumed.position.step >= resumed.pairs.steps - 1
    assert load_checkpoint(out / BEST).spec.backbone == "compact"


def test_another_recipe_is_not_resumed(tiny_set: Path, tmp_path: Path) -> None:
    train(recipe(tiny_set, schedule={"epochs": 1}), tmp_path)
    other = recipe(tiny_set, schedule={"epochs": 1}, seed=1)
    data = read_dataset("cuhk_pedes", tiny_set)
    with pytest.raises(TrainingError, match="another recipe"):
        Trainer(other, data, tmp_path, device="cpu")
    assert Trainer(other, data, tmp_path, device="cpu", restart=True).position.step == 0


def test_a_damaged_state_is_told(tiny_set: Path, tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"broken")
    with pytest.raises(TrainingError, match="--restart"):
        Trainer(recipe(tiny_set), read_dataset("cuhk_pedes", tiny_set), tmp_path, device="cpu")


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(tiny_set: Path, tmp_path: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    trainer = Trainer(recipe(tiny_set), data, tmp_path, device="cpu")
    with torch.no_grad():
        next(trainer.method.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="epoch 1, batch 1"):
        trainer.run()


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


def test_a_run_killed_after_its_last_step_still_evaluates_it(tiny_set: Path, tmp_path: Path) -> None:
    chosen, data = recipe(tiny_set, save_every=1, schedule={"epochs": 1}), read_dataset("cuhk_pedes", tiny_set)
    killed = Trainer(chosen, data, tmp_path, device="cpu")

    def stop(epoch: int, log: object) -> None:
        raise KeyboardInterrupt

    killed._evaluate = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert Trainer(chosen, data, tmp_path, device="cpu").run().path == tmp_path / BEST
