"""LGUR's training: identity, ranking and guidance losses over part features (seed 003, eqs 6 to 10; methods.md 4)."""

from torch import Tensor

from models.encoder import PersonEncoder
from models.lgur import Lgur, unit
from training.methods.base import Batch, Method, Row, TrainSize
from training.objectives.identity import PartClassifiers, part_identity
from training.objectives.ranking import ranking
from training.processes.ranks import gather
from training.recipe import Recipe


class LgurMethod(Method):
    """L = L_id(v^) + L_id(t^) + L_rank(v^, t^), and with guidance + L_id(v_g) + L_id(t) + L_rank(v_g, t) + L_guide.

    All weights are 1 and no gradient is stopped, as in the paper. The identities of the train split are needed.

    With several processes the ranking losses see the gathered batch, and all draw the same negatives from it; the
    identity losses are means over samples, of which each process has as many.

    Raises:
        ValueError: the encoder is not LGUR's.
    """

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, Lgur):
            raise ValueError(f"LGUR trains its own network, not {type(encoder).__name__}")
        self.margin = recipe.lgur.margin
        self.guided = encoder.dictionary is not None and recipe.lgur.guidance
        parts, _, dim = encoder.prototypes.project.shape[0], *encoder.prototypes.project.shape[1:]
        self.classifiers = PartClassifiers(parts, dim, size.identities)

    @property
    def network(self) -> Lgur:
        """The encoder; a second attribute would put its weights into the state twice."""
        assert isinstance(self.encoder, Lgur)
        return self.encoder

    @classmethod
    def ablation(cls, recipe: Recipe) -> tuple[Row, ...]:
        """Rows 0, 1, 2 and 6 of the paper's ablation: without both modules, with either, with both."""
        no_dictionary, no_prototypes = "lgur.dictionary=false", "lgur.prototypes=false"
        return (
            Row("baseline", (no_dictionary, no_prototypes)),
            Row("+PGU", (no_dictionary,)),
            Row("+DGA", (no_prototypes,)),
            Row("LGUR"),
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        network, own, ids = self.network, batch.identities, gather(batch.identities)
        patches = network.backbone.image(batch.pixels).tokens
        words = network.backbone.text(batch.token_ids)
        image, text = network.image_parts(patches), network.text_parts(words.tokens, words.mask)
        whole = gather(unit(image)), gather(unit(text))
        terms = {"id": self._identity(image, own) + self._identity(text, own), "rank": self._rank(*whole, ids)}
        if self.guided:
            image_g, text_g = network.guidance(patches, words.tokens, words.mask)
            guided = gather(unit(image_g)), gather(unit(text_g))
            terms["id_guided"] = self._identity(image_g, own) + self._identity(text_g, own)
            terms["rank_guided"] = self._rank(*guided, ids)
            terms["guide"] = self._rank(whole[0], guided[0], ids) + self._rank(whole[1], guided[1], ids)  # eq 9
        return terms

    def _identity(self, parts: Tensor, identities: Tensor) -> Tensor:
        return part_identity(self.classifiers(parts.float()), identities)

    def _rank(self, a: Tensor, b: Tensor, identities: Tensor) -> Tensor:
        return ranking(a, b, identities, self.margin)
