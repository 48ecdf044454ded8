"""DGCMIA: identities mined from unlabelled image-text pairs, within the batch and over the training set.

Zhang, Shang and Li, "Dual-Granularity Cross-Modal Identity Association for Weakly-Supervised Text-to-Person Image
Matching", ACM MM 2025; what the paper leaves open is in methods.md 5 and in the recipe's `dgcmia` section. It trains
the baseline's network and leaves a baseline checkpoint: nothing of it remains at inference.

Supervision is weak: a loss knows which image and text are one pair, nothing else. Identities are read by `_count`
alone, for what the log says of the mined relations.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from models.encoder import PersonEncoder
from training.methods.base import Batch, Method, Row, TrainSize
from training.objectives.association import association_loss, association_targets, columns
from training.objectives.infonce import infonce
from training.objectives.masking import mask_words
from training.objectives.memory import Candidates, find_candidates, update_bank
from training.objectives.relations import mined_relations, relation_loss, soft_targets
from training.processes.ranks import gather
from training.recipe import Recipe

_LARGEST_SCALE = 100.0  # CLIP's bound on 1 / tau where it is learnt
_COUNTS = ("local_mined", "local_right", "local_true", "global_mined", "global_right", "global_new", "global_new_right")


class DgcmiaMethod(Method):
    """Contrasts the pairs of the batch (eqs 1-2) and adds what the recipe's switches turn on (eq 22, plain sum).

    Buffers: `image_bank`, `text_bank` (N, D) for N training pairs and `filled` (N,) bool; for the log alone
    `identity_of` and `image_of` (N,) int64 and `counts`. The banks are written at the end of each forward pass in
    training mode, after the losses have read them; each pair comes once in an epoch, so that it is blended once. With
    several processes all of them see the gathered batch, and so write the same banks.
    """

    needs_plain: ClassVar[bool] = True

    def __init__(self, encoder: PersonEncoder, recipe: Recipe, size: TrainSize) -> None:
        super().__init__(encoder)
        self.part = part = recipe.dgcmia
        start = torch.tensor(math.log(1 / (part.itc_tau or part.tau)))
        self.log_scale = nn.Parameter(start, requires_grad=part.learn_itc_tau)
        pairs = size.pairs if part.gsrc else 0
        shape = (pairs, encoder.spec.spaces["text"].dim)
        kind = torch.float16 if part.memory == "fp16" else torch.float32
        self.image_bank: Tensor
        self.text_bank: Tensor
        self.filled: Tensor
        self.identity_of: Tensor
        self.image_of: Tensor
        self.counts: Tensor
        self.register_buffer("image_bank", torch.zeros(shape, dtype=kind))
        self.register_buffer("text_bank", torch.zeros(shape, dtype=kind))
        self.register_buffer("filled", torch.zeros(pairs, dtype=torch.bool))
        self.register_buffer("identity_of", torch.zeros(pairs, dtype=torch.int64))
        self.register_buffer("image_of", torch.zeros(pairs, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(len(_COUNTS), dtype=torch.float64))

    @classmethod
    def ablation(cls, recipe: Recipe) -> tuple[Row, ...]:
        """The paper's table 4, cumulative; beside it the baseline given the views and the passes that the whole has."""
        off = ("dgcmia.lrc=false", "dgcmia.gsrc=false", "dgcmia.iasc=false")
        twice = (f"schedule.epochs={2 * recipe.schedule.epochs}",)
        augmented = ("dgcmia.base_view=augmented",)
        rows = [Row("baseline", off), Row("+LRC", off[1:]), Row("+GSRC-FR", off[2:]), Row("+IASC-CL")]
        if recipe.dgcmia.base_view == "plain":
            rows.append(Row("baseline, augmented", off + augmented))
        return (*rows, Row("baseline, augmented, twice the steps", off + augmented + twice, equal_budget=False))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        part, epoch = self.part, batch.epoch
        images, texts = self._encode(self._base_view(batch), batch.token_ids)
        varied = self._vary(batch) if part.iasc and epoch >= part.iasc_from_epoch else None
        known = Known(gather(batch.pairs), gather(batch.images), gather(batch.identities))
        terms: dict[str, Tensor] = {}
        # Thresholds and top-k need more digits than bf16 has.
        with torch.autocast(images.device.type, enabled=False):
            terms["itc"] = self._contrast(images, texts)
            mined = mined_relations(images, texts, part.image_threshold, part.text_threshold)
            if part.lrc and epoch >= part.lrc_from_epoch:
                terms["lrc"] = relation_loss(images, texts, soft_targets(mined, part.softening), part.tau, part.eps)
            found = self._search(images, known.pairs) if part.gsrc and epoch >= part.gsrc_from_epoch else None
            if found:
                terms["gsrc"] = self._associate(images, texts, known.pairs, found)
            if varied:
                again = mined_relations(*varied, part.image_threshold, part.text_threshold)
                terms["iasc"] = relation_loss(*varied, soft_targets(again, part.softening), part.tau, part.eps)
        if self.training:
            if part.gsrc:
                self._remember(images, texts, known.pairs)
            self._count(known, mined, found)
        return terms

    def measurements(self) -> dict[str, float]:
        """Relations mined in this epoch and the share of them that is right by the true identities.

        `local_*` within batches (without the diagonal), `global_*` from the bank, `global_new_*` of those the ones
        between different images: the captions of one image know of each other. A share is left out where nothing was
        mined.
        """
        counts = dict(zip(_COUNTS, self.counts.tolist(), strict=True))
        self.counts.zero_()
        told = {f"{name}_relations": counts[f"{name}_mined"] for name in ("local", "global")}
        told["global_new_relations"] = counts["global_new"]
        shares = {
            "local_accuracy": ("local_right", "local_mined"),
            "local_recall": ("local_right", "local_true"),
            "global_accuracy": ("global_right", "global_mined"),
            "global_new_accuracy": ("global_new_right", "global_new"),
        }
        return told | {
            name: round(counts[part] / counts[whole], 4) for name, (part, whole) in shares.items() if counts[whole]
        }

    def _base_view(self, batch: Batch) -> Tensor:
        if self.part.base_view == "augmented":
            return batch.pixels
        if batch.plain is None:
            raise ValueError("DGCMIA needs the images without augmentation beside the augmented ones")
        return batch.plain

    def _encode(self, pixels: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        images = self.encoder.encode_image(pixels)[self.encoder.spec.stored("text")]
        return gather(images.float()), gather(self.encoder.encode_text(token_ids).float())

    def _vary(self, batch: Batch) -> tuple[Tensor, Tensor]:
        part = self.part
        hidden = mask_words(batch.token_ids, self.encoder.tokenizer, part.mask, always_first=part.always_mask_first)
        return self._encode(batch.pixels, hidden)

    def _contrast(self, images: Tensor, texts: Tensor) -> Tensor:
        scale = self.log_scale.exp()
        if self.part.learn_itc_tau:
            scale = scale.clamp(max=_LARGEST_SCALE)
        mean = infonce(images, texts, scale)
        return 2 * mean if self.part.itc_reduction == "sum" else mean

    def _search(self, images: Tensor, own: Tensor) -> Candidates:
        return find_candidates(
            images,
            self.image_bank,
            self.filled,
            own,
            top_k=self.part.top_k,
            threshold=self.part.memory_threshold,
        )

    def _associate(self, images: Tensor, texts: Tensor, own: Tensor, found: Candidates) -> Tensor:
        added, column = columns(own, found, self.part.duplicates)
        return association_loss(
            images,
            texts,
            self.image_bank[added],
            self.text_bank[added],
            association_targets(found, column, len(own) + len(added)),
            tau=self.part.tau,
            eps=self.part.eps,
            rows=self.part.global_rows,
        )

    @torch.no_grad()
    def _remember(self, images: Tensor, texts: Tensor, pairs: Tensor) -> None:
        for bank, features in ((self.image_bank, images), (self.text_bank, texts)):
            update_bank(bank, self.filled, pairs, features, self.part.alpha)
        self.filled[pairs] = True

    @torch.no_grad()
    def _count(self, known: "Known", mined: Tensor, found: Candidates | None) -> None:
        same = known.identities[:, None] == known.identities
        other = ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        tallies = [mined & other, mined & other & same, same & other]
        if found:
            right = self.identity_of[found.pairs] == known.identities[:, None]
            new = found.mined & (self.image_of[found.pairs] != known.images[:, None])
            tallies += [found.mined, found.mined & right, new, new & right]
        for place, tally in enumerate(tallies):
            self.counts[place] += tally.sum()
        if self.part.gsrc:
            self.identity_of[known.pairs], self.image_of[known.pairs] = known.identities, known.images


@dataclass(frozen=True, slots=True)
class Known:
    """Numbers of the whole batch, each (B,) int64, as in `Batch`."""

    pairs: Tensor
    images: Tensor
    identities: Tensor
