"""What recipes say to single methods: one typed section for each."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Epoch = Annotated[int, Field(ge=0)]

DGCMIA_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "itc_reduction": "sum",
        "duplicates": "merge",
        "global_rows": "paper",
        "always_mask_first": False,
        "memory": "fp32",
    },
    "released_code": {
        "itc_reduction": "mean",
        "duplicates": "keep",
        "global_rows": "all",
        "always_mask_first": True,
        "memory": "fp16",
    },
}
"""Where the paper's text and the authors' code part (methods.md 5). What they share is the fields' defaults."""


class MethodPart(BaseModel):
    """The section of one method."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LgurPart(MethodPart):
    """LGUR (methods.md 4). The switches are the rows of the paper's ablation."""

    margin: Annotated[float, Field(gt=0, lt=2)] = 0.3
    """alpha of the ranking loss."""
    dictionary: bool = True
    """Rebuild features from the shared dictionary (DGA)."""
    foreground: bool = True
    """DGA: weigh image features by the foreground mask."""
    guidance: bool = True
    """DGA: rebuild image features from their own description too, in training."""
    prototypes: bool = True
    """Read features by prototypes (PGU); without them their maximum is read."""


class HkgrPart(MethodPart):
    """HKGR (methods.md 6). The switches are the rows of its ablation."""

    align: Literal["sdm", "infonce"] = "sdm"
    """Loss of both grains. From scratch SDM keeps whatever wrong match it finds first; InfoNCE with pairs of one
    identity as positives of each other does not."""
    tau: Positive = 0.02
    """Temperature of the alignment, fixed under sdm."""
    learn_tau: bool = True
    """infonce: each grain's temperature is a parameter that starts at `tau`."""
    fine: bool = True
    """Align, and search by, the embedding of selected tokens beside the global feature (MGA)."""
    mlm: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the hidden words; 0 leaves the language head out."""
    levels: Annotated[tuple[Literal["random", "object", "attribute", "relation"], ...], Field(min_length=1)] = (
        "object",
        "attribute",
        "relation",
    )
    """What is hidden. One level: that one. Several: each description draws evenly among random and them."""
    mask_ratio: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Share of a level's phrases that is picked, rounded up."""
    match: Literal["span", "idset"] = "span"
    """span: a phrase is hidden where it stands. idset: every word of it is, all over the description, as in the
    released code."""
    determiners: bool = True
    """Whether articles and numbers are attributes, as in HKGR's figure."""
    text_aug: Literal["mask15", "none"] = "mask15"
    """What the alignment sees: with 15 % of the words masked, as the released code, or the description as it is."""
    identity: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the identity classifier, which HKGR has for ICFG-PEDES and RSTPReid."""
    depth: Annotated[int, Field(ge=0)] = 4
    """Layers of the cross-modal encoder."""
    heads: Annotated[int, Field(ge=0)] = 0
    """Its heads; 0: one for each 64 dimensions."""
    parsed: Path | None = None
    """File of parsed captions (`python -m training parse`), a row for each training pair. None: parse by rule."""
    parsed_subset: bool = False
    """Whether that file may be of more descriptions than are trained on; rows are then found by caption."""


class HplPart(MethodPart):
    """HPL (Zhou et al., arXiv 2511.13575); defaults of methods.md 7, whose points are meant."""

    trt: bool = True
    """A second class token, whose output is the image space's vector (TRT); off, one vector serves both tasks."""
    ilpa: bool = True
    """Align features with the prompts of the other modality, eq 10."""
    cic: bool = True
    """Tell identities apart by their prototypes, eq 11."""
    cmpr: bool = True
    """Draw both modalities' pseudo-words together, eq 12."""
    tau: Positive = 0.02
    """Temperature of sim in eqs 8, 9 and 11 (point 3), and of SDM."""
    base_tau: Positive = 0.05
    """Temperature of InfoNCE in a stage `base`."""
    id_tokens: Annotated[int, Field(ge=1)] = 4
    """Learned words of each identity (point 2)."""
    pseudo_tokens: Annotated[int, Field(ge=1)] = 4
    """m: words that an inversion net makes of a picture or description (point 2)."""
    depth: Annotated[int, Field(ge=1)] = 4
    """N_I: blocks of an inversion net."""
    heads: Annotated[int, Field(ge=1)] = 8
    """Of its attention."""
    margin: Positive = 0.3
    """Of the triplet loss."""
    triplet_on: Literal["raw", "unit"] = "raw"
    """Whether its distances are between features as they are (Luo 2019), or of unit length."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing in eq 11 (point 8)."""
    ilpa_weight: Positive = 0.4
    """Of eq 10 within eq 14."""
    cmpr_weight: Positive = 0.06
    """Of eq 12 within eq 14."""
    cmpr_reduction: Literal["frobenius", "mean"] = "frobenius"
    """Eq 12 as printed, or per element (point 5)."""

    @property
    def prompted(self) -> bool:
        """Whether anything is learned from prompts."""
        return self.ilpa or self.cic or self.cmpr


class DgcmiaPart(MethodPart):
    """DGCMIA (Zhang, Shang and Li, ACM MM 2025); equation numbers are the paper's, defaults of methods.md 5."""

    preset: Literal["paper", "released_code"] = "paper"
    """Fills the fields that are not given and on which paper and released code differ: see `DGCMIA_PRESETS`."""
    lrc: bool = True
    """Local relationships, eqs 3-10."""
    gsrc: bool = True
    """Global relationships through memory banks, eqs 11-18 (GSRC-FR)."""
    iasc: bool = True
    """Information-asymmetric pairs, eqs 19-21 (IASC-CL); they cost a second pass of both towers."""
    lrc_from_epoch: Epoch = 0
    """First epoch (from 0) in which the local term counts. From scratch there is nothing to mine at first."""
    gsrc_from_epoch: Annotated[int, Field(ge=1)] = 1
    """The same for the global term, at least 1: in epoch 0 the banks fill."""
    iasc_from_epoch: Epoch = 0
    """The same for the asymmetric term."""
    base_view: Literal["plain", "augmented"] = "plain"
    """Images of eqs 1-18. The paper augments those of eq 21 alone; from scratch the base wants augmentation too."""
    itc_reduction: Literal["sum", "mean"] = "sum"
    """Both directions of eq 2."""
    tau: Positive = 0.02
    """Temperature of every term."""
    itc_tau: Positive | None = None
    """Temperature of the contrastive term of eq 1 where it is to differ from `tau`."""
    learn_itc_tau: bool = False
    """The contrastive term's temperature is a parameter that starts there (as CLIP's), not a constant."""
    eps: Positive = 1e-6
    """Added within the logarithms of eqs 9 and 17."""
    softening: Share = 0.1
    """lambda of eq 5."""
    image_threshold: Cosine = 0.7
    """Eq 3, images. It fits CLIP's features; other networks spread their cosines differently."""
    text_threshold: Cosine = 0.7
    """Eq 3, texts."""
    memory_threshold: Cosine = 0.7
    """Eq 12."""
    top_k: Annotated[int, Field(ge=1)] = 3
    """Candidates of each anchor, before the threshold (eq 12)."""
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of the new feature in a memory bank (eq 11)."""
    memory: Literal["fp32", "fp16"] = "fp32"
    """How the memory banks are stored."""
    duplicates: Literal["merge", "keep"] = "merge"
    """Whether an entry that several anchors mined is one column, a positive of each, or several (eq 13)."""
    global_rows: Literal["paper", "all"] = "paper"
    """Whether memory entries are anchors too (eq 17)."""
    mask: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability with which each word of the asymmetric text is hidden (eq 20)."""
    always_mask_first: bool = False
    """Hide each text's first word in any case, as the released code does by oversight."""

    @model_validator(mode="before")
    @classmethod
    def _take_preset(cls, given: Any) -> Any:  # noqa: ANN401  whatever the YAML holds
        if not isinstance(given, dict):
            return given
        return {**DGCMIA_PRESETS.get(str(given.get("preset", "paper")), {}), **given}


class BdamPart(MethodPart):
    """BDAM with Mamba fusion (seed 002; methods.md 8). Equation numbers are the paper's.

    Most of what the paper needs it does not say: fields without an equation are INFERENCE.
    """

    descriptions: Path | None = None
    """File of identity and clothing descriptions (`training.captioning`); None splits each caption by rules."""
    identity_text: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability with which a model's identity description replaces the caption in InfoNCE. Rules' never do."""
    infonce: bool = True
    """Eq 3, on the indexed vectors."""
    triplet: bool = True
    """Eq 4; needs several pairs of an identity in a batch (`sampler`)."""
    adversarial: bool = True
    """Eq 1, or what `adv` makes of it."""
    decouple: bool = True
    """Eq 2, HSIC."""
    tau: Positive = 0.02
    """Temperature of InfoNCE and of the adversarial term."""
    learn_tau: bool = False
    """InfoNCE's temperature is a parameter that starts there, not a constant."""
    identity_positives: bool = True
    """Pairs of one identity in a batch are positives of each other ("same identity", section 3.5)."""
    margin: Annotated[float, Field(gt=0, lt=4)] = 0.3
    """m of eq 4, of squared distances between unit vectors."""
    triplet_on: Literal["fused", "image"] = "fused"
    """Features of eq 4: image and identity text fused (f_final), or the vector that is indexed."""
    adv: Literal["literal", "grl"] = "literal"
    """literal: eq 1. grl: clothing features match their text, identity features unlearn it (section 4.3)."""
    gate_weight: Annotated[float, Field(ge=0)] = 0.01
    """Weight of the gate regulariser, which GradNorm leaves alone; 0 leaves it out."""
    gradnorm: bool = True
    """Eqs 5 and 6; without it all tasks have weight 1."""
    alpha: Positive = 1.5
    alpha_role: Literal["weight", "exponent"] = "weight"
    """What alpha is: the weight of L_GradNorm (as printed), or the exponent of the loss ratios (Chen et al. 2018)."""
    weight_lr: Positive = 0.025
    """Learning rate of the task weights."""
    weight_penalty: Annotated[float, Field(ge=0)] = 1e-3
    """lambda of eq 6."""
    weight_warm: Annotated[int, Field(ge=1)] = 50
    """Iterations whose mean loss is L^0; the weights are 1 until then."""
    weight_every: Annotated[int, Field(ge=1)] = 1
    """The weights move in every n-th iteration, which alone counts for them. Each costs a backward pass a task."""

    @model_validator(mode="after")
    def _trains_something(self) -> "BdamPart":
        if not (self.infonce or self.triplet or self.adversarial or self.decouple):
            raise ValueError("bdam: turn on infonce, triplet, adversarial or decouple")
        return self
