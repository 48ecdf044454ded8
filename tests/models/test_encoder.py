import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from models.clip_baseline import ClipBaseline, compact_spec
from models.encoder import EncoderSpec, Space, SpaceSpec
from models.preprocessing import Preprocessing


@pytest.fixture(scope="module")
def spec() -> EncoderSpec:
    return compact_spec(("red", "blue", "man"), height=32, width=16, image_width=4, text_width=8, dim=16)


def test_spec_survives_json(spec: EncoderSpec) -> None:
    assert EncoderSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_one_vector_serves_both_spaces(spec: EncoderSpec) -> None:
    assert spec.stored("image") == spec.stored("text") == "text"
    assert spec.stored_spaces == ("text",)
    two = replace(spec, spaces={"text": SpaceSpec(16, "text"), "image": SpaceSpec(8, "image")})
    assert two.stored_spaces == ("text", "image")
    assert two.stored("image") == "image"


@pytest.mark.parametrize(
    "spaces",
    [
        {"text": SpaceSpec(16, "text")},
        {"text": SpaceSpec(16, "text"), "image": SpaceSpec(8, "text")},
        {"text": SpaceSpec(16, "image"), "image": SpaceSpec(16, "text")},
    ],
)
def test_spaces_that_contradict_each_other_are_refused(spec: EncoderSpec, spaces: dict[Space, SpaceSpec]) -> None:
    with pytest.raises(ValueError, match="space"):
        replace(spec, spaces=spaces)


def test_another_spec_format_is_refused(spec: EncoderSpec) -> None:
    with pytest.raises(ValueError, match="format"):
        EncoderSpec.from_dict(spec.to_dict() | {"format": 99})


def test_embeddings_have_length_one_and_the_dimension_of_the_spec(spec: EncoderSpec) -> None:
    torch.manual_seed(0)
    encoder = ClipBaseline(spec).eval()
    texts = encoder.encode_text(encoder.tokenize(["red man", "blue", "", "nonsense"]).ids)
    pictures = [Image.new("RGB", (40, 90), colour) for colour in ("red", "blue")]
    images = encoder.encode_image(encoder.normalise(torch.stack([encoder.preprocess(p) for p in pictures])))["text"]
    assert texts.shape == (4, 16)
    assert images.shape == (2, 16)
    torch.testing.assert_close(torch.cat([texts, images]).norm(dim=1), torch.ones(6))


def test_padding_does_not_change_a_text(spec: EncoderSpec) -> None:
    torch.manual_seed(0)
    encoder = ClipBaseline(spec).eval()
    alone = encoder.encode_text(encoder.tokenize(["red man"]).ids)
    padded = encoder.encode_text(encoder.tokenize(["red man", "red blue man red blue"]).ids)
    torch.testing.assert_close(alone[0], padded[0])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK", "P", "1"])
def test_preprocessing_takes_pictures_of_any_mode(mode: str) -> None:
    pixels = Preprocessing(20, 10, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).resize(Image.new(mode, (33, 7)))
    assert pixels.shape == (3, 20, 10)
    assert pixels.dtype == torch.uint8


def test_normalise_takes_bytes_and_fractions_alike() -> None:
    pre = Preprocessing(4, 4, (0.5, 0.4, 0.3), (0.25, 0.2, 0.1))
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8))
    expected = (pixels / 255 - torch.tensor(pre.mean).view(3, 1, 1)) / torch.tensor(pre.std).view(3, 1, 1)
    torch.testing.assert_close(pre.normalise(pixels), expected)
    torch.testing.assert_close(pre.normalise(pixels / 255), expected)


@pytest.mark.parametrize("wrong", [{"height": 0}, {"std": (0.0, 1.0, 1.0)}, {"interpolation": "nearest"}])
def test_preprocessing_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"height": 4, "width": 4, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    with pytest.raises(ValueError, match=r"size|std|interpolation"):
        Preprocessing(**(good | wrong))  # type: ignore[arg-type]
