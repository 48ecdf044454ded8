"""The rows of BDAM's ablation: the paper's tables 1 to 3, and rows that decide between readings of it.

INFERENCE: tables 1 and 2 add one module each to the same baseline, which has the same figures in both, and table 3
takes losses from both modules together: so their figures fit (CUHK-PEDES R@1 70.5, 76.3 with one, 78.4 with the other,
79.9 with both). The baseline is InfoNCE alone; each module brings its losses. Table 4 compares styles of generated
texts: it is this method trained on different files (`--set bdam.descriptions=FILE`).
"""

from models.backbones.patches import COMPACT
from training.methods.base import Row
from training.recipe import Recipe

_NO_MODULE = ("encoder.options.decouple=0", "bdam.adversarial=false", "bdam.decouple=false")
_NO_FUSION = (
    "encoder.options.align=0",
    "encoder.options.fusion_gate=0",
    "encoder.options.mamba_layers=0",
    "encoder.options.mamba_norm=0",
    "bdam.triplet_on=image",
)
_NO_MAMBA = ("encoder.options.mamba_layers=0", "encoder.options.mamba_norm=0")
_ITC = (*_NO_MODULE, *_NO_FUSION, "bdam.triplet=false")


def rows(recipe: Recipe) -> tuple[Row, ...]:
    """The baseline first."""
    shallow = f"encoder.options.depth={max(1, int(recipe.encoder.options.get('depth', 6)) // 2)}"
    norms = bool(recipe.encoder.options.get("mamba_norm", True))
    modules = (
        Row("baseline", _ITC),
        Row("+BDAM", _NO_FUSION),
        Row("+BDAM w/o cross-attention", (*_NO_FUSION, "encoder.options.cross=0")),
        Row("+BDAM w/o gate", (*_NO_FUSION, "encoder.options.gate=0")),
        Row("+BDAM shallow", (*_NO_FUSION, shallow)),
        Row("+fusion", _NO_MODULE),
        Row("+fusion w/o Mamba", (*_NO_MODULE, *_NO_MAMBA)),
        Row("+fusion w/o gate", (*_NO_MODULE, "encoder.options.fusion_gate=0")),
        Row("+fusion w/o alignment", (*_NO_MODULE, "encoder.options.align=0")),
    )
    losses = (
        Row("full"),
        Row("full w/o InfoNCE", ("bdam.infonce=false",)),
        Row("full w/o triplet", ("bdam.triplet=false",)),
        Row("full w/o adversarial", ("bdam.adversarial=false",)),
        Row("full w/o decoupling", ("bdam.decouple=false",)),
        Row("full w/o gate regulariser", ("bdam.gate_weight=0",)),
    )
    readings = (
        Row("full, adversarial as in section 4.3", ("bdam.adv=grl",)),
        Row("full, alpha an exponent", ("bdam.alpha_role=exponent",)),
        Row("full w/o GradNorm", ("bdam.gradnorm=false",)),
        Row("full, triplet on the indexed vector", ("bdam.triplet_on=image",)),
        Row("full, two tokens", ("encoder.options.tokens=2",)),
        Row("full, gate regulariser of weight 1", ("bdam.gate_weight=1",)),
        Row(
            f"full, {'no' if norms else 'with'} norms between Mamba layers",
            (f"encoder.options.mamba_norm={int(not norms)}",),
        ),
        Row("InfoNCE alone on both modules", ("bdam.triplet=false", "bdam.adversarial=false", "bdam.decouple=false")),
        Row("baseline, pairs shuffled", (*_ITC, "sampler.name=shuffle")),
    )
    return (*modules, *losses, *readings, *_rivals(recipe))


def _rivals(recipe: Recipe) -> tuple[Row, ...]:
    """The baseline method on `compact` with its own pooling.

    The mean of the patches, which the paper's ablation leaves without the module, does not know what is above what; the
    rows of `compact` do, and so does the module's attention. A gain over the mean alone may be that.
    """
    if recipe.encoder.backbone != COMPACT:
        return ()
    names = ("dim", "image_width", "text_width", "text_kernel")
    kept = ", ".join(f"{name}: {value}" for name, value in recipe.encoder.options.items() if name in names)
    itc = (
        "method=clip_baseline",
        f"encoder.options={{{kept}}}",
        f"loss={{tau: {recipe.bdam.tau}, learn_tau: {str(recipe.bdam.learn_tau).lower()}, identity_positives: true}}",
    )
    shuffled = (*itc, "sampler.name=shuffle")
    return (Row("ITC on compact's rows", itc), Row("ITC on compact's rows, pairs shuffled", shuffled))
