"""The plain CLIP baseline: InfoNCE ("itc") and SDM on the global features, as the recipe weighs them."""

import math

import torch
from torch import Tensor, nn

from models.encoder import PersonEncoder
from training.methods.base import Batch, Method, TrainSize
from training.objectives.infonce import infonce
from training.objectives.sdm import sdm
from training.processes.ranks import gather
from training.recipe import Recipe

_LARGEST_SCALE = 100.0  # CLIP's bound on 1 / tau: above it training becomes unstable


class ClipBaselineMethod(Method):
    """Contrasts each image with each text of the batch."""

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder)
        self.weights = recipe.loss
        start = torch.tensor(math.log(1 / recipe.loss.tau))
        self.log_scale = nn.Parameter(start, requires_grad=recipe.loss.learn_tau)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        images = gather(self.encoder.encode_image(batch.pixels)[self.encoder.spec.stored("text")])
        texts = gather(self.encoder.encode_text(batch.token_ids))
        identities = gather(batch.identities)
        terms: dict[str, Tensor] = {}
        if self.weights.infonce:
            scale = self.log_scale.exp().clamp(max=_LARGEST_SCALE)
            shared = identities if self.weights.identity_positives else None
            terms["infonce"] = self.weights.infonce * infonce(images, texts, scale, shared)
        if self.weights.sdm and batch.epoch >= self.weights.sdm_from_epoch:
            terms["sdm"] = self.weights.sdm * sdm(images, texts, identities, 1 / self.weights.tau)
        if not terms:
            raise ValueError(f"no loss term is active in epoch {batch.epoch}: give infonce or sdm a weight")
        return terms
