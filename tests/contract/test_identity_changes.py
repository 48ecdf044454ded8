"""Merges, splits, associations and their undoing on both databases: every image has one identity, always."""

from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.association.repository import AssociationRepository
from app.database.sessions import Database
from app.database.tables import AssociationRun, Identity, IdentityEvent, Image
from app.errors import (
    IdentityMergedError,
    IdentityNamesDifferError,
    IdentityNotFoundError,
    ImageNotFoundError,
    InvalidError,
    MergeNotUndoableError,
)
from app.gallery.repository import ImageRepository
from app.identities.changes import IdentityChanges
from app.identities.history import HistoryRepository
from app.identities.repository import IdentityRepository
from app.identities.service import IdentityService
from tests.contract.test_repositories import image

numbers = count(1)


def unnamed(session: Session, images: int) -> list[int]:
    """Provisional identities of one image each."""
    made = IdentityRepository(session).add_provisional(images)
    ImageRepository(session).add([image(next(numbers), identity) for identity in made])
    return made


def partition(session: Session) -> dict[int, int]:
    session.expire_all()
    return {row.id: row.identity_id for row in session.execute(select(Image.id, Image.identity_id))}


def people(session: Session) -> dict[int, tuple[object, ...]]:
    session.expire_all()
    return {r.id: (r.external_id, r.attributes, r.provisional, r.created_at) for r in session.scalars(select(Identity))}


def run_row(session: Session) -> int:
    run = AssociationRun(
        collection_id=1, model_version_id=1, linkage="complete", threshold=0.5, instants_apart=False, dry_run=False,
        state="grouped", found={}, undo={},
    )  # fmt: skip
    AssociationRepository(session).add(run)
    return run.id


def test_a_merge_and_its_undoing_give_back_everything(database: Database) -> None:
    with database.write() as session:
        a, b, c = unnamed(session, 3)
        rows = IdentityRepository(session).several([a, b, c])
        rows[a].attributes, rows[b].attributes = {"x": 1}, {"x": 2, "y": [3]}
        rows[c].external_id, rows[c].provisional = "C", False
    with database.write() as session:
        before = partition(session), people(session)
        events = IdentityChanges(session, "somebody").merge(a, [b, c])
    with database.write() as session:
        assert set(partition(session).values()) == {a}
        assert people(session)[a][:3] == ("C", {"x": 1, "y": [3]}, False)
        with pytest.raises(IdentityMergedError) as caught:
            IdentityService(session).identity(b)
        assert caught.value.merged_into == a
        for event in reversed(events):
            back, restored = IdentityChanges(session).undo_merge(a, event)
            assert back in (b, c)
            assert (restored.images, restored.moved, restored.deleted, restored.names_taken) == (1, 0, 0, 0)
        assert (partition(session), people(session)) == before
        with pytest.raises(MergeNotUndoableError):
            IdentityChanges(session).undo_merge(a, events[0])
        history = [(e.event, e.actor) for e in HistoryRepository(session).page(a, after=0, limit=9)]
    assert history == [("merge", "somebody")] * 2 + [("restore", None)] * 2


def test_names_that_differ(database: Database) -> None:
    with database.write() as session:
        named = IdentityRepository(session).resolve(["A", "B"])
    with database.write() as session, pytest.raises(IdentityNamesDifferError, match="'A', 'B'"):
        IdentityChanges(session).merge(named["A"], [named["B"]])
    with database.write() as session:
        (event,) = IdentityChanges(session).merge(named["A"], [named["B"]], drop_names=True)
        assert people(session)[named["A"]][0] == "A"
        other = IdentityRepository(session).resolve(["B"])["B"]  # somebody takes the name that was let go
        assert other != named["B"]
    with database.write() as session:
        _, restored = IdentityChanges(session).undo_merge(named["A"], event)
        assert restored.names_taken == 1
        assert people(session)[named["B"]][0] is None


def test_what_cannot_be_merged_or_split(database: Database) -> None:
    with database.write() as session:
        a, b = unnamed(session, 2)
        mine, yours = sorted(partition(session))
        changes = IdentityChanges(session)
        with pytest.raises(InvalidError, match="itself"):
            changes.merge(a, [a])
        with pytest.raises(IdentityNotFoundError):
            changes.merge(a, [999])
        with pytest.raises(InvalidError, match="not all"):
            changes.split(a, [mine])
        with pytest.raises(ImageNotFoundError):
            changes.split(a, [yours])
        assert sorted(partition(session).values()) == [a, b]


def test_undoing_a_run_leaves_alone_what_people_did_since(database: Database) -> None:
    with database.write() as session:
        ids = unnamed(session, 8)
        images = {owner: one for one, owner in partition(session).items()}
        run, changes = run_row(session), IdentityChanges(session)
        changes.merge(ids[0], ids[1:4], run_id=run)
        changes.merge(ids[4], [ids[5]], run_id=run)
        changes.merge(ids[6], [ids[7]], run_id=run)
    with database.write() as session:
        service = IdentityService(session)
        service.delete_image(images[ids[1]])
        moved = IdentityChanges(session).split(ids[0], [images[ids[2]]])
        row = service.identity(ids[4])
        row.external_id, row.provisional = "known", False
        service.delete_image(images[ids[6]])  # the target keeps what the run gave it
    with database.write() as session:
        restored = IdentityChanges(session).undo_run(run)
        assert (restored.identities, restored.images) == (2, 2)
        assert (restored.deleted, restored.moved, restored.kept) == (1, 1, 1)
        assert partition(session) == {
            images[ids[0]]: ids[0],
            images[ids[2]]: moved,
            images[ids[3]]: ids[3],
            images[ids[4]]: ids[4],
            images[ids[5]]: ids[4],
            images[ids[7]]: ids[7],
        }
        assert ids[6] not in people(session)  # provisional, and without any image now
        assert IdentityChanges(session).undo_run(run).identities == 0


def test_erasing_a_person_leaves_numbers_only(database: Database) -> None:
    with database.write() as session:
        a, b, c = unnamed(session, 3)
        IdentityRepository(session).several([c])[c].attributes = {"secret": "tattoo"}
        IdentityChanges(session).merge(b, [c])
        IdentityChanges(session).merge(a, [b])
    with database.write() as session:
        IdentityService(session).delete_identity(a)
    with database.read() as session:
        events = session.scalars(select(IdentityEvent)).all()
        assert len(events) == 2
        assert [event.before for event in events] == [None, None]
        with pytest.raises(IdentityNotFoundError) as caught:
            IdentityService(session).identity(c)
        assert not isinstance(caught.value, IdentityMergedError)


step = st.tuples(st.sampled_from(["merge", "split", "associate", "undo run", "undo merge"]), st.integers(0, 10**6))


@given(st.lists(step, max_size=12))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_every_image_has_one_identity(database: Database, steps: list[tuple[str, int]]) -> None:
    """Also: an undo that follows at once restores exactly what was there."""
    with database.write() as session:
        for old in set(partition(session).values()):
            IdentityService(session).delete_identity(old)
        unnamed(session, 6)
        images = set(partition(session))
    for what, number in steps:
        with database.write() as session:
            before = partition(session), people(session)
            undone = take(session, what, number)
            assert not undone or (partition(session), people(session)) == before
        with database.read() as session:
            now = partition(session)
            assert set(now) == images
            assert set(now.values()) == set(people(session))  # each identity exists and has an image


def take(session: Session, what: str, number: int) -> bool:
    """One step; True if it was taken back at once."""
    now, changes = partition(session), IdentityChanges(session)
    owners = sorted(set(now.values()))
    first, second, back = owners[number % len(owners)], owners[number // 7 % len(owners)], number % 2 == 1
    own = [one for one, owner in now.items() if owner == first]
    if what == "merge" and first != second:
        (event,) = changes.merge(first, [second])
        if back:
            changes.undo_merge(first, event)
        return back
    if what == "split" and len(own) > 1:
        changes.split(first, own[: 1 + number % (len(own) - 1)])
    elif what == "associate" and len(owners) > 3:
        run = run_row(session)
        changes.merge(owners[0], [owners[2]], run_id=run)
        changes.merge(owners[1], [owners[3]], run_id=run)
        if back:
            changes.undo_run(run)
        return back
    elif what == "undo run":
        for run in session.scalars(select(AssociationRun.id)).all():
            changes.undo_run(run)
    elif what == "undo merge":
        undo_some_merge(session, first, own)
    return False


def undo_some_merge(session: Session, identity: int, own: list[int]) -> None:
    where = (IdentityEvent.to_id == identity, IdentityEvent.event == "merge", IdentityEvent.undone_at.is_(None))
    event = session.scalars(select(IdentityEvent).where(*where).limit(1)).one_or_none()
    if event is None or event.before is None:
        return
    if set(event.image_ids) & set(own):
        IdentityChanges(session).undo_merge(identity, event.id)
    else:
        with pytest.raises(MergeNotUndoableError):
            IdentityChanges(session).undo_merge(identity, event.id)
