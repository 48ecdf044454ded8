"""Grouping of vectors against brute force, and what rules persons out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.association import Floats, Ints, Sightings, group, merges
from models.calibration import LINKAGES, Linkage

NOBODY = np.empty((0, 2), np.int64)


def unit(seed: int, count: int, dim: int = 4) -> Floats:
    found = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    lengths: Floats = np.linalg.norm(found, axis=1, keepdims=True)
    return found / lengths


def partition(labels: Ints) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def brute_force(vectors: Floats, threshold: float, linkage: Linkage) -> set[frozenset[int]]:
    """Join the best pair of groups, computed anew each time, while it is good enough."""
    similar = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    groups = [[row] for row in range(len(vectors))]
    while len(groups) > 1:
        pairs = [(i, j) for i in range(len(groups)) for j in range(i)]
        how = np.mean if linkage == "average" else np.min
        scores = [float(how(similar[np.ix_(groups[i], groups[j])])) for i, j in pairs]
        best = int(np.argmax(scores))
        if scores[best] < threshold:
            break
        i, j = pairs[best]
        groups[j] += groups.pop(i)
    return {frozenset(one) for one in groups}


@given(st.integers(0, 10_000), st.integers(1, 24), st.floats(-0.5, 0.99), st.sampled_from(LINKAGES))
@settings(max_examples=40, deadline=None)
def test_groups_are_those_of_brute_force(seed: int, count: int, threshold: float, linkage: Linkage) -> None:
    vectors = unit(seed, count)
    found = group(vectors, threshold=threshold, linkage=linkage)
    assert partition(found.labels) == brute_force(vectors, threshold, linkage)
    assert found.cut == 0


@given(st.integers(0, 10_000), st.floats(0.0, 0.99), st.sampled_from(LINKAGES))
@settings(max_examples=20, deadline=None)
def test_the_tree_says_what_the_groups_are(seed: int, threshold: float, linkage: Linkage) -> None:
    vectors = unit(seed, 20)
    children, similarity = merges(vectors, linkage)
    members = [{row} for row in range(20)]
    for one, other in children[similarity >= threshold].tolist():
        members.append(members[one] | members[other])
        members[one], members[other] = set(), set()
    assert partition(group(vectors, threshold=threshold, linkage=linkage).labels) == {
        frozenset(m) for m in members if m
    }


def test_nothing_and_one_and_a_threshold_out_of_range() -> None:
    assert group(unit(0, 0), threshold=0.5).labels.tolist() == []
    assert group(unit(0, 1), threshold=0.5).labels.tolist() == [0]
    assert [len(part) for part in merges(unit(0, 1), "average")] == [0, 0]
    with pytest.raises(ValueError, match="between -1 and 1"):
        group(unit(0, 2), threshold=1.0)


@given(st.integers(0, 1000), st.sampled_from(LINKAGES))
@settings(max_examples=20, deadline=None)
def test_strangers_and_far_times_are_never_one_person(seed: int, linkage: Linkage) -> None:
    random = np.random.default_rng(seed)
    vectors = unit(seed, 30, 2)  # on a circle: nearly everything looks alike
    at = np.where(random.random(30) < 0.3, np.nan, random.uniform(0, 100, 30))
    strangers = random.integers(0, 30, (10, 2))
    strangers = strangers[strangers[:, 0] != strangers[:, 1]]
    found = group(vectors, threshold=0.1, linkage=linkage, sightings=Sightings(at, at, strangers, 40.0))
    assert all(found.labels[one] != found.labels[other] for one, other in strangers.tolist())
    for rows in partition(found.labels):
        times = at[sorted(rows)]
        known = times[~np.isnan(times)]
        assert not len(known) or known.max() - known.min() <= 40
    free = group(vectors, threshold=0.1, linkage=linkage, sightings=Sightings(at, at, NOBODY))
    assert (free.labels == group(vectors, threshold=0.1, linkage=linkage).labels).all()


def test_a_component_that_is_too_large_is_cut_and_says_so() -> None:
    """Two clouds that a chain of pairs connects; and copies, which no threshold takes apart."""
    angles = np.concatenate([np.linspace(0.0, 0.3, 20), [0.6], np.linspace(0.9, 1.2, 20)])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    whole = group(vectors, threshold=0.94, linkage="complete")
    cut = group(vectors, threshold=0.94, linkage="complete", most_dense=20)
    assert (whole.cut, cut.cut) == (0, 1)
    similar = vectors @ vectors.T
    for rows in partition(cut.labels):
        assert similar[np.ix_(sorted(rows), sorted(rows))].min() >= 0.94 - 1e-6
    copies = group(np.repeat(vectors[:1], 50, axis=0), threshold=0.9, most_dense=20)
    assert len(copies.labels) == 50
    assert copies.cut == 1
