"""A score divided among the places of a picture."""

import threading

import pytest
import torch
from torch import Tensor

from models.bdam import bdam_spec
from models.clip_baseline import compact_spec, open_clip_spec
from models.encoder import EncoderSpec, PersonEncoder
from models.heat import NotExplainableError, heat
from models.hkgr import hkgr_spec
from models.hpl import hpl_clip_spec, hpl_compact_spec
from models.lgur import lgur_spec
from models.registry import build
from models.tokenizers import TokenizerSpec
from tests.app.toy import ToyEncoder, toy_spec

WORDS = ("a", "red", "blue", "coat", "hat")
SMALL = {"dim": 32, "image_width": 8, "text_width": 16}
TINY = "ViT-B-32-quickgelu"


def ready(spec: EncoderSpec) -> PersonEncoder:
    torch.manual_seed(0)
    return build(spec).eval().requires_grad_(False)


def picture(encoder: PersonEncoder, seed: int = 1) -> Tensor:
    pre = encoder.spec.preprocessing
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, pre.height, pre.width), dtype=torch.uint8, generator=generator)


def specs() -> dict[str, EncoderSpec]:
    tokenizer = TokenizerSpec("words", 16, WORDS)
    parts = {"heads": 2, "head_dim": 16, "hidden": 32}
    return {
        "clip_baseline": compact_spec(WORDS, height=48, width=24, length=16, **SMALL),
        "hkgr": hkgr_spec("compact", tokenizer, height=48, width=24, options={**SMALL, "fine_dim": 16}),
        "hpl": hpl_compact_spec(WORDS, height=48, width=24, length=16, options=SMALL),
        "lgur": lgur_spec("compact", tokenizer, height=48, width=24, options={**SMALL, "heads": 2, "part": 16}),
        "bdam": bdam_spec("compact", tokenizer, height=48, width=24, options={**SMALL, **parts, "depth": 1}),
    }


@pytest.mark.parametrize("method", sorted(specs()))
def test_every_method_on_compact_has_heat(method: str) -> None:
    encoder = ready(specs()[method])
    pixels = picture(encoder)
    direction = encoder.encode_text(encoder.tokenize(["a red coat"]).ids)[0]
    before = encoder.encode_image(encoder.normalise(pixels[None]))["text"]
    found = heat(encoder, pixels, direction)
    assert found.values.shape == (12, 6)
    assert found.values.dtype == torch.float32
    assert found.values.isfinite().all()
    assert found.values.std() > 0
    assert torch.allclose(found.vector, before[0], atol=1e-5)
    assert torch.equal(encoder.encode_image(encoder.normalise(pixels[None]))["text"], before)


@pytest.mark.parametrize("method", sorted(specs()))
def test_the_opposite_direction_has_the_opposite_heat(method: str) -> None:
    encoder = ready(specs()[method])
    pixels, direction = picture(encoder), torch.randn(encoder.spec.spaces["text"].dim)
    assert torch.allclose(heat(encoder, pixels, -direction).values, -heat(encoder, pixels, direction).values, atol=1e-6)


def test_heat_goes_along_with_a_mirrored_picture() -> None:
    encoder = ready(specs()["clip_baseline"])
    pixels, direction = picture(encoder), torch.randn(SMALL["dim"])
    mirrored = heat(encoder, pixels.flip(-1), direction).values
    assert torch.allclose(mirrored, heat(encoder, pixels, direction).values.flip(-1), atol=1e-5)


def test_shares_add_up_to_what_the_contents_change() -> None:
    """Completeness, eq 3 of the paper: exact for a network that is linear above the tap, near with these steps here."""
    encoder = ready(specs()["bdam"])
    pixels, direction = picture(encoder), torch.randn(encoder.spec.spaces["text"].dim)
    from models.taps import tapping

    def score(scale: float) -> float:
        batch = encoder.normalise(torch.stack([pixels, pixels.flip(-1)]))
        with tapping(lambda places, grid: places * scale):
            return float((encoder.encode_image(batch)["text"] @ direction).mean())

    change = score(1.0) - score(0.0)
    assert float(heat(encoder, pixels, direction).values.sum()) == pytest.approx(change, abs=0.15 * abs(change) + 0.02)


@pytest.mark.parametrize(
    "spec",
    [
        open_clip_spec(TINY, height=96, width=64),
        hpl_clip_spec(TINY, height=96, width=64),
        hkgr_spec(TINY, height=96, width=64, options={"fine_dim": 16}),
    ],
    ids=["clip_baseline", "hpl", "hkgr"],
)
def test_clip_has_heat_on_its_patches(spec: EncoderSpec) -> None:
    encoder = ready(spec)
    pixels = picture(encoder)
    direction = torch.randn(spec.spaces["text"].dim)
    untouched = encoder.encode_image(encoder.normalise(pixels[None]))["text"]
    found = heat(encoder, pixels, direction)
    assert found.values.shape == (3, 2)
    assert found.values.std() > 0
    assert torch.allclose(found.vector, untouched[0], atol=1e-5)


def test_a_tap_that_changes_nothing_changes_nothing() -> None:
    """The way by single blocks, which is taken under a tap, is open_clip's own."""
    from models.taps import tapping

    encoder = ready(open_clip_spec(TINY, height=96, width=64))
    batch = encoder.normalise(picture(encoder)[None])
    with tapping(lambda places, grid: places):
        tapped = encoder.encode_image(batch)["text"]
    assert torch.allclose(tapped, encoder.encode_image(batch)["text"], atol=1e-6)


def test_a_network_without_places_says_so() -> None:
    with pytest.raises(NotExplainableError, match="toy"):
        heat(ToyEncoder(toy_spec()), torch.zeros(3, 32, 16, dtype=torch.uint8), torch.ones(24))


def test_other_threads_encode_undisturbed() -> None:
    encoder = ready(specs()["clip_baseline"])
    batch, direction = encoder.normalise(picture(encoder)[None]), torch.randn(SMALL["dim"])
    expected, wrong, done = encoder.encode_image(batch)["text"], [], threading.Event()

    def encode() -> None:
        while not done.is_set():
            with torch.inference_mode():
                if not torch.allclose(encoder.encode_image(batch)["text"], expected, atol=1e-5):
                    wrong.append("another vector")

    other = threading.Thread(target=encode)
    other.start()
    for seed in range(10):
        heat(encoder, picture(encoder, seed), direction)
    done.set()
    other.join()
    assert wrong == []
