"""A recipe: everything that decides a training run, in one typed record, read from YAML."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import RecipeError
from training.recipes.augmentation import Augmentation
from training.recipes.fields import told
from training.recipes.method_parts import BdamPart, DgcmiaPart, HkgrPart, HplPart, LgurPart

RECIPES = Path(__file__).parent / "recipes"

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PicturesPart(_Part):
    """A second data set, of pictures that nobody described, for methods that train on both (HPL)."""

    format: str = "market1501"
    """On-disk format, one of `training.datasets.formats()`."""
    root: Path
    """Its folder."""
    batch: Annotated[int, Field(ge=4)] = 64
    """Pictures in a step beside the pairs, over all processes and micro-batches together."""
    each: Annotated[int, Field(ge=2)] = 4
    """Of which so many show the same person, side by side; someone with fewer repeats."""

    @property
    def identities(self) -> int:
        """Different people in a step."""
        return self.batch // self.each

    @model_validator(mode="after")
    def _divides(self) -> "PicturesPart":
        if self.batch % self.each or self.identities < 2:
            raise ValueError(f"batch {self.batch} must be {self.each} pictures of each of two people at least")
        return self


class DataPart(_Part):
    """Which data set, and which part of it chooses the best epoch."""

    format: str = "cuhk_pedes"
    """On-disk format, one of `training.datasets.formats()`."""
    root: Path
    """Its folder; a relative one is taken from where the command runs."""
    select_on: Literal["val", "test"] = "val"
    """Split that chooses the best epoch. Published codes choose on test: ask for it only to compare with them."""
    carve: Share = 0.05
    """Share of the train identities that becomes val where the data set has no val split."""
    drop_single_image_ids: bool = False
    """cuhk_pedes: leave out of train the three ids that LGUR leaves out. For comparison with it only."""
    pictures: PicturesPart | None = None
    """An image-image set to train on as well."""


class EncoderPart(_Part):
    """Which network, at which input size."""

    start: Path | None = None
    """Folder of a checkpoint to go on from: the run begins with its weights, and takes network, size and vocabulary
    from it, so that the other fields of this section say nothing then. Words that it does not know are added to
    `compact`, by the rules of `vocabulary` and `word_minimum`."""
    towers: Path | None = None
    """Folder of a checkpoint on `compact`, of any method, whose towers and vocabulary the run begins with; the network
    is this section's, and what is not in those towers begins fresh (`training.networks.start.take_towers`). Words
    that they do not know are added. What `pretrained` is for networks that others publish."""
    backbone: str = "compact"
    """"compact"; an open_clip model such as ViT-B-16-quickgelu; for LGUR compact, deit-small+bert or resnet50+bert; for
    BDAM compact or vit-base+bert."""
    height: Annotated[int, Field(ge=16)] = 96
    width: Annotated[int, Field(ge=16)] = 48
    pretrained: str | None = None
    """For open_clip: a tag such as "openai" (downloaded), or a local .safetensors file. For DeiT and ResNet: a local
    .safetensors file; for BDAM's ViT: a folder as Hugging Face publishes it. None trains from scratch."""
    text_pretrained: Path | None = None
    """For BERT: a folder with model.safetensors and vocab.txt as published. None: random, frozen, with word pieces of
    its own from the train split."""
    length: Annotated[int, Field(ge=2)] = 64
    """Words (compact) or word pieces (BERT) kept of a description."""
    vocabulary: Annotated[int, Field(ge=1)] = 4000
    """compact: words known at most, the most frequent of the train split; BERT without weights: word pieces."""
    word_minimum: Annotated[int, Field(ge=1)] = 2
    """Occurrences from which on a word, or a word piece of a BERT without weights, is known."""
    options: dict[str, int | float] = {}
    """Arguments of `CompactBackbone`, for instance dim; for LGUR, HKGR and BDAM those that `models.lgur`,
    `models.hkgr` and `models.bdam` name."""

    @model_validator(mode="after")
    def _begins_once(self) -> "EncoderPart":
        if self.towers is not None and self.start is not None:
            raise ValueError("give start, which takes the whole network, or towers, not both")
        if self.towers is not None and self.backbone != "compact":
            raise ValueError("towers are those of compact; weights for other backbones are named in pretrained")
        return self


class LossPart(_Part):
    """Weights of the baseline's losses; 0 leaves one out."""

    infonce: Annotated[float, Field(ge=0)] = 1.0
    sdm: Annotated[float, Field(ge=0)] = 0.0
    sdm_from_epoch: Annotated[int, Field(ge=0)] = 0
    """First epoch (from 0) in which SDM counts. From scratch, SDM from the first step hurts."""
    identity_positives: bool = False
    """InfoNCE: pairs of one identity in a batch are positives of each other."""
    tau: Positive = 0.02
    """Temperature of SDM, and where InfoNCE's temperature starts."""
    learn_tau: bool = True
    """InfoNCE's temperature is a parameter (CLIP); IRRA keeps it fixed."""


class GroupPart(_Part):
    """A rule for the parameters whose name matches; what it leaves out stays as it was."""

    match: Annotated[str, Field(min_length=1)]
    """Regular expression, searched anywhere in the parameter's name ("bias", "classifier|mlm_head")."""
    lr: Positive | None = None
    """Learning rate; give this or `lr_factor`."""
    lr_factor: Positive | None = None
    """Times the optimiser's `lr`, whatever an earlier rule made of it."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "GroupPart":
        try:
            re.compile(self.match)
        except re.error as error:
            raise ValueError(f"{self.match!r} is not a regular expression: {error}") from error
        if self.lr is not None and self.lr_factor is not None:
            raise ValueError("give lr or lr_factor, not both")
        if self.lr is None and self.lr_factor is None and self.weight_decay is None:
            raise ValueError("give lr, lr_factor or weight_decay")
        return self


class OptimiserPart(_Part):
    """Adam couples weight decay with the gradient (IRRA's choice), AdamW does not.

    IRRA's table (methods.md 1.5) reads: name adam, lr 1e-5, weight_decay 4e-5, betas [0.9, 0.999], eps 1e-3, clip 0,
    decay_vectors true, groups [{match: cross, lr_factor: 5}, {match: bias, lr_factor: 2, weight_decay: 0},
    {match: "classifier|mlm_head", lr_factor: 5}].
    """

    name: Literal["adam", "adamw"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    betas: tuple[Share, Share] = (0.9, 0.98)
    eps: Positive = 1e-8
    """Parity with codes that trained in pure fp16 weights needs 1e-3: it bounds the step of a small gradient."""
    bias_lr: Positive = 1.0
    """Factor on the learning rate of biases."""
    decay_vectors: bool = False
    """Whether biases, norms and other vectors take weight decay, before `groups` says otherwise."""
    groups: tuple[GroupPart, ...] = ()
    """Rules applied in this order, later ones win; one that matches no parameter is refused."""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of the gradient; 0 does not clip."""


class SchedulePart(_Part):
    """A factor on every group's learning rate: linear warm-up, then `shape`. Times are in epochs.

    IRRA: cosine, per epoch, warmup 5, warmup_from 0.1. LGUR: steps, per epoch, warmup 0, milestones [20, 40, 50].
    HPL stage I: exponential, per epoch, warmup 0, gamma 0.8.
    """

    epochs: Annotated[int, Field(ge=1)] = 30
    shape: Literal["cosine", "constant", "steps", "exponential"] = "cosine"
    """cosine: half a cosine down to `floor`; steps: times `gamma` at each milestone; exponential: times `gamma` an
    epoch, counted from the end of the warm-up."""
    per: Literal["step", "epoch"] = "step"
    """Whether the factor moves with every step or stays within an epoch."""
    warmup: Annotated[float, Field(ge=0)] = 1.0
    """Epochs of warm-up."""
    warmup_from: Share = 0.1
    """Factor on the learning rate at the first step."""
    floor: Share = 0.0
    """cosine: factor on the learning rate at the end."""
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """steps: epochs, from the start of the run."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _fits_its_shape(self) -> "SchedulePart":
        if (self.shape == "steps") != bool(self.milestones):
            raise ValueError("milestones belong to shape steps, which needs some")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, got {list(self.milestones)}")
        return self


class SamplerPart(_Part):
    """How an epoch becomes batches: all pairs shuffled, or `identities` x `pairs` (PK, for triplet losses)."""

    name: Literal["shuffle", "identity"] = "shuffle"
    identities: Annotated[int, Field(ge=2)] = 16
    """identity: different people in a batch."""
    pairs: Annotated[int, Field(ge=1)] = 4
    """identity: pairs of each; someone with fewer repeats."""


MAIN = "main"
"""The last stage of every run; the only one, unless the recipe names others before it."""


class StagePart(_Part):
    """A stage before the main one, with a fresh optimiser; what it trains is the method's affair."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    """One that the method knows."""
    optimiser: OptimiserPart = OptimiserPart()
    schedule: SchedulePart = SchedulePart()
    """Its epochs, and the learning rate within them, counted from the stage's first step."""
    evaluate: bool = False
    """Whether its epochs are evaluated, so that one of them may leave the best checkpoint."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a run: epochs `first` up to `end` (without it), from 0 over the whole run."""

    name: str
    first: int
    optimiser: OptimiserPart
    schedule: SchedulePart
    evaluate: bool = True

    @property
    def end(self) -> int:
        """The epoch after its last."""
        return self.first + self.schedule.epochs


class Recipe(_Part):
    """A whole run. `load_recipe` reads one; `python -m training train` runs it."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$")]
    """Names the run's folder."""
    method: Literal["clip_baseline", "dgcmia", "hkgr", "hpl", "lgur", "bdam"] = "clip_baseline"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataPart
    encoder: EncoderPart = EncoderPart()
    loss: LossPart = LossPart()
    dgcmia: DgcmiaPart = DgcmiaPart()
    hkgr: HkgrPart = HkgrPart()
    hpl: HplPart = HplPart()
    lgur: LgurPart = LgurPart()
    bdam: BdamPart = BdamPart()
    augmentation: Augmentation = Augmentation()
    optimiser: OptimiserPart = OptimiserPart()
    schedule: SchedulePart = SchedulePart()
    before: tuple[StagePart, ...] = ()
    """Stages before the main one, in this order; `optimiser` and `schedule` are the main one's."""
    sampler: SamplerPart = SamplerPart()
    batch: Annotated[int, Field(ge=2)] = 128
    """Image-text pairs in a step, over all processes and micro-batches together."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Micro-batches whose gradients are averaged into a step, to save memory. The loss is the mean over micro-batches:
    a contrastive one compares within a micro-batch only, so this is not the loss of the whole batch (and batch norms
    count a micro-batch). More processes do give the whole batch's loss."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: bf16 where the processor or GPU multiplies in it, else fp32. Weights stay fp32; fp16 scales the loss and
    needs a GPU."""
    average: Share = 0.0
    """Decay per step of the moving average of the weights, which is what is evaluated and saved; 0 for none."""
    evaluate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between evaluations on `select_on`."""
    save_every: Annotated[int, Field(ge=1)] = 500
    """Steps between the states that a killed run resumes from."""
    stored: Literal["fp16", "fp32"] = "fp32"
    """Storage type of the final checkpoint."""

    @model_validator(mode="after")
    def _divides(self) -> "Recipe":
        if self.batch % self.accumulate or self.batch < 2 * self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} must cut batch {self.batch} evenly, into 2 pairs at least")
        if self.sampler.name == "identity":
            people, each = self.sampler.identities, self.sampler.pairs
            if people * each != self.batch:
                raise ValueError(f"sampler: {people} identities x {each} pairs are not the batch of {self.batch}")
            if people % self.accumulate:
                raise ValueError(f"accumulate {self.accumulate} would cut an identity: {people} in a batch")
        if (pictures := self.data.pictures) and pictures.identities % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} would cut an identity of data.pictures")
        return self

    @model_validator(mode="after")
    def _tells_stages_apart(self) -> "Recipe":
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError(f"stages need different names, and the last one is called {MAIN}: {', '.join(names)}")
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in order, the main one last."""
        found: list[Stage] = []
        for part in self.before:
            found.append(Stage(part.name, self._end(found), part.optimiser, part.schedule, part.evaluate))
        return (*found, Stage(MAIN, self._end(found), self.optimiser, self.schedule))

    @property
    def epochs(self) -> int:
        """Of all stages together."""
        return self.stages[-1].end

    @staticmethod
    def _end(stages: Sequence[Stage]) -> int:
        return stages[-1].end if stages else 0


def load_recipe(
    name: str, overrides: Sequence[str] = (), *, data: Path | None = None, start: Path | None = None
) -> Recipe:
    """Read a recipe.

    Args:
        name: a YAML file, or the name of a shipped one (without .yaml).
        overrides: "section.field=value" with a YAML value, e.g. "optimiser.lr=0.001".
        data: replaces data.root.
        start: replaces encoder.start.

    Raises:
        RecipeError: no such recipe, bad YAML, an unknown field or a value out of range.
    """
    path = Path(name)
    if not path.is_file():
        path = RECIPES / f"{name}.yaml"
    if not path.is_file():
        shipped = ", ".join(sorted(recipe.stem for recipe in RECIPES.glob("*.yaml")))
        raise RecipeError(f"no recipe {name!r}: neither a file nor one of the shipped recipes ({shipped})")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} must hold a mapping of fields")
    for override in overrides:
        _override(content, override)
    if data is not None:
        _override(content, "data.root=")
        content["data"]["root"] = str(data)
    if start is not None:
        _override(content, "encoder.start=")
        content["encoder"]["start"] = str(start)
    return read_recipe(content, where=str(path))


def read_recipe(content: Mapping[str, Any], *, where: str) -> Recipe:
    """Check a mapping; errors name `where` and each field.

    Raises:
        RecipeError: an unknown field or a value out of range.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"{where}: {told(error, Recipe)}") from error


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, every field spelled out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def _override(content: dict[str, Any], override: str) -> None:
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise RecipeError(f"override {override!r} must read section.field=value")
    *sections, last = name.split(".")
    target = content
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise RecipeError(f"override {override!r}: {section} is not a section")
    try:
        target[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"override {override!r}: the value is not valid YAML") from error
