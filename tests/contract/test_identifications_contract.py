"""Identifications on both databases: who may decide what, one outcome for two confirmations, and where images go."""

import itertools
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.access.principal import OPEN, Principal
from app.access.schemas import NewKey
from app.access.service import KeyService
from app.database.identification_tables import Identification, IdentificationImage
from app.database.privacy import ERASED
from app.database.sessions import Database
from app.database.tables import Query, now
from app.database.visible import Visible, seeing
from app.errors import (
    IdentificationExistsError,
    IdentificationNotFoundError,
    IdentificationSettledError,
    ImageNotFoundError,
    InvalidError,
    NotAPartyError,
    QueryNotFoundError,
    SamePersonError,
    SecondPersonMissingError,
    ServiceError,
)
from app.identifications.acts import ACTS, Act, State
from app.identifications.schemas import MOST_IMAGES, NOTICE, IdentificationOut, NewIdentification
from app.identifications.service import IdentificationService
from app.identities.changes import IdentityChanges
from app.identities.repository import IdentityRepository
from app.identities.service import IdentityService
from app.queries.recorder import Recorder
from app.queries.repository import QueryRepository
from app.queries.service import sweep
from tests.contract.test_queries_contract import asked, people
from tests.contract.test_repositories import image

WEEK = 7 * 86_400.0
numbers = count(1)


def key(database: Database, name: str, *scopes: str) -> Principal:
    with database.write() as session:
        wanted = [scope for scope in ("search", "ingest", "admin") if scope in (scopes or ("search",))]
        made = KeyService(session).create(NewKey.model_validate({"name": name, "scopes": wanted}))
    return Principal(made.id, name, frozenset(made.scopes))


class Case:
    """A query, a person of two images, and three people with keys; `boss` is an administrator."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ann, self.ben, self.cyd = (key(database, name) for name in ("ann", "ben", "cyd"))
        self.boss = key(database, "boss", "admin")
        with database.write() as session:
            ((self.person, self.images),) = people(session, 1)
            self.query = self.new_query(session)

    def new_query(self, session: Session) -> str:
        row = asked(10_000 + next(numbers))
        QueryRepository(session).add([row.columns()])
        return row.id

    def propose(self, who: Principal | None = None, *, open_for_s: float = WEEK, **more: object) -> IdentificationOut:
        fields = {"query_id": self.query, "identity_id": self.person, "purpose": "case 7", "note": "red coat"} | more
        with self.database.write() as session:
            service = IdentificationService(session, who or self.ann)
            return service.propose(NewIdentification.model_validate(fields), open_for_s=open_for_s)

    def act(self, number: int, act: Act, who: Principal, note: str | None = "because") -> IdentificationOut:
        with self.database.write() as session:
            return IdentificationService(session, who).act(number, act, note)

    def get(self, number: int, who: Principal | None = None) -> IdentificationOut:
        with self.database.read() as session:
            return IdentificationService(session, who).get(number)

    def of(self, state: State) -> IdentificationOut:
        """A fresh one in a state; what is decided, ben has decided."""
        with self.database.write() as session:
            self.query = self.new_query(session)
        made = self.propose(open_for_s=1e-6 if state == "lapsed" else WEEK)
        acts: dict[State, list[tuple[Act, Principal]]] = {
            "confirmed": [("confirm", self.ben)],
            "refused": [("refuse", self.ben)],
            "withdrawn": [("withdraw", self.ann)],
        }
        for act, who in acts.get(state, []):
            self.act(made.id, act, who)
        return self.get(made.id)


@pytest.fixture
def case(database: Database) -> Case:
    return Case(database)


def test_the_whole_table_of_states_acts_and_people(case: Case) -> None:
    """What comes of each act in each state by each of five people; no other pair of states is ever connected."""
    done: dict[tuple[State, Act], dict[str, State | type[ServiceError]]] = {
        ("proposed", "confirm"): {
            "ann": SamePersonError,
            "ben": "confirmed",
            "cyd": "confirmed",
            "boss": "confirmed",
        },
        ("proposed", "refuse"): {"ann": SamePersonError, "ben": "refused", "cyd": "refused", "boss": "refused"},
        ("proposed", "withdraw"): {
            "ann": "withdrawn",
            "ben": NotAPartyError,
            "cyd": NotAPartyError,
            "boss": "withdrawn",
        },
        ("confirmed", "withdraw"): {
            "ann": "withdrawn",
            "ben": "withdrawn",
            "cyd": NotAPartyError,
            "boss": "withdrawn",
        },
    }
    states: tuple[State, ...] = ("proposed", "confirmed", "refused", "withdrawn", "lapsed")
    holders = {"ann": case.ann, "ben": case.ben, "cyd": case.cyd, "boss": case.boss, "nobody": OPEN}
    made = {state: case.of(state) for state in states}
    for state, act, (name, who) in itertools.product(states, ACTS, holders.items()):
        one = made[state]
        assert case.get(one.id).state == state
        expected: State | type[ServiceError] = done.get((state, act), {}).get(name, IdentificationSettledError)
        if name == "nobody":
            expected = SecondPersonMissingError
        may = act in case.get(one.id, who).may
        if isinstance(expected, str):
            after = case.act(one.id, act, who)
            assert after.state == expected
            assert may
            said = after.withdrawn if act == "withdraw" else after.decided
            assert said is not None
            assert (said.key_id, said.name, said.note) == (who.key_id, name, "because")
            made[state] = case.of(state)
        else:
            with pytest.raises(expected):
                case.act(one.id, act, who)
            assert not may
            after = case.get(one.id)
            assert after == one
        assert (after.notice == NOTICE) == (after.state != "confirmed")
        assert (after.state == "confirmed") <= (after.decided is not None and after.decided.key_id != case.ann.key_id)


def test_what_was_said_is_kept(case: Case) -> None:
    made = case.propose(image_ids=[case.images[1], case.images[1]])
    assert (made.state, made.purpose, made.proposed.name, made.proposed.note) == (
        "proposed",
        "case 7",
        "ann",
        "red coat",
    )
    assert (made.image_ids, made.images_of_identity, made.lapsed_because) == ([case.images[1]], 2, None)
    assert made.query is not None
    assert made.query.words.startswith("“q")
    confirmed = case.act(made.id, "confirm", case.ben, None)
    assert confirmed.notice == "Confirmed by two people: ann and ben."
    assert confirmed.decided is not None
    assert confirmed.decided.note is None
    ended = case.act(made.id, "withdraw", case.ann, "I was wrong")
    assert (ended.state, ended.decided, ended.notice) == ("withdrawn", confirmed.decided, NOTICE)


def test_what_cannot_be_proposed_is_refused(case: Case) -> None:
    with case.database.write() as session:
        ((other, of_other),) = people(session, 1)
    with pytest.raises(QueryNotFoundError):
        case.propose(query_id="0" * 32)
    with pytest.raises(ImageNotFoundError):
        case.propose(image_ids=[case.images[0], of_other[0]])
    with pytest.raises(SecondPersonMissingError):
        case.propose(OPEN)
    made = case.propose()
    with pytest.raises(IdentificationExistsError, match=f"identification {made.id} .* proposed"):
        case.propose(case.ben)
    case.propose(identity_id=other)  # somebody else may be the person, too
    case.act(made.id, "refuse", case.ben)
    assert case.propose(case.ben).id > made.id
    with case.database.read() as session, pytest.raises(IdentificationNotFoundError):
        IdentificationService(session).get(10**9)


def test_a_person_of_very_many_images_is_proposed_by_some(case: Case) -> None:
    from app.gallery.repository import ImageRepository

    with case.database.write() as session:
        rows = [image(50_000 + number, case.person) for number in range(MOST_IMAGES)]
        ImageRepository(session).add(rows)
    with pytest.raises(InvalidError, match="502 images"):
        case.propose()
    assert case.propose(image_ids=case.images).image_ids == case.images


def test_a_proposal_runs_out_and_can_be_made_again(case: Case) -> None:
    made = case.propose(open_for_s=3600)
    with case.database.write() as session:
        session.execute(update(Identification).values(expires_at=now() - timedelta(seconds=1)))
    with pytest.raises(IdentificationSettledError, match="expired"):
        case.act(made.id, "confirm", case.ben)
    told = case.get(made.id, case.ben)
    assert (told.state, told.lapsed_because, told.lapsed_at, told.may) == ("lapsed", "expired", told.expires_at, [])
    again = case.propose()
    with case.database.read() as session:
        service = IdentificationService(session)
        assert [one.id for one in service.page(state="proposed").identifications] == [again.id]
        assert [one.id for one in service.page(state="lapsed").identifications] == [made.id]


def together(*works: Callable[[], object]) -> list[object]:
    """What several threads came to that begin at the same moment: results and errors."""
    line, found = threading.Barrier(len(works)), list[object]()

    def run(work: Callable[[], object]) -> None:
        line.wait(30)
        try:
            found.append(work())
        except ServiceError as error:
            found.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_acts_at_the_same_moment_one_counts(case: Case) -> None:
    for first, second in (("confirm", "confirm"), ("confirm", "refuse"), ("refuse", "refuse"), ("confirm", "withdraw")):
        for _ in range(3):
            one = case.of("proposed")
            by: dict[str, Principal] = {"withdraw": case.ann}
            outcomes = together(
                lambda: case.act(one.id, first, case.ben),  # type: ignore[arg-type]  # noqa: B023  ended before the next
                lambda: case.act(one.id, second, by.get(second, case.cyd)),  # type: ignore[arg-type]  # noqa: B023
            )
            told = [found for found in outcomes if isinstance(found, IdentificationOut)]
            late = [found for found in outcomes if isinstance(found, IdentificationSettledError)]
            after = case.get(one.id)
            if (first, second) == ("confirm", "withdraw"):
                assert after.state == "withdrawn"  # before the confirmation, which then failed, or after it
                assert len(told) + len(late) == 2
                assert (after.decided is not None) == (len(told) == 2)
            else:
                assert (len(told), len(late)) == (1, 1)
                assert after.state == told[0].state
                assert after.decided == told[0].decided


def test_of_two_equal_proposals_at_the_same_moment_one_is_kept(case: Case) -> None:
    outcomes = together(lambda: case.propose(case.ann), lambda: case.propose(case.ben))
    assert [type(one) for one in outcomes if isinstance(one, ServiceError)] == [IdentificationExistsError]
    with case.database.read() as session:
        assert len(session.scalars(select(Identification.id)).all()) == 1


def test_a_row_that_changed_is_not_decided_on_what_it_was(case: Case) -> None:
    """The statement itself names the state that it replaces, whoever holds which lock."""
    from app.identifications.repository import IdentificationRepository

    one = case.of("confirmed")
    with case.database.write() as session:
        assert not IdentificationRepository(session).settle(one.id, "proposed", {"state": "refused"})
    assert case.get(one.id) == one


@pytest.mark.parametrize("state", ["proposed", "confirmed"])
def test_it_goes_where_a_merge_puts_its_images_and_back(case: Case, state: State) -> None:
    one = case.of(state)
    with case.database.write() as session:
        ((other, _),) = people(session, 1)
    with case.database.write() as session:
        (event,) = IdentityChanges(session).merge(other, [case.person])
    merged = case.get(one.id)
    assert (merged.state, merged.identity_id, merged.proposed_identity_id) == (state, other, case.person)
    assert (merged.image_ids, merged.images_of_identity) == (case.images, 4)  # by two of four images
    with case.database.write() as session:
        IdentityChanges(session).undo_merge(other, event)
    assert case.get(one.id).identity_id == case.person
    if state == "proposed":
        assert case.act(one.id, "confirm", case.ben).state == "confirmed"


def test_a_merge_into_the_person_does_not_widen_what_it_rests_on(case: Case) -> None:
    one = case.of("confirmed")
    with case.database.write() as session:
        ((other, _),) = people(session, 1)
    with case.database.write() as session:
        IdentityChanges(session).merge(case.person, [other])
    after = case.get(one.id)
    assert (after.state, after.identity_id, after.image_ids) == ("confirmed", case.person, case.images)
    assert after.images_of_identity == 4


@pytest.mark.parametrize("state", ["proposed", "confirmed", "refused"])
def test_images_that_are_torn_apart_identify_nobody(case: Case, state: State) -> None:
    one = case.of(state)
    with case.database.write() as session:
        IdentityChanges(session).split(case.person, [case.images[0]])
    after = case.get(one.id, case.boss)
    if state == "refused":
        assert after.state == "refused"
        return
    assert (after.state, after.lapsed_because, after.may, after.notice) == ("lapsed", "images_apart", [], NOTICE)
    assert after.lapsed_at is not None
    assert after.decided == one.decided  # who confirmed it stays known


def test_a_split_beside_its_images_is_followed(case: Case) -> None:
    made = case.propose(image_ids=[case.images[0]])
    with case.database.write() as session:
        new = IdentityChanges(session).split(case.person, [case.images[0]])
    after = case.get(made.id)
    assert (after.state, after.identity_id, after.images_of_identity) == ("proposed", new, 1)


def test_it_goes_with_the_last_of_its_images(case: Case) -> None:
    one = case.of("confirmed")
    with case.database.write() as session:
        row = session.get(Query, one.query_id)
        assert row is not None
        row.vectors, row.name, row.purpose = b"\0" * 8, "the Erika case", "case 7"
    with case.database.write() as session:
        IdentityService(session).delete_image(case.images[0])
    assert case.get(one.id).image_ids == [case.images[1]]
    with case.database.write() as session:
        IdentityService(session).delete_image(case.images[1])
    with pytest.raises(IdentificationNotFoundError):
        case.get(one.id)
    with case.database.read() as session:
        assert session.scalars(select(IdentificationImage.image_id)).all() == []
        row = session.get(Query, one.query_id)
        assert row is not None
        assert (row.vectors, row.name, row.purpose) == (None, None, None)


def test_an_erased_person_leaves_none_in_any_state(case: Case) -> None:
    made = [case.of(state).id for state in ("proposed", "confirmed", "refused", "withdrawn", "lapsed")]
    with case.database.write() as session:
        IdentityService(session).delete_identity(case.person)
    with case.database.read() as session:
        assert session.scalars(select(Identification.id).where(Identification.id.in_(made))).all() == []


def test_words_about_others_lose_the_name_of_who_is_erased(case: Case) -> None:
    with case.database.write() as session:
        ((other, _),) = people(session, 1)
        named = IdentityRepository(session).get(other)
        assert named is not None
        named.external_id = "Erika Muster"
        row = asked(77_777, definition={"query": "not ERIKA MUSTER, her sister"})
        QueryRepository(session).add([row.columns()])
    one = case.propose(note="with erika muster on the left", purpose="case 7")
    case.act(one.id, "refuse", case.ben, "Erika Muster herself")
    asked_by_name = case.propose(query_id=row.id)
    with case.database.write() as session:
        IdentityService(session).delete_identity(other)
    after = case.get(one.id)
    assert after.decided is not None
    assert (after.proposed.note, after.purpose, after.decided.note) == (ERASED, "case 7", ERASED)
    lapsed = case.get(asked_by_name.id)
    assert (lapsed.lapsed_because, lapsed.query, lapsed.proposed.note) == ("query_deleted", None, "red coat")


def test_a_deleted_query_ends_proposals_and_no_confirmation(case: Case) -> None:
    for state, after in (("proposed", "lapsed"), ("confirmed", "confirmed"), ("refused", "refused")):
        one = case.of(state)  # type: ignore[arg-type]
        with case.database.write() as session:
            QueryRepository(session).delete(one.query_id)
        told = case.get(one.id)
        assert (told.state, told.query) == (after, None)
        assert told.lapsed_because == ("query_deleted" if state == "proposed" else None)


def test_a_query_that_identifies_somebody_is_not_swept(case: Case) -> None:
    kept = [case.of("proposed").query_id, case.of("confirmed").query_id]
    swept = [case.of("refused").query_id, case.of("withdrawn").query_id]
    with case.database.write() as session:
        session.execute(update(Query).values(created_at=now() - timedelta(days=30)))
    assert sweep(case.database, WEEK) >= 2
    with case.database.read() as session:
        assert QueryRepository(session).known([*kept, *swept]) == set(kept)
    Recorder(case.database).close()


def test_a_revoked_key_ends_its_proposals_and_a_rotated_one_is_the_same(case: Case) -> None:
    open_one, confirmed = case.of("proposed"), case.of("confirmed")
    assert case.ann.key_id is not None
    with case.database.write() as session:
        KeyService(session).rotate(case.ann.key_id)
        rotated = Principal(case.ann.key_id, "ann", frozenset({"search"}))
    with pytest.raises(SamePersonError):
        case.act(open_one.id, "confirm", rotated)
    with case.database.write() as session:
        KeyService(session).revoke(case.ann.key_id)
    assert case.get(open_one.id).lapsed_because == "key_revoked"
    assert case.get(confirmed.id).state == "confirmed"


def test_a_limited_key_sees_what_rests_on_its_collections_alone(case: Case) -> None:
    from app.collections.service import CollectionService
    from app.gallery.repository import ImageRepository

    with case.database.write() as session:
        north = CollectionService(session).resolve("north")
        (person,) = IdentityRepository(session).add_provisional(1)
        rows = [image(60_000 + n, person, collection_id=north if n else 1) for n in range(2)]
        elsewhere, here = ImageRepository(session).add(rows)
    both = case.propose(identity_id=person)
    case.act(both.id, "withdraw", case.ann)
    one = case.propose(identity_id=person, image_ids=[here])
    assert case.ben.key_id is not None
    with seeing(Visible(case.ben.key_id, frozenset({north}))):
        with case.database.read() as session:
            listed = IdentificationService(session, case.ben).page().identifications
        assert [found.id for found in listed] == [one.id]
        assert (listed[0].image_ids, listed[0].images_of_identity) == ([here], 1)
        assert listed[0].query is not None  # of another key, told to whoever is to decide
        for act in ACTS:
            with pytest.raises(IdentificationNotFoundError):
                case.act(both.id, act, case.ben)
        assert case.act(one.id, "confirm", case.ben).state == "confirmed"
        with pytest.raises(QueryNotFoundError):
            case.propose(case.ben, identity_id=person)
        with case.database.write() as session:
            session.execute(update(Query).values(key_id=case.ben.key_id))
        with pytest.raises(ImageNotFoundError):
            case.propose(case.ben, identity_id=person, image_ids=[elsewhere])
    with seeing(Visible(case.ben.key_id, frozenset({10**6}))), case.database.read() as session:
        assert IdentificationService(session, case.ben).page().identifications == []
