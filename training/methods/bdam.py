"""BDAM's training: four losses in balance, over identity and clothing texts (seed 002; methods.md 8).

Equation numbers are the paper's. What it leaves open is in methods.md 8 and in the recipe's `bdam` section.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.bdam import Bdam, Views
from models.encoder import PersonEncoder
from models.noise import sample_uniform
from models.tokenizers import PAD
from training.descriptions.person_texts import read_pair_texts
from training.methods.base import Batch, Method, Row, TrainSize
from training.methods.bdam_rows import rows
from training.objectives.decoupling import adversarial, gate_regulariser, hsic, reversed_matching
from training.objectives.gradnorm import GradNorm, gradient_norms
from training.objectives.infonce import infonce
from training.objectives.triplet import squared_triplet
from training.processes.ranks import gather
from training.recipe import Recipe
from training.records import Record

_LARGEST_SCALE = 100.0  # CLIP's bound on 1 / tau where it is learnt


class BdamMethod(Method):
    """L = sum_k w_k L_k (eq 6) over InfoNCE, triplet, adversarial and decoupling loss, plus the gate regulariser.

    InfoNCE compares the vectors that are indexed. The triplet loss sees image and identity text fused, the adversarial
    one the clothing features projected to the text's dimensions. GradNorm's weights are buffers, updated at the end of
    each forward pass in training mode from what all processes have gathered (`objectives.gradnorm`); a micro-batch
    counts as an iteration.

    Buffers beside them: `iterations` (); `gates` (4,) and `losses` (1 + K,), sums for the log; `texts` (), the
    fingerprint of the identity and clothing texts, so that a run does not go on with others. Their token ids are
    buffers that no state holds.

    Raises:
        ValueError: the encoder is not BDAM's, or a loss is wanted whose features the network does not have.
    """

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder)
        if not isinstance(encoder, Bdam):
            raise ValueError(f"BDAM trains its own network, not {type(encoder).__name__}")
        self.part, self._recipe = recipe.bdam, recipe
        part = self.part
        if encoder.decoupling is None and (part.adversarial or part.decouple):
            raise ValueError("without the decoupling module there is no clothing: turn adversarial and decouple off")
        start = torch.tensor(math.log(1 / part.tau))
        self.log_scale = nn.Parameter(start, requires_grad=part.learn_tau and part.infonce)
        dims = encoder.backbone.dim, encoder.backbone.text_dim
        self.clothing_to_text = nn.Linear(*dims) if part.adversarial else None
        tasks = [name for name in ("infonce", "triplet", "adversarial", "decouple") if getattr(part, name)]
        self.balance = GradNorm(
            tasks,
            alpha=part.alpha,
            role=part.alpha_role,
            lr=part.weight_lr,
            penalty=part.weight_penalty,
            warm=part.weight_warm,
        )
        self.iterations: Tensor
        self.gates: Tensor
        self.losses: Tensor
        self.texts: Tensor
        self.identity_ids: Tensor
        self.clothing_ids: Tensor
        self.generated: Tensor
        self.register_buffer("iterations", torch.zeros((), dtype=torch.int64))
        self.register_buffer("gates", torch.zeros(4, dtype=torch.float64))
        self.register_buffer("losses", torch.zeros(1 + len(tasks), dtype=torch.float64))
        self.register_buffer("texts", torch.zeros((), dtype=torch.int64))
        for name in ("identity_ids", "clothing_ids"):
            self.register_buffer(name, torch.zeros(size.pairs, 0, dtype=torch.int64), persistent=False)
        self.register_buffer("generated", torch.zeros(size.pairs, dtype=torch.bool), persistent=False)
        self.register_load_state_dict_pre_hook(_refuse_other_texts)  # type: ignore[no-untyped-call]

    @property
    def network(self) -> Bdam:
        """The encoder; a second attribute would put its weights into the state twice."""
        assert isinstance(self.encoder, Bdam)
        return self.encoder

    @classmethod
    def ablation(cls, recipe: Recipe) -> tuple[Row, ...]:
        """The paper's tables 1 to 3, and what decides between readings of it."""
        return rows(recipe)

    def prepare(self, records: tuple[Record, ...]) -> None:
        """Read or make the identity and clothing text of every pair."""
        found = read_pair_texts(records, self.part.descriptions, self._recipe.data.root)
        self.identity_ids, self.clothing_ids = self._tokens(found.identity), self._tokens(found.clothing)
        self.generated = torch.tensor(found.generated)
        self.texts.fill_(found.fingerprint)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        views = self._views(batch)
        losses = self._losses(views, gather(batch.identities))
        weights = self.balance.weights if self.part.gradnorm else torch.ones(len(losses), device=views.image.device)
        terms = {name: weight * loss for weight, (name, loss) in zip(weights, losses.items(), strict=True)}
        if self.part.gate_weight:
            share = None if views.weights is None else views.weights[:, 0]
            terms["gate"] = self.part.gate_weight * gate_regulariser(views.decoupled.gate, share).to(views.image.device)
        if self.training and torch.is_grad_enabled():
            self._balance(losses)
            self._tell(views, torch.stack([loss.detach().double() for loss in losses.values()]))
        return terms

    def measurements(self) -> dict[str, float]:
        """The tasks' weights now; means over the epoch of the losses without them, of g, of the image's share."""
        tasks = self.balance.tasks
        found = {f"weight_{name}": value for name, value in zip(tasks, self._weights(), strict=True)}
        steps, *losses = self.losses.tolist()
        gates, gate, fusions, fusion = self.gates.tolist()
        self.losses.zero_()
        self.gates.zero_()
        found |= {f"loss_{name}": value / steps for name, value in zip(tasks, losses, strict=True) if steps}
        found |= {"gate_mean": gate / gates} if gates else {}
        found |= {"fusion_image": fusion / fusions} if fusions else {}
        return {name: round(value, 5) for name, value in found.items()}

    def _weights(self) -> list[float]:
        values: list[float] = self.balance.weights.tolist()
        return values if self.part.gradnorm else [1.0] * len(values)

    def _views(self, batch: Batch) -> Views:
        part, captions = self.part, batch.token_ids
        # All processes cut at the longest text of the whole batch: one that saw less would draw other random numbers.
        whole = gather(batch.pairs)
        fused = part.triplet and part.triplet_on == "fused"
        identity = self._looked_up(self.identity_ids, batch.pairs, whole)
        if part.identity_text:
            drawn = sample_uniform(len(captions), device=captions.device) < part.identity_text
            captions = _either(drawn & self.generated[batch.pairs], identity, captions)
        clothing = self._looked_up(self.clothing_ids, batch.pairs, whole) if part.adversarial else None
        return self.network.views(batch.pixels, captions, identity if fused else None, clothing)

    def _looked_up(self, table: Tensor, pairs: Tensor, whole: Tensor) -> Tensor:
        if not table.shape[1]:
            raise ValueError("BDAM has no identity and clothing texts yet: call `prepare` with the train split")
        longest = int((table[whole] != PAD).any(dim=0).sum())
        return table[pairs][:, : max(longest, 1)]

    def _tokens(self, texts: tuple[str, ...]) -> Tensor:
        ids = self.encoder.tokenize(texts).ids
        return ids[:, : max(1, int((ids != PAD).any(dim=0).sum()))].to(self.texts.device)

    def _losses(self, views: Views, ids: Tensor) -> dict[str, Tensor]:
        """The unweighted losses of `balance.tasks`, in its order."""
        part, losses = self.part, {}
        positives = ids if part.identity_positives else None
        if part.infonce:
            scale = self.log_scale.exp().clamp(max=_LARGEST_SCALE) if part.learn_tau else self.log_scale.exp()
            losses["infonce"] = infonce(gather(views.image), gather(views.text), scale, positives)
        if part.triplet:
            features = views.fused if part.triplet_on == "fused" else views.image
            losses["triplet"] = squared_triplet(gather(features), ids, part.margin)
        if part.adversarial:
            losses["adversarial"] = self._adversary(views, positives)
        if part.decouple:
            found = views.decoupled
            assert found.clothing_gated is not None
            losses["decouple"] = hsic(gather(found.identity_gated), gather(found.clothing_gated))
        return losses

    def _adversary(self, views: Views, positives: Tensor | None) -> Tensor:
        found, text = views.decoupled, views.clothing_text
        assert self.clothing_to_text is not None
        assert found.clothing is not None
        assert text is not None
        clothing, text = gather(self.clothing_to_text(found.clothing)), gather(text)
        if self.part.adv == "literal":
            return adversarial(clothing, text, 1 / self.part.tau)
        identity = gather(self.clothing_to_text(found.identity))
        return reversed_matching(identity, clothing, text, 1 / self.part.tau, positives)

    def _balance(self, losses: dict[str, Tensor]) -> None:
        due = int(self.iterations) % self.part.weight_every == 0
        self.iterations += 1
        if self.part.gradnorm and len(losses) > 1 and due:
            values = list(losses.values())
            norms = gradient_norms(values, self.network.backbone.shared_weight)
            self.balance.update(torch.stack([value.detach().float() for value in values]), norms)

    @torch.no_grad()
    def _tell(self, views: Views, losses: Tensor) -> None:
        self.losses += torch.cat([losses.new_ones(1), losses])
        for place, weights in ((0, views.decoupled.gate), (2, None if views.weights is None else views.weights[:, :1])):
            if weights is not None:
                means = gather(weights.double().mean(dim=1))
                self.gates[place] += len(means)
                self.gates[place + 1] += means.sum()


def _either(first: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(B, L) token ids: rows of `a` where `first` (B,), else rows of `b`; the shorter of them is padded."""
    length = max(a.shape[1], b.shape[1])
    return torch.where(first.unsqueeze(1), _padded(a, length), _padded(b, length))


def _padded(ids: Tensor, length: int) -> Tensor:
    return F.pad(ids, (0, length - ids.shape[1]), value=PAD)


def _refuse_other_texts(
    module: nn.Module,
    state: dict[str, Any],
    prefix: str,
    metadata: dict[str, Any],
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    told, mine = state.get(f"{prefix}texts"), module.get_buffer("texts")
    if told is not None and int(told) != int(mine):
        errors.append("the identity and clothing texts are not those that the run began with")
