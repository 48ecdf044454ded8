"""What test_ranks.py runs: `torchrun --nproc_per_node 2 -m tests.training.processes.in_two_processes SET OUT`."""

import json
import sys
from pathlib import Path

import torch

from tests.training.engine.test_engine import recipe
from tests.training.methods.test_method_bdam import OPTIONS as BDAM
from tests.training.methods.test_method_hkgr import OPTIONS as HKGR
from tests.training.methods.test_method_lgur import OPTIONS as LGUR
from tests.training.staged import Staged
from training.datasets.preparation import prepare_data
from training.engine.steps import Done, Stepper
from training.engine.trainer import Trainer
from training.errors import DatasetError
from training.methods import METHODS
from training.methods.base import Batch
from training.processes.ranks import rank
from training.recipe import Recipe, dump_recipe

STOP = 8
"""Steps after which the run that is to be resumed is stopped."""


def chosen(root: Path, name: str) -> Recipe:
    """Recipes whose losses do not blow rounding up: in the tiny network of the other tests a change of 1e-7 in the
    weights grows to 1e-2 within three epochs, in one process as in two."""
    fields: dict[str, object] = {
        "encoder": {
            "height": 32,
            "width": 16,
            "options": {"dim": 64, "image_width": 8, "rows": 3, "text_width": 32, "drop_words": 0.1},
        },
        "loss": {"identity_positives": True, "tau": 0.2, "sdm": 0.1},
        "augmentation": {"shift": 1, "erase": 0.3, "brightness": 0.1},
        "optimiser": {"lr": 0.00003, "eps": 0.001},
        "schedule": {"epochs": 2, "warmup": 0.5},
        "save_every": 1,
    }
    if name == "micro":
        people = {"name": "identity", "identities": 8, "pairs": 4}
        fields |= {"accumulate": 2, "sampler": people, "schedule": {"epochs": 1}}
    if name == "dgcmia":  # its memory banks are buffers that all processes must write alike
        mined = {"image_threshold": 0.3, "text_threshold": 0.3, "memory_threshold": 0.3}
        # A third of the others' rate: its loss is ten times theirs, and at theirs rounding shows in it.
        slower = {"lr": 0.00001, "eps": 0.001}
        fields |= {"method": "dgcmia", "dgcmia": mined | {"tau": 0.2}, "optimiser": slower}
    if name == "hkgr":  # its words are hidden by sample, and told in other numbers by each process
        size = {"height": 32, "width": 16, "options": HKGR | {"drop_words": 0.1}}
        part = {"align": "infonce", "tau": 0.2, "depth": 1, "heads": 2, "identity": 1.0}
        fields |= {"method": "hkgr", "encoder": size, "hkgr": part, "schedule": {"epochs": 1}}
    if name == "lgur":  # its negatives are drawn from the whole batch; an epoch, as a cosine at the margin is a jump
        size = {"height": 32, "width": 16, "options": LGUR | {"drop_words": 0.1}}
        fields |= {"method": "lgur", "encoder": size, "schedule": {"epochs": 1}}
    if name == "joint":  # two stages, pairs and pictures; the pictures lie beside the pairs
        beside = {"root": str(root.parent / "pictures"), "batch": 4, "each": 2}
        heads = {"name": "heads", "optimiser": {"lr": 0.001, "eps": 0.001}, "schedule": {"epochs": 1, "warmup": 0.0}}
        fields |= {"data": {"root": str(root), "carve": 0.3, "pictures": beside}, "before": [heads]}
        fields |= {"schedule": {"epochs": 1}}
    if name == "bdam":  # its task weights are buffers that all processes must move alike
        people = {"name": "identity", "identities": 8, "pairs": 4}
        size = {"height": 32, "width": 16, "options": BDAM | {"dropout": 0.1, "drop_words": 0.1}}
        fields |= {"method": "bdam", "encoder": size, "sampler": people, "bdam": {"tau": 0.2, "weight_warm": 2}}
    return recipe(root, **fields)


def losses_of(trainer: Trainer, stop: int | None = None) -> list[dict[str, float]]:
    """Run to the end, or through `stop` steps, and keep every step's losses."""
    kept: list[dict[str, float]] = []
    step = Stepper.step

    def remember(self: Stepper, batch: Batch, seed: int) -> Done:
        if len(kept) == stop:
            raise KeyboardInterrupt
        done = step(self, batch, seed)
        kept.append(done.losses)
        return done

    Stepper.step = remember  # type: ignore[method-assign]  # of all: each stage has a stepper of its own
    try:
        trainer.run()
    except KeyboardInterrupt:
        assert len(kept) == stop
    finally:
        Stepper.step = step  # type: ignore[method-assign]
    return kept


def _train(root: Path, out: Path, name: str, stop: int | None = None) -> None:
    # Without a GPU, "auto" must join the processes too.
    device = "cpu" if torch.cuda.is_available() else "auto"
    trainer = Trainer(chosen(root, name), prepare_data(chosen(root, name)), out / name, device=device)
    losses = losses_of(trainer, stop)
    (out / f"{name}.{rank()}.json").write_text(json.dumps(losses))


def _break_the_second(root: Path, out: Path) -> None:
    from training import cli

    def broken(self: Stepper, batch: Batch, seed: int) -> Done:
        raise DatasetError("a picture that only this process met")

    if rank() == 1:
        Stepper.step = broken  # type: ignore[method-assign]
    (out / f"broken.{rank()}.yaml").write_text(dump_recipe(recipe(root)))
    sys.argv = [
        "training",
        "train",
        str(out / f"broken.{rank()}.yaml"),
        "--out",
        str(out / "broken"),
        "--device",
        "cpu",
    ]
    cli.main()


if __name__ == "__main__":
    where, into = Path(sys.argv[1]), Path(sys.argv[2])
    _train(where, into, "whole")
    _train(where, into, "micro")
    _train(where, into, "dgcmia")
    _train(where, into, "hkgr")
    _train(where, into, "lgur")
    _train(where, into, "bdam")
    plain = METHODS["clip_baseline"]
    METHODS["clip_baseline"] = Staged
    _train(where, into, "joint")
    stopped = into / "stopped"
    stopped.mkdir(exist_ok=True)
    _train(where, stopped, "joint", STOP)
    METHODS["clip_baseline"] = plain
    into = stopped
    _train(where, into, "whole", STOP)
    _break_the_second(where, into)
