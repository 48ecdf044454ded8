"""HPL's training: prompts are constructed (stage I), then the encoder learns from them (stage II).

Equation numbers are those of seed 000; its ten open points are settled as in methods.md 7.
"""

import json
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.base import Features
from models.backbones.routed import Routed
from models.encoder import PersonEncoder
from models.hpl import Hpl
from training.errors import RecipeError
from training.methods.base import Batch, Method, Row, TrainSize
from training.networks.prompts import InversionNet, PromptEncoder
from training.objectives.infonce import infonce
from training.objectives.prompts import (
    instance_consistency,
    local_alignment,
    prompt_contrast,
    prototype_identity,
    token_gap,
)
from training.objectives.sdm import sdm
from training.objectives.triplet import batch_hard_triplet
from training.processes.ranks import gather
from training.recipe import MAIN, Recipe

BASE, CONSTRUCT = "base", "construct"
_SPREAD_CLASSIFIER, _SPREAD_TOKENS = 0.001, 0.02
_AT_ONCE = 512  # prototypes


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch under the encoder. The descriptions' images come first, then the pictures without words.

    Attributes:
        images: of all B images; text: of the B_t2i descriptions.
        identities: (B,) int64.
        described: B_t2i.
    """

    images: Routed
    text: Features
    identities: Tensor
    described: int

    @property
    def pairs(self) -> Routed:
        """The described images."""
        return self.images.part(0, self.described)

    @property
    def own(self) -> Tensor:
        """(B_t2i,) their identities."""
        return self.identities[: self.described]


class HplMethod(Method):
    """Stage `construct` minimises L_construct (eq 13), the main stage L_total (eq 14).

    A stage `base` before them, which the paper does not have, minimises L_base alone, with InfoNCE in place of SDM: it
    is for encoders that begin untrained, whose words mean nothing yet that a prompt could be made of.

    Without pictures in the batch, the descriptions' images stand for them (point 10). What the main stage needs of
    stage I (second text encoder, identity tokens, prototypes) are parameters and buffers, so that a resumed run has it.

    Raises:
        ValueError: the encoder is not HPL's.
        RecipeError: prompts without a stage that makes them, or such a stage without use.
    """

    takes_pictures: ClassVar[bool] = True
    stages: ClassVar[tuple[str, ...]] = (BASE, CONSTRUCT, MAIN)
    prototypes: Tensor

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, Hpl):
            raise ValueError(f"HPL trains its own network, not {type(encoder).__name__}")
        self.part = part = recipe.hpl
        constructs = CONSTRUCT in (stage.name for stage in recipe.stages)
        if constructs != part.prompted:
            one, other = ("makes", "ilpa, cic and cmpr are all off") if constructs else ("would make", "there is none")
            raise RecipeError(f"the stage {CONSTRUCT} {one} the prompts of ilpa, cic and cmpr, but {other}")
        dim = encoder.backbone.dim
        self.classifier_t2i, self.classifier_i2i = _classifier(dim, size.identities), _classifier(dim, size.identities)
        if not part.prompted:
            return
        self.prompts = PromptEncoder(encoder.backbone, encoder.tokenizer)
        width = self.prompts.width
        self.invert_image, self.invert_text = (
            InversionNet(dim, width, tokens=part.pseudo_tokens, depth=part.depth, heads=part.heads) for _ in range(2)
        )
        self.id_tokens = nn.Parameter(_SPREAD_TOKENS * torch.randn(size.identities, part.id_tokens, width))
        self.register_buffer("prototypes", torch.zeros(size.identities, dim))

    @property
    def network(self) -> Hpl:
        """The encoder; a second attribute would put its weights into the state twice."""
        assert isinstance(self.encoder, Hpl)
        return self.encoder

    @classmethod
    def ablation(cls, recipe: Recipe) -> tuple[Row, ...]:
        """The paper's table: single token, +TRT, +HPL (ILPA and cic), +CMPR, each with as many steps of the encoder.

        Rows without prompts have no stage `construct`, in which the encoder stands still.
        """
        kept = [stage.model_dump(mode="json") for stage in recipe.before if stage.name != CONSTRUCT]
        plain = ("hpl.ilpa=false", "hpl.cic=false", "hpl.cmpr=false", f"before={json.dumps(kept)}")
        same = len(kept) == len(recipe.before)
        return (
            Row("none", ("hpl.trt=false", *plain)),
            Row("+TRT", plain),
            Row("+HPL", ("hpl.cmpr=false",), equal_budget=same),
            Row("+CMPR", equal_budget=same),
        )

    def begin_stage(self, stage: str) -> None:
        """Free what the stage trains; take the text encoder into stage I and the prototypes out of it (point 7)."""
        super().begin_stage(stage)
        constructs = stage == CONSTRUCT
        for module in (self.encoder, self.classifier_t2i, self.classifier_i2i):
            module.requires_grad_(not constructs)
        if not self.part.prompted:
            return
        for net in (self.invert_image, self.invert_text):
            net.requires_grad_(constructs or (stage == MAIN and self.part.cmpr))
        self.id_tokens.requires_grad_(constructs)
        if constructs:
            self.prompts.take(self.network.backbone)
        elif stage == MAIN:
            self._keep_prototypes()

    def train(self, mode: bool = True) -> "HplMethod":
        """In stage I the encoder stays in evaluation mode: frozen statistics, no dropped words."""
        super().train(mode)
        if self.stage == CONSTRUCT:
            self.encoder.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.stage != CONSTRUCT):
            seen = self._see(batch)
        if self.stage == CONSTRUCT:
            return self._construct(seen)
        terms = self._base(seen)
        if self.stage == MAIN and self.part.prompted:
            terms |= self._learn_from_prompts(seen)
        return terms

    def _see(self, batch: Batch) -> Seen:
        pixels, identities = batch.pixels, batch.identities
        if batch.pictures is not None:
            pixels = torch.cat([pixels, batch.pictures.pixels])
            identities = torch.cat([identities, batch.pictures.identities])
        text = self.network.backbone.text(batch.token_ids)
        return Seen(self.network.route(pixels), text, identities, len(batch.identities))

    def _base(self, seen: Seen) -> dict[str, Tensor]:
        """L_base of eq 2. The descriptions route v_t2i, all images v_i2i."""
        part, own, everyone = self.part, seen.own, seen.identities
        images, texts, portraits = seen.pairs.t2i.float(), seen.text.pooled.float(), seen.images.i2i.float()
        with torch.autocast(images.device.type, enabled=False):
            whole = gather(images), gather(texts), gather(own)
            classes = self.classifier_t2i(images), self.classifier_t2i(texts)
            ranked = F.normalize(portraits, dim=-1) if part.triplet_on == "unit" else portraits
            return {
                "match": self._match(*whole),
                "id_t2i": (F.cross_entropy(classes[0], own) + F.cross_entropy(classes[1], own)) / 2,
                "triplet": batch_hard_triplet(gather(ranked), gather(everyone), part.margin),
                "id_i2i": F.cross_entropy(self.classifier_i2i(portraits), everyone),
            }

    def _match(self, images: Tensor, texts: Tensor, identities: Tensor) -> Tensor:
        if self.stage == BASE:
            unit = F.normalize(images, dim=-1), F.normalize(texts, dim=-1)
            return infonce(*unit, 1 / self.part.base_tau, identities)
        return sdm(images, texts, identities, 1 / self.part.tau)

    def _construct(self, seen: Seen) -> dict[str, Tensor]:
        """L_construct of eq 13."""
        scale, ids = 1 / self.part.tau, seen.identities
        people, place = torch.unique(ids, return_inverse=True)
        tokens = self.id_tokens[ids]
        image_prompts = self.prompts(tokens, self._pseudo_of_images(seen.images))  # eq 5
        text_prompts = self.prompts(tokens[: seen.described], self._pseudo_of_texts(seen.text))
        of_identities = self.prompts(self.id_tokens[people])[place]  # eq 7
        with torch.autocast(ids.device.type, enabled=False):
            images, prompts, everyone = gather(seen.images.t2i.float()), gather(of_identities.float()), gather(ids)
            return {
                "t2i": prompt_contrast(prompts, everyone, images, everyone, scale),
                "i2t": prompt_contrast(images, everyone, prompts, everyone, scale),
                "ic": instance_consistency(image_prompts, seen.images.t2i, text_prompts, seen.text.pooled),
            }

    def _learn_from_prompts(self, seen: Seen) -> dict[str, Tensor]:
        """What eq 14 adds to L_base."""
        part, pairs, terms = self.part, seen.pairs, {}
        if part.cic:
            with torch.autocast(seen.identities.device.type, enabled=False):
                portraits, known = seen.images.i2i, self.prototypes
                terms["cic"] = prototype_identity(portraits, seen.identities, known, 1 / part.tau, part.smoothing)
        if not (part.ilpa or part.cmpr):
            return terms
        with torch.set_grad_enabled(torch.is_grad_enabled() and part.cmpr):
            of_images, of_texts = self._pseudo_of_images(pairs), self._pseudo_of_texts(seen.text)
        if part.ilpa:
            with torch.no_grad():
                tokens = self.id_tokens[seen.own]
                image_prompts, text_prompts = self.prompts(tokens, of_images), self.prompts(tokens, of_texts)
            aligned = local_alignment(text_prompts, pairs.t2i, image_prompts, seen.text.pooled)
            terms["ilpa"] = part.ilpa_weight * aligned
        if part.cmpr:
            terms["cmpr"] = part.cmpr_weight * token_gap(of_texts, of_images, part.cmpr_reduction)
        return terms

    def _pseudo_of_images(self, images: Routed) -> Tensor:
        """P^v of eq 4."""
        found: Tensor = self.invert_image(images.sequence)
        return found

    def _pseudo_of_texts(self, text: Features) -> Tensor:
        """P^t of eq 4."""
        found: Tensor = self.invert_text(*self.network.backbone.text_sequence(text))
        return found

    @torch.no_grad()
    def _keep_prototypes(self) -> None:
        """r~ of eq 7 for all identities, once: nothing that they are made of moves in the main stage."""
        for start in range(0, len(self.prototypes), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            self.prototypes[rows] = self.prompts(self.id_tokens[rows]).float()


def _classifier(dim: int, identities: int) -> nn.Linear:
    """512 -> identities, weights N(0, 0.001), bias 0 (methods.md 1.3 and point 8)."""
    made = nn.Linear(dim, identities)
    nn.init.normal_(made.weight, std=_SPREAD_CLASSIFIER)
    nn.init.zeros_(made.bias)
    return made
