"""What can become of an identification, and by whom: the whole of the rule, without a database.

    proposed --confirm--> confirmed      by another key than the one that proposed
    proposed --refuse---> refused        by another key, with a reason
    proposed --withdraw-> withdrawn      by the key that proposed
    confirmed -withdraw-> withdrawn      by either of the two keys: one doubt is enough
    proposed, confirmed -> lapsed        by time, by a deleted query, a revoked key, images that were torn apart

With the scope admin everything that still stands can be withdrawn, for people leave.
"""

from datetime import datetime
from typing import Literal, get_args

from app.access.principal import Principal
from app.access.rules import Need
from app.database.identification_tables import Identification
from app.errors import (
    IdentificationSettledError,
    NotAPartyError,
    SamePersonError,
    SecondPersonMissingError,
)

State = Literal["proposed", "confirmed", "refused", "withdrawn", "lapsed"]
Act = Literal["confirm", "refuse", "withdraw"]
Lapse = Literal["expired", "query_deleted", "key_revoked", "images_apart"]
ACTS: tuple[Act, ...] = get_args(Act)
OUTCOMES: dict[tuple[State, Act], State] = {
    ("proposed", "confirm"): "confirmed",
    ("proposed", "refuse"): "refused",
    ("proposed", "withdraw"): "withdrawn",
    ("confirmed", "withdraw"): "withdrawn",
}


def state_of(row: Identification, at: datetime) -> State:
    """Its state at an instant: a proposal that ran out has lapsed, whether or not anybody has looked."""
    if row.state == "proposed" and row.expires_at <= at:
        return "lapsed"
    state: State = row.state  # type: ignore[assignment]  # a column of text that only this room writes
    return state


def lapse_of(row: Identification, at: datetime) -> Lapse | None:
    """Why it has lapsed, if it has."""
    if row.state == "proposed" and row.expires_at <= at:
        return "expired"
    because: Lapse | None = row.lapsed_because  # type: ignore[assignment]  # see `state_of`
    return because


def outcome(row: Identification, act: Act, who: Principal, at: datetime) -> State:
    """The state after an act.

    Raises:
        SecondPersonMissingError: whoever acts has no key.
        IdentificationSettledError: in its state this cannot be done.
        SamePersonError: whoever proposed it would confirm or refuse it.
        NotAPartyError: somebody else would withdraw it.
    """
    state = state_of(row, at)
    if who.key_id is None:
        raise SecondPersonMissingError
    if (state, act) not in OUTCOMES:
        why = f" ({lapse})" if (lapse := lapse_of(row, at)) else ""
        raise IdentificationSettledError(f"identification {row.id} is {state}{why}; it cannot be {_DONE[act]} now")
    if act != "withdraw" and who.key_id == row.proposed_by:
        raise SamePersonError(who.name)
    if act == "withdraw" and not _may_withdraw(row, state, who):
        raise NotAPartyError(row.id)
    return OUTCOMES[state, act]


_DONE: dict[Act, str] = {"confirm": "confirmed", "refuse": "refused", "withdraw": "withdrawn"}


def _may_withdraw(row: Identification, state: State, who: Principal) -> bool:
    parties = {row.proposed_by, row.decided_by} if state == "confirmed" else {row.proposed_by}
    return who.key_id in parties or Need.ADMIN.value in who.scopes


def possible(row: Identification, who: Principal | None, at: datetime) -> list[Act]:
    """What somebody may do with it at an instant."""

    def allowed(act: Act) -> bool:
        try:
            outcome(row, act, who, at)  # type: ignore[arg-type]  # asked with somebody only
        except (IdentificationSettledError, SamePersonError, NotAPartyError, SecondPersonMissingError):
            return False
        return True

    return [] if who is None else [act for act in ACTS if allowed(act)]
