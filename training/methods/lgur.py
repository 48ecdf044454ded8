"""LGUR's training: identity, ranking and guidance losses over part features (seed 003, eqs 6 to 10; methods.md 4)."""

from torch import Tensor

from models.encoder import PersonEncoder
from models.lgur import Lgur, unit
from training.methods.base import Batch, Method, TrainSize
from training.objectives.identity import PartClassifiers, part_identity
from training.objectives.ranking import ranking
from training.recipe import Recipe


class LgurMethod(Method):
    """L = L_id(v^) + L_id(t^) + L_rank(v^, t^), and with guidance + L_id(v_g) + L_id(t) + L_rank(v_g, t) + L_guide.

    All weights are 1 and no gradient is stopped, as in the paper. The identities of the train split are needed.

    Raises:
        ValueError: the encoder is not LGUR's.
    """

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, Lgur):
            raise ValueError(f"LGUR trains its own network, not {type(encoder).__name__}")
        self.network = encoder
        self.margin = recipe.lgur.margin
        self.guided = encoder.dictionary is not None and recipe.lgur.guidance
        parts, _, dim = encoder.prototypes.project.shape[0], *encoder.prototypes.project.shape[1:]
        self.classifiers = PartClassifiers(parts, dim, size.identities)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        network, ids = self.network, batch.identities
        patches = network.backbone.image(batch.pixels).tokens
        words = network.backbone.text(batch.token_ids)
        image, text = network.image_parts(patches), network.text_parts(words.tokens, words.mask)
        terms = {"id": self._identity(image, ids) + self._identity(text, ids), "rank": self._rank(image, text, ids)}
        if self.guided:
            image_g, text_g = network.guidance(patches, words.tokens, words.mask)
            terms["id_guided"] = self._identity(image_g, ids) + self._identity(text_g, ids)
            terms["rank_guided"] = self._rank(image_g, text_g, ids)
            terms["guide"] = self._rank(image, image_g, ids) + self._rank(text, text_g, ids)  # eq 9
        return terms

    def _identity(self, parts: Tensor, identities: Tensor) -> Tensor:
        return part_identity(self.classifiers(parts.float()), identities)

    def _rank(self, a: Tensor, b: Tensor, identities: Tensor) -> Tensor:
        return ranking(unit(a), unit(b), identities, self.margin)
