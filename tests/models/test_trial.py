"""A checkpoint that does not do what its spec says is refused with the reason, before anybody relies on it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.checkpoint import DEMO, SPEC, WEIGHTS, save_checkpoint
from models.clip_baseline import compact_spec
from models.errors import CheckpointError
from models.registry import build
from models.trial import try_out

State = dict[str, Tensor]
Spec = dict[str, Any]


class Bomb:
    """Ends the process when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was executed')",))


def compact_checkpoint(folder: Path, seed: int = 3) -> Path:
    torch.manual_seed(seed)
    spec = compact_spec(("red", "blue", "coat", "person"), height=32, width=16, length=12, dim=32, image_width=4)
    save_checkpoint(build(spec).eval(), folder, card="# random weights\n")
    return folder


def edit_weights(folder: Path, edit: Callable[[State], object]) -> Path:
    state = load_file(folder / WEIGHTS)
    edit(state)
    save_file(state, folder / WEIGHTS)
    return folder


def edit_spec(folder: Path, edit: Callable[[Spec], object]) -> Path:
    spec = json.loads((folder / SPEC).read_text())
    edit(spec)
    (folder / SPEC).write_text(json.dumps(spec))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return compact_checkpoint(tmp_path / "made")


def test_what_works_is_accepted(folder: Path) -> None:
    assert try_out(folder).spec.spaces["text"].dim == 32
    assert try_out(DEMO).spec.method == "clip_baseline"


def poison(value: float) -> Callable[[State], object]:
    return lambda state: state["backbone.text_tower.word.weight"].view(-1)[7:8].fill_(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers(folder: Path, value: float) -> None:
    with pytest.raises(CheckpointError, match=r"text_tower\.word\.weight has values that are not finite"):
        try_out(edit_weights(folder, poison(value)))


def test_weights_that_give_nothing(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="weights: "):
        try_out(edit_weights(folder, lambda state: [value.zero_() for value in state.values()]))


SPECS: dict[str, tuple[Callable[[Spec], object], str]] = {
    "dimension": (lambda spec: [space.update(dim=64) for space in spec["spaces"].values()], "do not fit"),
    "a space that is not there": (lambda spec: spec["spaces"]["image"].update(stored_as="image"), "spaces: "),
    "fewer words": (lambda spec: spec["tokenizer"].update(vocabulary=["red"]), "do not fit"),
    "other tokenizer": (lambda spec: spec["tokenizer"].update(kind="wordpiece"), "begins with"),
    "no pixels": (lambda spec: spec["preprocessing"].update(height=0), "image size must be positive"),
    "too few pixels": (lambda spec: spec["preprocessing"].update(height=2), "2 x 16 pixels"),
    "too many pixels": (lambda spec: spec["preprocessing"].update(width=10**6), "1000000 pixels"),
    "mean of bytes": (lambda spec: spec["preprocessing"].update(mean=[123.7, 116.3, 103.5]), r"pixels in \[0, 1\]"),
    "std of nothing": (lambda spec: spec["preprocessing"].update(std=[0, 0, 0]), "std must be positive"),
    "grey": (lambda spec: spec["preprocessing"].update(mean=[0.5], std=[0.2]), "3 channels"),
    "words for numbers": (lambda spec: spec["preprocessing"].update(mean="abc"), "which .* cannot be"),
    "other filter": (lambda spec: spec["preprocessing"].update(interpolation="magic"), "interpolation"),
    "other method": (lambda spec: spec.update(method="magic"), "unknown method"),
    "other backbone": (lambda spec: spec.update(backbone="magic"), "magic"),
    "other options": (lambda spec: spec["options"].update(rows=3), "do not fit"),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_that_the_weights_do_not_keep(folder: Path, name: str) -> None:
    edit, reason = SPECS[name]
    with pytest.raises(CheckpointError, match=reason):
        try_out(edit_spec(folder, edit))


def test_a_pickle_is_refused_and_never_executed(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="safetensors"):
        try_out(folder)
    torch.save({"weights": Bomb()}, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="safetensors"):
        try_out(folder)
