"""Rules of retention: set, shown, applied."""

import logging
from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.collections.service import CollectionService
from app.core import Core
from app.database.tables import now
from app.errors import InvalidError
from app.identities.erasing import Eraser
from app.retention.repository import RetentionRepository
from app.retention.schemas import RetentionRuleIn, RetentionRuleOut, RetentionRules

_log = logging.getLogger(__name__)
_CHUNK, _MOST = 200, 5_000
"""Images of one unit of work, and of one round: others want to write as well."""


class RetentionService:
    """Reads and changes rules within one unit of work."""

    def __init__(self, session: Session) -> None:
        self._rules, self._collections = RetentionRepository(session), CollectionService(session)

    def all(self) -> RetentionRules:
        """Every rule, with what is due."""
        at, rows = now(), self._rules.rules()
        due = {(row.collection_id, row.camera): self._rules.count(row, at) for row in rows}
        told = [
            RetentionRuleOut(collection=name, camera=camera, days=days, due=due[self._collections.find(name), camera])
            for name, camera, days in self._rules.all()
        ]
        return RetentionRules(rules=told)

    def put(self, collection: str, camera: str | None, days: int | None) -> None:
        """Set one rule; without days it is taken away.

        Raises:
            CollectionNotFoundError: there is no such collection.
        """
        self._rules.put(self._collections.find(collection), camera, days)

    def has_images(self, collection: str, camera: str) -> bool:
        """Whether a camera has any image in a collection: a rule for another name erases nothing.

        Raises:
            CollectionNotFoundError: there is no such collection.
        """
        return self._rules.has_images(self._collections.find(collection), camera)

    def replace(self, rules: Sequence[RetentionRuleIn]) -> None:
        """Set these rules and no others.

        Raises:
            CollectionNotFoundError: there is no such collection.
            InvalidError: two rules are about the same.
        """
        if len({(rule.collection, rule.camera) for rule in rules}) < len(rules):
            raise InvalidError("two rules are about the same collection and camera; give one of them")
        self._rules.clear()
        for rule in rules:
            self.put(rule.collection, rule.camera, rule.days)


def apply(core: Core, *, scrub: bool = False, most: int | None = _MOST) -> int:
    """Erase what is due, in small units of work; returns how many images went.

    Args:
        scrub: take vectors out of index files too, for where no server does.
        most: images of this round; None for all.
    """
    gone: list[int] = []
    with core.database.read() as session:
        rules = RetentionRepository(session).rules()
    for rule in rules:
        while most is None or len(gone) < most:
            with core.database.read() as session:
                due = RetentionRepository(session).due(rule, now(), _CHUNK)
            erased = Eraser(core).several(due) if due else []
            gone += erased
            if len(due) < _CHUNK:
                break
    if gone:
        _log.info("retention: %d images were erased (ids %d to %d)", len(gone), min(gone), max(gone))
    if scrub and gone:
        Eraser(core).scrub(gone)
    return len(gone)
