"""A method of two stages that trains on pairs and on pictures, for the tests of the engine."""

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.encoder import PersonEncoder
from tests.training.engine.test_engine import recipe
from training.methods.base import Batch, TrainSize
from training.methods.clip_baseline import ClipBaselineMethod
from training.processes.ranks import gather
from training.recipe import Recipe


class Staged(ClipBaselineMethod):
    """Stage "heads" trains a classifier alone; "main" trains the rest, towards anchors that the classifier left."""

    takes_pictures: ClassVar[bool] = True
    stages: ClassVar[tuple[str, ...]] = ("heads", "main")
    anchors: Tensor

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder, recipe, size)
        dim = encoder.spec.spaces["text"].dim
        self.head = nn.Linear(dim, size.identities)
        self.register_buffer("anchors", torch.zeros(size.identities, dim))

    def begin_stage(self, stage: str) -> None:
        super().begin_stage(stage)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith("head.") == (stage == "heads"))
        if stage == "main":  # drawn numbers too must be the same when a run goes on
            noise = 0.01 * torch.randn(self.anchors.shape).to(self.anchors.device)
            self.anchors.copy_(self.head.weight.detach() + noise)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.pictures is not None
        features = self.encoder.encode_image(batch.pictures.pixels)["text"]
        if self.stage == "heads":
            return {"head": F.cross_entropy(self.head(features), batch.pictures.identities)}
        everyone, people = gather(features), gather(batch.pictures.identities)
        others = people[:, None] != people
        apart = ((everyone @ everyone.T) * others).sum() / others.sum()
        near = F.cross_entropy(features @ self.anchors.T, batch.pictures.identities)
        return super().forward(batch) | {"near": near, "apart": apart}


def staged(pairs: Path, pictures: Path, **fields: object) -> Recipe:
    """Two epochs of heads, two of main, over the miniature sets."""
    content: dict[str, object] = {
        "data": {"root": str(pairs), "carve": 0.3, "pictures": {"root": str(pictures), "batch": 4, "each": 2}},
        "before": [
            {
                "name": "heads",
                "optimiser": {"name": "adam", "lr": 0.02, "weight_decay": 0.0},
                "schedule": {"epochs": 2, "shape": "exponential", "per": "epoch", "warmup": 0, "gamma": 0.8},
            }
        ],
        "schedule": {"epochs": 2, "warmup": 0.5},
        "save_every": 1,
    }
    return recipe(pairs, **(content | fields))
