"""On which side people stand: the same in each retraining, and nothing that was trained on is ever tested on."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from app.retraining.splits import SPLITS, Member, assign, drawn


def gallery(people: int, images: int = 2) -> list[Member]:
    return [
        Member(100 * person + image, person, f"P{person}", f"sha {person} {image}", None)
        for person in range(people)
        for image in range(images)
    ]


def recorded(members: list[Member]) -> list[Member]:
    sides = assign(members)
    return [replace(member, split=sides[member.image_id]) for member in members]


def test_sides_are_those_of_people_and_have_their_shares() -> None:
    sides = assign(gallery(4000))
    assert all(sides[100 * person] == sides[100 * person + 1] == drawn(f"P{person}") for person in range(4000))
    counts = Counter(sides.values())
    assert abs(counts["train"] / 8000 - 0.7) < 0.03
    assert abs(counts["test"] / 8000 - 0.2) < 0.03


def test_sides_stay_when_people_come_go_and_are_named_otherwise() -> None:
    first = recorded(gallery(50))
    renamed = [replace(member, external_id=f"new {member.identity_id}") for member in first[10:]]
    again = assign([*renamed, *[replace(m, image_id=m.image_id + 10**6, sha256="x" + m.sha256) for m in gallery(90)]])
    assert all(again[member.image_id] == member.split for member in renamed)


def test_a_provisional_identity_has_a_side_of_its_own() -> None:
    unnamed = [Member(n, n, None, f"sha {n}", None) for n in range(400)]
    assert assign(unnamed) == {n: drawn(f"#{n}") for n in range(400)}


def test_the_same_bytes_in_two_collections_are_one_person() -> None:
    one, other = (next(n for n in range(99) if drawn(f"P{n}") == side) for side in ("train", "test"))
    members = [Member(1, one, f"P{one}", "same", None), Member(2, other, f"P{other}", "same", None)]
    sides = assign([*members, Member(3, other, f"P{other}", "else", None)])
    assert len(set(sides.values())) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29), st.booleans()), max_size=40))
def test_whatever_is_merged_and_split_nothing_leaves_train(moves: list[tuple[int, int, bool]]) -> None:
    members = recorded(gallery(30))
    trained = {member.image_id for member in members if member.split == "train"}
    for count, (one, other, merge) in enumerate(moves):
        to = one if merge else 1000 + count
        moved = [replace(m, identity_id=to) if m.identity_id == other else m for m in members]
        if not merge:  # only the first image is split off
            moved = [m if m.image_id % 100 == 0 else old for m, old in zip(moved, members, strict=True)]
        members = recorded(moved)
        now = {member.image_id: member.split for member in members}
        assert all(now[image_id] == "train" for image_id in trained)
        trained |= {image_id for image_id, side in now.items() if side == "train"}
        sides: dict[int, set[str | None]] = {}
        for member in members:
            sides.setdefault(member.identity_id, set()).add(member.split)
        assert all(len(found) == 1 and found <= set(SPLITS) for found in sides.values())
