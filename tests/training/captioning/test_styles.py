"""Styles: DBSCAN over embeddings, and what is done about small clusters and noise."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import DBSCAN
from typer.main import get_command
from typer.testing import CliRunner

from training.captioning.cli import describe
from training.captioning.prompts import PLAIN, first_messages
from training.captioning.styles import cluster, find_styles, k_distance, neutral, read_styles, styles_of, write_styles
from training.cli import cli
from training.errors import DescriptionsError

Floats = NDArray[np.float32]


def bunches(sizes: tuple[int, ...], seed: int = 0) -> tuple[Floats, list[int]]:
    """Unit vectors around axes of 8-d space, shuffled; and the axis of each."""
    rng = np.random.default_rng(seed)
    axes = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(8)[axes] + rng.normal(0, 0.02, (len(axes), 8))
    order = rng.permutation(len(axes))
    return vectors[order].astype(np.float32), axes[order].tolist()


def test_bunches_are_found_with_the_radius_of_the_k_distances() -> None:
    vectors, axes = bunches((60, 30, 10))
    clusters = cluster(vectors, eps=None, min_samples=5, least=5)
    assert (clusters.sizes, clusters.found) == ([60, 30, 10], 3)
    assert clusters.labels.tolist() == axes  # numbered by size, as the axes are
    assert 0.02 < clusters.eps < 1.0


def test_small_clusters_and_noise_go_to_the_nearest() -> None:
    vectors, axes = bunches((60, 30, 6))
    vectors[np.array(axes) == 2] += 0.8 * np.eye(8, dtype=np.float32)[1]  # the small one leans toward the second
    stray = np.array([[0.7, 0.1, 0, 0.7, 0, 0, 0, 0]], dtype=np.float32)
    clusters = cluster(np.concatenate([vectors, stray]), eps=0.3, min_samples=4, least=10)
    assert (clusters.sizes, clusters.found, clusters.merged, clusters.noise) == ([61, 36], 3, 6, 1)
    assert clusters.labels[-1] == 0


def test_without_small_clusters_it_is_scikit_learns_dbscan() -> None:
    vectors, _ = bunches((40, 25, 12), seed=3)
    vectors = np.concatenate([vectors, vectors[:20]])  # copies, which are clustered once and weighted
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    plain = DBSCAN(eps=0.15, min_samples=4).fit_predict(unit.round(5))
    clusters = cluster(vectors, eps=0.15, min_samples=4, least=1)
    assert clusters.noise == int((plain == -1).sum())
    pairs = set(zip(plain[plain >= 0].tolist(), clusters.labels[plain >= 0].tolist(), strict=True))
    assert len(pairs) == clusters.found == len(set(plain[plain >= 0].tolist()))


def test_equal_captions_and_pure_noise_end_in_one_cluster() -> None:
    same = cluster(np.ones((9, 4), dtype=np.float32), eps=None, min_samples=3, least=3)
    assert (same.sizes, same.noise) == ([9], 0)
    noise = cluster(np.eye(8, dtype=np.float32), eps=0.1, min_samples=3, least=3)
    assert (noise.sizes, noise.noise, noise.found) == ([8], 8, 0)
    with pytest.raises(DescriptionsError, match="no captions"):
        cluster(np.empty((0, 4), dtype=np.float32), eps=None, min_samples=3, least=3)


def test_the_radius_counts_copies_as_neighbours() -> None:
    points = np.array([[0.0], [1.0], [5.0]], dtype=np.float32)
    assert k_distance(points, np.array([3, 3, 3]), 3) == pytest.approx(1e-6)  # three copies: at no distance
    assert k_distance(points, np.array([1, 1, 1]), 2) == pytest.approx(1.0)


def test_content_is_taken_out_and_manner_stays() -> None:
    first = neutral("The man with short hair is wearing a red shirt, blue jeans and white sneakers.")
    second = neutral("The lady with long hair is wearing a pink blouse, tight leggings and brown boots.")
    assert first == second == ("The person with black hair is wearing a black shirt, black pants and black shoes.")
    assert neutral("Man, red shirt, blue jeans") != first


def manners() -> list[str]:
    """Three manners of writing, 40, 30 and 20 captions."""
    colours = ("red", "blue", "green", "white", "black", "grey", "pink", "brown", "yellow", "purple")
    told = []
    for number in range(40):
        upper, lower = colours[number % 10], colours[number // 4]
        told.append(f"The man is wearing a {upper} shirt and {lower} pants.")
        if number < 30:
            told.append(f"Woman, {upper} shirt, {lower} pants")
        if number < 20:
            told.append(f"This is a picture of a person in a {upper} shirt with {lower} pants who carries a bag.")
    return told


def counts_of_words(texts: "object") -> Floats:
    """An encoder of this test: how often each word of form occurs."""
    assert isinstance(texts, list)
    form = ("the", "is", "wearing", "and", ",", "picture", "this", "of", "who", "with")
    return np.array([[text.lower().replace(",", " ,").split().count(word) for word in form] for text in texts], "f4")


def test_styles_have_exemplars_of_one_manner_and_come_again(tmp_path: Path) -> None:
    found, report = find_styles(manners(), counts_of_words, seed=0, examples=3)
    assert report["sizes"] == [40, 30, 20]
    for style, opening in zip(found, ("The man is wearing", "Woman, ", "This is a picture of"), strict=True):
        assert style.prompt.count(f"\n- {opening}") == 3
    again, same = find_styles(manners(), counts_of_words, seed=0, examples=3)
    assert (again, same) == (found, report)
    write_styles(tmp_path / "styles.json", found, report)
    assert read_styles(tmp_path / "styles.json") == found
    other, _ = find_styles(manners(), counts_of_words, seed=0, examples=2)
    assert not {style.name for style in other} & {style.name for style in found}


def test_an_images_styles_follow_from_its_hash() -> None:
    found, _ = find_styles(manners(), counts_of_words, seed=0)
    for image in ("0" * 64, "1" * 64, "2" * 64, "f" * 64):
        (one,), three = styles_of(image, found, 1), styles_of(image, found, 9)
        assert one == found[int(image[:12], 16) % 3]
        assert {style.name for style in three} == {style.name for style in found}
    words = first_messages(found[0], "data:,")[1]["content"][0]["text"]
    assert words.endswith(found[0].prompt)
    assert found[0].prompt not in first_messages(PLAIN, "data:,")[1]["content"][0]["text"]


def test_the_verbs_without_an_endpoint(tiny_set: Path, tmp_path: Path) -> None:
    data = ["--data", str(tiny_set), "--json"]
    made = CliRunner().invoke(cli, ["describe", "styles", *data, "--out", str(tmp_path / "styles.json")])
    assert made.exit_code == 0, made.output
    report = json.loads(made.stdout)
    assert sum(report["sizes"]) == report["captions"] == 192
    assert len(read_styles(tmp_path / "styles.json")) == len(report["sizes"])
    out = str(tmp_path / "rules.jsonl")
    for _ in range(2):
        split = CliRunner().invoke(cli, ["describe", "split", *data, "--out", out])
        assert json.loads(split.stdout)["finished"] == 192
    table = tmp_path / "images.csv"
    totals = CliRunner().invoke(cli, ["describe", "totals", out, "--json", "--per-image", str(table)])
    assert json.loads(totals.stdout)["requests"] == 0
    assert table.read_text().startswith("image,prompt,model,style,requests,")


def test_the_page_names_options_that_exist() -> None:
    page = (Path(__file__).parents[3] / "docs" / "captioning.md").read_text()
    told = set(re.findall(r"--[a-z][a-z-]+", page))
    verbs = vars(get_command(describe))["commands"].values()
    known = {name for verb in verbs for option in verb.params for name in (*option.opts, *option.secondary_opts)}
    assert len(told) > 15
    assert told - known == set()
    assert set(re.findall(r"describe ([a-z]+) ", page)) >= {"split", "styles", "ask", "totals"}


def test_pictures_stay_without_consent(tiny_set: Path, tmp_path: Path) -> None:
    command = ["describe", "ask", "--data", str(tiny_set), "--out", str(tmp_path / "d.jsonl"), "--model", "m"]
    result = CliRunner().invoke(cli, [*command, "--url", "https://descry.invalid/v1"])
    assert isinstance(result.exception, DescriptionsError)
    assert "--yes-send-images-to descry.invalid" in result.exception.message
    assert not (tmp_path / "d.jsonl").exists()
