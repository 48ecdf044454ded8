"""One step: accumulation, precision, and numbers that are none."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from tests.training.engine.test_engine import recipe, train
from tests.training.engine.test_resume import same_state
from tests.training.miniature import write_market
from tests.training.staged import Staged, staged
from training.datasets import read_dataset
from training.datasets.preparation import prepare_data
from training.engine.state import STATE
from training.engine.steps import cut
from training.engine.trainer import Trainer
from training.errors import TrainingError
from training.events import read_events
from training.methods import METHODS
from training.methods.base import Batch
from training.recipe import Recipe


@pytest.fixture
def other_precision() -> Iterator[None]:
    """Accelerate keeps one precision for the process; runs in the same process as the tests must give it back."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def half_precision(other_precision: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 with a loss scaler on the CPU, which Accelerate refuses: PyTorch's own autocast and scaler, put into it."""

    def accelerate(recipe: Recipe, device: str) -> Accelerator:
        made = Accelerator(cpu=True)
        made.state._mixed_precision = "fp16"
        made.native_amp = True
        made.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=4)
        return made

    monkeypatch.setattr("training.engine.trainer.accelerate", accelerate)


def start(chosen: Recipe, folder: Path) -> Trainer:
    return Trainer(chosen, read_dataset(chosen.data.format, chosen.data.root), folder, device="cpu")


def test_micro_batches_give_the_mean_of_their_losses_and_gradients(tiny_set: Path, tmp_path: Path) -> None:
    # SGD-like: without clipping, Adam's first moment after one step is a tenth of the gradient.
    still = {"encoder": {"height": 32, "width": 16, "options": {"dim": 32, "image_width": 8, "drop_words": 0}}}
    fields = still | {"optimiser": {"betas": [0.9, 0.99], "clip": 0, "lr": 0.001}, "average": 0.0}
    whole = start(recipe(tiny_set, **fields), tmp_path / "whole")
    parts = start(recipe(tiny_set, **fields, accumulate=2), tmp_path / "parts")
    batch = next(whole.pairs.epoch(0))
    done = parts.stepper.step(batch, 0)
    gradients: dict[str, torch.Tensor] = {}
    losses = []
    whole.method.train()
    for half in cut(batch, 2):
        loss = whole.method(half)["infonce"]
        losses.append(float(loss.detach()))
        whole.method.zero_grad()
        loss.backward()
        for name, parameter in whole.method.named_parameters():
            gradients[name] = gradients.get(name, torch.zeros_like(parameter)) + parameter.grad / 2
    assert done.losses["infonce"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values()))
    assert done.norm == pytest.approx(norm, rel=1e-4)
    for name, parameter in parts.method.named_parameters():
        moment = parts.optimiser.state[parameter]["exp_avg"]
        torch.testing.assert_close(moment, gradients[name] / 10, rtol=1e-3, atol=1e-5, msg=name)


def test_cutting_keeps_every_sample_with_its_own(tiny_set: Path, tmp_path: Path) -> None:
    batch = next(start(recipe(tiny_set), tmp_path).pairs.epoch(0))
    batch = replace(batch, plain=batch.pixels + 1)
    halves = cut(batch, 2)
    for name in ("pixels", "plain", "token_ids", "identities", "pairs", "images"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(batch, name)), name


def test_bf16_trains_with_fp32_weights(tiny_set: Path, tmp_path: Path, other_precision: None) -> None:
    trainer = train(recipe(tiny_set, precision="bf16", schedule={"epochs": 1}), tmp_path)
    assert read_events(tmp_path)[0]["precision"] == "bf16"
    assert {parameter.dtype for parameter in trainer.method.parameters()} == {torch.float32}


def test_fp16_without_a_gpu_is_refused(tiny_set: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="fp16 needs a GPU"):
        start(recipe(tiny_set, precision="fp16"), tmp_path)


def test_fp16s_scale_survives_a_stop(tiny_set: Path, tmp_path: Path, half_precision: None) -> None:
    chosen = recipe(tiny_set, precision="fp16", save_every=1, schedule={"epochs": 2})
    whole = train(chosen, tmp_path / "whole")
    assert whole.accelerator.scaler is not None
    stopped = start(chosen, tmp_path / "parts")
    original = stopped._save_state

    def stop() -> None:
        original()
        if stopped.position.step == 5:
            raise KeyboardInterrupt

    stopped._save_state = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    resumed = start(chosen, tmp_path / "parts")
    assert resumed.accelerator.scaler.state_dict() == stopped.accelerator.scaler.state_dict()
    assert resumed.accelerator.scaler.get_scale() != 2.0**14
    resumed.run()
    assert resumed.accelerator.scaler.state_dict() == whole.accelerator.scaler.state_dict()
    same_state(tmp_path / "whole", tmp_path / "parts")


def test_fp16s_scaler_goes_through_stages(
    tiny_set: Path, tmp_path: Path, half_precision: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "clip_baseline", Staged)
    chosen = staged(tiny_set, write_market(tmp_path / "market"), precision="fp16", schedule={"epochs": 1})
    trainer = Trainer(chosen, prepare_data(chosen), tmp_path / "run", device="cpu")
    trainer.run()
    events = read_events(tmp_path / "run")
    assert [event["stage"] for event in events if event["event"] == "epoch"] == ["heads", "heads", "main"]
    assert trainer.accelerator.scaler is not None
    assert trainer.position.skipped < trainer.position.step


def test_an_overflowing_gradient_is_left_out_and_is_no_nan(
    tiny_set: Path, tmp_path: Path, half_precision: None
) -> None:
    trainer = start(recipe(tiny_set, precision="fp16", schedule={"epochs": 1}), tmp_path)
    trainer.accelerator.scaler.load_state_dict({**trainer.accelerator.scaler.state_dict(), "scale": 2.0**60})
    trainer.accelerator.scaler._lazy_init_scale_growth_tracker(torch.device("cpu"))
    before = {name: value.clone() for name, value in trainer.encoder.state_dict().items() if "weight" in name}
    batch = next(trainer.pairs.epoch(0))
    trainer.method.train()
    done = trainer.stepper.step(batch, 0)
    assert done.skipped
    assert math.isfinite(done.losses["infonce"])
    assert trainer.accelerator.scaler.get_scale() == 2.0**59
    assert all(torch.equal(value, trainer.encoder.state_dict()[name]) for name, value in before.items())


def test_overflow_at_any_scale_ends_the_run(tiny_set: Path, tmp_path: Path, half_precision: None) -> None:
    trainer = start(recipe(tiny_set, precision="fp16", schedule={"epochs": 20}), tmp_path)
    next(trainer.method.parameters()).register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(TrainingError, match="overflow at any scale"):
        trainer.run()


def test_a_loss_that_is_no_number_names_its_batch_and_keeps_the_state(tiny_set: Path, tmp_path: Path) -> None:
    trainer = start(recipe(tiny_set, save_every=1), tmp_path)
    step = trainer.stepper.step

    def poisoned(batch: Batch, seed: int) -> object:
        if trainer.position.step == 8:
            batch.pixels[3] = math.nan
        return step(batch, seed)

    trainer.stepper.step = poisoned  # type: ignore[method-assign,assignment]
    with pytest.raises(TrainingError, match=r"nan.* at epoch 2, batch 3: images p\d+_c\d\d_\.png, .* and 29 more"):
        trainer.run()
    event = read_events(tmp_path)[-1]
    assert (event["event"], event["epoch"], event["batch"], event["step"]) == ("nan", 1, 2, 8)
    members = trainer.pairs.members(1, 2)
    assert event["pairs"] == members.tolist()
    assert event["images"] == trainer.pairs.paths(members)
    assert all(Path(path).is_file() for path in event["images"])
    assert event["losses"] == {"infonce": "nan"}
    kept = load_file(tmp_path / STATE)
    assert all(value.isfinite().all() for value in kept.values())
    assert start(recipe(tiny_set, save_every=1), tmp_path).position.step == 8


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_no_number_stops_before_the_weights_change(
    tiny_set: Path, tmp_path: Path, clip: float
) -> None:
    trainer = start(recipe(tiny_set, optimiser={"clip": clip}), tmp_path)
    next(trainer.method.parameters()).register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(TrainingError, match=r"gradient has norm nan under .* at epoch 1, batch 1"):
        trainer.run()
    assert all(parameter.isfinite().all() for parameter in trainer.method.parameters())
    assert json.loads(json.dumps(read_events(tmp_path)[-1]))["gradient_norm"] == "nan"
