"""A run on each captioned format, from its folder to a checkpoint that is measured both ways."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.checkpoint import load_checkpoint
from tests.training.engine.test_engine import recipe
from tests.training.miniature import write_icfg, write_rstp
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.engine.trainer import BEST, Trainer
from training.evaluation import embed_split
from training.records import carve_validation


@pytest.mark.parametrize(("name", "write"), [("icfg_pedes", write_icfg), ("rstpreid", write_rstp)])
def test_a_format_can_be_trained_and_measured_on(tmp_path: Path, name: str, write: Callable[[Path], Path]) -> None:
    root = write(tmp_path / "set")
    people = carve_validation(read_dataset(name, root), share=0.2, seed=0)
    chosen = recipe(root, data={"root": str(root), "format": name}, schedule={"epochs": 1}, batch=4)
    Trainer(chosen, people, tmp_path / "run", device="cpu").run()
    card = (tmp_path / "run" / BEST / "model_card.md").read_text()
    assert ("were set aside" in card) == (name == "icfg_pedes")
    encoder, records = load_checkpoint(tmp_path / "run" / BEST), people.splits["test"]
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    embedded = embed_split(encoder, records, source)
    source.close()
    assert embedded.measure().queries == sum(len(record.descriptions) for record in records)
    assert embedded.measure_images().protocol == "image_to_image"
