"""HKGR's training: alignment at two grains, and hidden words told from the image (seed 004; methods.md 6).

    L = L_sdm(g) + L_sdm(l) + L_mlm (+ L_id)

g are the global features, l the embeddings of selected tokens. The hidden words are phrases of the description's scene
graph, of a level that each description draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.backbones.attentive import Attended
from models.descriptions import Described, parse
from models.encoder import PersonEncoder
from models.hkgr import Hkgr
from training.descriptions.parsed_captions import load_parsed
from training.descriptions.phrases import mark
from training.methods.base import Batch, Method, Row, TrainSize
from training.objectives.identity import PartClassifiers, part_identity
from training.objectives.infonce import infonce
from training.objectives.knowledge import MASK_LEVELS, Masked, Masker, mask_at_random
from training.objectives.language import CrossEncoder, LanguageHead, language_loss
from training.objectives.sdm import sdm
from training.processes.ranks import gather, mean_over_ranks
from training.recipe import Recipe
from training.records import Record, pairs_of

_LARGEST_SCALE = 100.0  # CLIP's bound on 1 / tau where it is learnt
_HEAD_DIM = 64


@dataclass(frozen=True, slots=True)
class Told:
    """What the language head says of M hidden words.

    Attributes:
        logits: (M, V) float.
        wanted: (M,) int64, the words.
        rows: (M,) int64, their descriptions.
    """

    logits: Tensor
    wanted: Tensor
    rows: Tensor


class HkgrMethod(Method):
    """The terms `coarse`, `fine`, `mlm` and `id`, as the recipe's section `hkgr` has them.

    Two streams of text are kept apart: what the alignment sees (`text_aug`: clean, or with 15 % of the words masked, as
    IRRA's and HKGR's code have it by oversight) and what the language head is given. Each costs a pass of the text
    encoder. With several processes the alignment sees the gathered batch.

    Raises:
        ValueError: the encoder is not HKGR's.
    """

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, Hkgr):
            raise ValueError(f"HKGR trains its own network, not {type(encoder).__name__}")
        self.part = part = recipe.hkgr
        start = torch.full((2,), math.log(1 / part.tau))
        self.log_scale = nn.Parameter(start, requires_grad=part.align == "infonce" and part.learn_tau)
        dim = encoder.backbone.dim
        self.classifiers = PartClassifiers(1, dim, size.identities) if part.identity else None
        self.cross: CrossEncoder | None = None
        self.mlm_head: LanguageHead | None = None
        if part.mlm:
            self.cross = CrossEncoder(dim, heads=part.heads or max(dim // _HEAD_DIM, 1), depth=part.depth)
            self.mlm_head = LanguageHead(dim, encoder.tokenizer.size)
        # Until the descriptions were read it can hide words at random.
        self.masker = Masker(encoder.tokenizer, None, levels=("random",))
        self.needs_descriptions = bool(part.mlm) and tuple(part.levels) != ("random",)
        self.counts: Tensor
        self.register_buffer("counts", torch.zeros(len(MASK_LEVELS), 2, dtype=torch.float64))

    @property
    def network(self) -> Hkgr:
        """The encoder; a second attribute would put its weights into the state twice."""
        assert isinstance(self.encoder, Hkgr)
        return self.encoder

    @classmethod
    def ablation(cls, recipe: Recipe) -> tuple[Row, ...]:
        """Global alignment alone; both grains (MGA); with words hidden at random, and at each level; all levels.

        Beside it the baseline that trains twice as long: the language head's second pass of the text encoder is time
        that the baseline does not have.
        """
        coarse, silent = "hkgr.fine=false", "hkgr.mlm=0"
        twice = f"schedule.epochs={2 * recipe.schedule.epochs}"
        return (
            Row("baseline", (coarse, silent)),
            Row("+MGA", (silent,)),
            Row("+MLM random", ("hkgr.levels=[random]",)),
            *(Row(f"+MLM {level}", (f"hkgr.levels=[{level}]",)) for level in MASK_LEVELS[1:]),
            Row("HKGR", ("hkgr.levels=[object, attribute, relation]",)),
            Row("baseline, twice the steps", (coarse, silent, twice), equal_budget=False),
        )

    def prepare(self, records: tuple[Record, ...]) -> None:
        """Read the description of every training pair."""
        self.read_descriptions([text for _, text in pairs_of(records)])

    def read_descriptions(self, texts: Sequence[str]) -> None:
        """Find the phrases of descriptions, by rule or in the file that the recipe names; their places are the pairs'.

        Raises:
            ParsedCaptionsError: the file is missing, malformed or of other descriptions.
        """
        part = self.part
        if not self.needs_descriptions:
            return
        described: list[Described]
        if part.parsed is not None:
            described = list(load_parsed(part.parsed, texts, subset=part.parsed_subset))
        else:
            graphs = {text: parse(text) for text in dict.fromkeys(texts)}
            described = [graphs[text] for text in texts]
        tokenizer = self.encoder.tokenizer
        marks = mark(described, tokenizer, match=part.match, determiners=part.determiners)
        self.masker = Masker(tokenizer, marks, levels=part.levels, ratio=part.mask_ratio, match=part.match)
        self.needs_descriptions = False

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        network, part = self.network, self.part
        image, text = network.backbone.image(batch.pixels), network.backbone.text(self._shown(batch.token_ids))
        ids = gather(batch.identities)
        terms = {"coarse": self._align(0, image.pooled, text.pooled, ids)}
        fine_image, fine_text = network.image_embedding(image), network.text_embedding(text)
        if fine_image is not None and fine_text is not None:
            terms["fine"] = self._align(1, fine_image, fine_text, ids)
        if self.classifiers is not None:
            terms["id"] = part.identity * self._identity(image.pooled, text.pooled, batch.identities)
        if part.mlm:
            masked = self.hide(batch.token_ids, batch.pairs)
            told = self.tell(image, masked)
            terms["mlm"] = part.mlm * language_loss(told.logits, told.wanted)
            if self.training:
                self._count(masked, told)
        return terms

    def hide(self, ids: Tensor, pairs: Tensor) -> Masked:
        """Hide words of the descriptions `ids` (B, L), whose places among the training pairs are `pairs` (B,).

        Raises:
            ValueError: the descriptions were not read.
        """
        if self.needs_descriptions:
            raise ValueError("the levels of HKGR's masking need `prepare` first")
        masked: Masked = self.masker(ids, pairs)
        return masked

    def tell(self, image: Attended, masked: Masked) -> Told:
        """What the language head says of the hidden words, given the images.

        Raises:
            ValueError: there is no language head.
        """
        if self.cross is None or self.mlm_head is None:
            raise ValueError("there is no language head: hkgr.mlm is 0")
        words = self.network.backbone.text(masked.ids)
        seen = torch.cat([image.pooled.unsqueeze(1), image.tokens], dim=1)
        hidden = self.cross(words.tokens, seen, words.mask)
        labels = masked.labels[:, : hidden.shape[1]]
        rows, places = labels.nonzero(as_tuple=True)
        # The vocabulary is wide: only what is to be told goes through the head.
        return Told(self.mlm_head(hidden[rows, places]), labels[rows, places], rows)

    def measurements(self) -> dict[str, float]:
        """`told_<level>`: the share of this epoch's hidden words that the language head told, where any were hidden."""
        right, whole = self.counts.T.tolist()
        self.counts.zero_()
        return {f"told_{level}": round(right[n] / whole[n], 4) for n, level in enumerate(MASK_LEVELS) if whole[n]}

    def _shown(self, ids: Tensor) -> Tensor:
        if self.part.text_aug == "none":
            return ids
        masker = self.masker
        return mask_at_random(ids, masker.usable(ids), masker.replacements, masker.tokenizer.mask_id)[0]

    def _align(self, grain: int, images: Tensor, texts: Tensor, identities: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            a, b = (gather(F.normalize(features.float(), dim=-1)) for features in (images, texts))
            if self.part.align == "sdm":
                return sdm(a, b, identities, 1 / self.part.tau)
            scale = self.log_scale[grain].exp().clamp(max=_LARGEST_SCALE)
            return infonce(a, b, scale, identities)

    def _identity(self, images: Tensor, texts: Tensor, identities: Tensor) -> Tensor:
        assert self.classifiers is not None
        losses = [part_identity(self.classifiers(x.float().unsqueeze(1)), identities) for x in (images, texts)]
        return (losses[0] + losses[1]) / 2

    @torch.no_grad()
    def _count(self, masked: Masked, told: Told) -> None:
        right = told.logits.argmax(dim=1) == told.wanted
        levels = masked.levels[told.rows]
        tally = torch.stack(
            [torch.stack([right[levels == n].sum(), (levels == n).sum()]) for n in range(len(MASK_LEVELS))]
        )
        self.counts += mean_over_ranks(tally.double())
