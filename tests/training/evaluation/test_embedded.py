"""Image to image and text to image on miniature sets under an encoder that sees colours."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.encoder import PersonEncoder
from tests.app.toy import ToyEncoder, toy_spec
from tests.training.miniature import write_icfg, write_market
from training.datasets import read_dataset
from training.datasets.images import ImageSource
from training.errors import NothingRelevantError
from training.evaluation import Embedded, embed_split, measure_pictures
from training.records import Record


def embedded(encoder: PersonEncoder, records: tuple[Record, ...]) -> Embedded:
    source = ImageSource([record.path for record in records], encoder.spec.preprocessing)
    result = embed_split(encoder, records, source, batch=3)
    source.close()
    return result


def by_vectors(records: list[Record], vectors: list[list[float]]) -> Embedded:
    matrix = torch.tensor(vectors)
    return Embedded(tuple(records), matrix, matrix, Tensor(0, matrix.shape[1]), np.empty(0, dtype=np.int64), ())


def shot(identity: int, name: str, **fields: object) -> Record:
    return replace(Record(Path(name), identity, ()), **fields)  # type: ignore[arg-type]


def test_market_is_measured_by_its_roles_and_cameras(tmp_path: Path) -> None:
    data = read_dataset("market1501", write_market(tmp_path))
    found = embedded(ToyEncoder(toy_spec()), data.splits["test"])
    assert found.queries == ()
    assert found.texts.shape == (0, found.images.shape[1])
    metrics = found.measure_images()
    assert metrics.protocol == "image_to_image"
    assert (metrics.queries, metrics.skipped) == (3, 0)
    with pytest.raises(NothingRelevantError):
        found.measure()


def test_the_same_person_by_the_same_camera_is_removed() -> None:
    records = [
        shot(1, "q", camera="1", role="query"),
        shot(1, "near", camera="1", role="gallery"),  # would be first
        shot(2, "wrong", camera="1", role="gallery"),  # the same camera, another person: stays
        shot(1, "far", camera="2", role="gallery"),
        shot(3, "alone", camera="3", role="query"),
        shot(3, "alone2", camera="3", role="gallery"),
    ]
    vectors = [[1.0, 0.0], [1.0, 0.0], [0.9, 0.1], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]
    metrics = by_vectors(records, vectors).measure_images()
    assert (metrics.queries, metrics.skipped) == (1, 1)
    assert (metrics.r1, metrics.r5, metrics.mean_ap) == (0.0, 100.0, 50.0)


def test_distractors_are_ranked_and_are_nobody() -> None:
    records = [
        shot(0, "q", camera="1", role="query"),  # a person whose id happens to be the distractors'
        shot(0, "noise", camera="2", role="gallery", distractor=True),
        shot(0, "right", camera="2", role="gallery"),
    ]
    metrics = by_vectors(records, [[1.0, 0.0], [1.0, 0.0], [0.8, 0.2]]).measure_images()
    assert (metrics.queries, metrics.r1, metrics.mean_ap) == (1, 0.0, 50.0)


def test_without_cameras_only_the_picture_itself_is_removed() -> None:
    records = [shot(1, "a"), shot(1, "b"), shot(2, "c"), shot(2, "d", camera="4"), shot(3, "e")]
    vectors = [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.6, 0.4]]
    metrics = by_vectors(records, vectors).measure_images()
    assert metrics.protocol == "image_to_image_without_cameras"
    assert (metrics.queries, metrics.skipped, metrics.r1) == (4, 1, 100.0)


def test_icfg_is_measured_both_ways(tmp_path: Path) -> None:
    records = read_dataset("icfg_pedes", write_icfg(tmp_path)).splits["test"]
    found = embedded(ToyEncoder(toy_spec()), records)
    assert found.measure().queries == 8
    assert found.measure().protocol == "text_to_image"
    images = found.measure_images()
    assert (images.protocol, images.queries) == ("image_to_image", 8)
    assert found.measure("trapezoid").mean_ap < found.measure().mean_ap


def test_pictures_are_compared_in_the_space_of_pictures(tmp_path: Path) -> None:
    records = read_dataset("icfg_pedes", write_icfg(tmp_path)).splits["test"]
    one, two = (embedded(ToyEncoder(toy_spec(two_spaces=two)), records) for two in (False, True))
    assert one.portraits is one.images
    assert two.portraits.shape[1] == two.images.shape[1] // 2
    torch.testing.assert_close(two.images, one.images)
    # The second space sees the upper half alone, which is the same in all pictures of a person.
    pairs = two.portraits[0::2] @ two.portraits[1::2].T
    torch.testing.assert_close(pairs.diagonal(), torch.ones(4), atol=1e-3, rtol=0)
    assert two.measure_images().r1 == 100.0
    other = replace(two, portraits=two.portraits.roll(1, dims=0))
    assert other.measure_images().r1 < 100.0
    assert other.measure() == two.measure()


def test_pictures_can_be_compared_by_the_vectors_for_descriptions_too(tmp_path: Path) -> None:
    records = read_dataset("icfg_pedes", write_icfg(tmp_path)).splits["test"]
    one, two = (embedded(ToyEncoder(toy_spec(two_spaces=two)), records) for two in (False, True))
    assert not one.has_two_spaces
    assert measure_pictures(one) == {"image_to_image": one.measure_images()}
    apart = replace(two, images=torch.eye(len(records)))  # of which no two pictures are alike
    rows = measure_pictures(apart, "trapezoid")
    assert rows["image_to_image"] == two.measure_images("trapezoid")
    assert rows["image_to_image_in_text_space"] == apart.measure_images("trapezoid", space="text")
    assert rows["image_to_image_in_text_space"].mean_ap < rows["image_to_image"].mean_ap
