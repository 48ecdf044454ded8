"""Stopping, killing and going on: the rest of a run is what it would have been."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.encoder import PersonEncoder
from tests.training.engine.test_engine import recipe, train
from tests.waiting import LIMIT_S
from training.datasets import read_dataset
from training.engine.state import STATE
from training.engine.trainer import BEST, Trainer
from training.errors import TrainingError
from training.events import read_events
from training.methods.base import Batch, TrainSize
from training.methods.clip_baseline import ClipBaselineMethod
from training.recipe import Recipe, dump_recipe

EVERYTHING: dict[str, object] = {
    "sampler": {"name": "identity", "identities": 8, "pairs": 4},
    "accumulate": 2,
    "schedule": {"epochs": 4, "per": "epoch", "shape": "steps", "milestones": [2], "warmup": 1},
    "optimiser": {"name": "adam", "lr": 0.002, "groups": [{"match": "text_tower", "lr_factor": 0.5}]},
    "save_every": 1,
}


class Banked(ClipBaselineMethod):
    """Keeps every pair's last text feature, as DGCMIA does."""

    bank: Tensor

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder, recipe, size)
        self.register_buffer("bank", torch.zeros(size.pairs, 32))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        texts = self.encoder.encode_text(batch.token_ids)
        known = self.bank[batch.pairs].clone()
        self.bank[batch.pairs] = texts.detach()
        return super().forward(batch) | {"drift": (texts - known).square().mean()}


def same_state(one: Path, other: Path) -> None:
    first, second = load_file(one / STATE), load_file(other / STATE)
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-6, msg=name)


def step_of(folder: Path) -> int:
    """How far the saved state is; 0 where there is none."""
    if not (folder / STATE).is_file():
        return 0
    # Not `safe_open`, which opens the file twice: it is replaced again and again.
    with (folder / STATE).open("rb") as handle:
        head = json.loads(handle.read(int.from_bytes(handle.read(8), "little")))
    return int(json.loads(head["__metadata__"]["position"])["step"])


@pytest.mark.parametrize("fields", [{"save_every": 1}, EVERYTHING], ids=["plain", "everything"])
def test_stopping_and_resuming_changes_nothing(
    fields: dict[str, object], tiny_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "training.engine.trainer.build_method", lambda recipe, encoder, size: Banked(encoder, recipe, size)
    )
    chosen = recipe(tiny_set, **fields)
    whole = train(chosen, tmp_path / "whole")
    data = read_dataset("cuhk_pedes", tiny_set)
    interrupted = Trainer(chosen, data, tmp_path / "parts", device="cpu")
    original = interrupted._save_state

    def stop_in_the_second_epoch() -> None:
        original()
        if interrupted.position.step == interrupted.pairs.steps + 2:
            raise KeyboardInterrupt

    interrupted._save_state = stop_in_the_second_epoch  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        interrupted.run()
    resumed = Trainer(chosen, data, tmp_path / "parts", device="cpu")
    assert resumed.position.step == whole.pairs.steps + 2
    resumed.run()
    same_state(tmp_path / "whole", tmp_path / "parts")
    assert load_file(tmp_path / "parts" / STATE)["method.bank"].abs().sum() > 0


def test_a_killed_process_goes_on_when_the_command_is_repeated(tiny_set: Path, tmp_path: Path) -> None:
    chosen = recipe(tiny_set, **EVERYTHING, evaluate_every=2)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(chosen))
    out = tmp_path / "run"
    words = ["train", str(tmp_path / "recipe.yaml"), "--out", str(out), "--device", "cpu"]
    child = subprocess.Popen(
        [sys.executable, "-m", "training", *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + LIMIT_S
    while step_of(out) < 2:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    stopped = step_of(out)
    resumed = train(chosen, out)
    whole = train(chosen, tmp_path / "whole")
    assert 2 <= stopped < whole.position.step == resumed.position.step
    assert [event["step"] for event in read_events(out) if event["event"] == "resume"] == [stopped]
    same_state(tmp_path / "whole", out)
    assert resumed.position.best == whole.position.best


def test_another_recipe_other_data_or_another_version_is_not_resumed(tiny_set: Path, tmp_path: Path) -> None:
    chosen = recipe(tiny_set, schedule={"epochs": 1})
    train(chosen, tmp_path)
    data = read_dataset("cuhk_pedes", tiny_set)
    other = recipe(tiny_set, schedule={"epochs": 1}, seed=1)
    with pytest.raises(TrainingError, match="another recipe"):
        Trainer(other, data, tmp_path, device="cpu")
    fewer = replace(data, splits={**data.splits, "train": data.splits["train"][::-1]})
    with pytest.raises(TrainingError, match="other training data"):
        Trainer(chosen, fewer, tmp_path, device="cpu")
    assert Trainer(chosen, data, tmp_path, device="cpu").position.step > 0
    with safe_open(tmp_path / STATE, framework="pt") as handle:
        metadata = handle.metadata()
    save_file(load_file(tmp_path / STATE), tmp_path / STATE, metadata=metadata | {"format": "1"})
    with pytest.raises(TrainingError, match="another version of Descry"):
        Trainer(chosen, data, tmp_path, device="cpu")
    assert Trainer(other, data, tmp_path, device="cpu", restart=True).position.step == 0


def test_a_damaged_state_is_told(tiny_set: Path, tmp_path: Path) -> None:
    data = read_dataset("cuhk_pedes", tiny_set)
    (tmp_path / STATE).write_bytes(b"broken")
    with pytest.raises(TrainingError, match="--restart"):
        Trainer(recipe(tiny_set), data, tmp_path, device="cpu")
    train(recipe(tiny_set, schedule={"epochs": 1}), tmp_path / "run")
    state = tmp_path / "run" / STATE
    with safe_open(state, framework="pt") as handle:
        metadata = handle.metadata()
    tensors = load_file(state)
    del tensors[sorted(name for name in tensors if name.startswith("method."))[0]]
    save_file(tensors, state, metadata=metadata)
    with pytest.raises(TrainingError, match=r"cannot be read .*Missing key"):
        Trainer(recipe(tiny_set, schedule={"epochs": 1}), data, tmp_path / "run", device="cpu")


def test_a_run_killed_after_its_last_step_still_evaluates_it(tiny_set: Path, tmp_path: Path) -> None:
    chosen, data = recipe(tiny_set, save_every=1, schedule={"epochs": 1}), read_dataset("cuhk_pedes", tiny_set)
    killed = Trainer(chosen, data, tmp_path, device="cpu")

    def stop(epoch: int, log: object) -> None:
        raise KeyboardInterrupt

    killed._evaluate = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert Trainer(chosen, data, tmp_path, device="cpu").run().path == tmp_path / BEST
