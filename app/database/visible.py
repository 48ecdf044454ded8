"""What the holder of a limited key can see: a rule that every statement carries, so that no endpoint can forget it.

The door sets it for a request; sessions add it to each SELECT of images, identities, collections, runs of associations,
queries and jobs, and of identifications, none of whose images may lie elsewhere. Workers and the command line see
everything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import ORMExecuteState, with_loader_criteria

from app.database.identification_tables import Identification, IdentificationImage
from app.database.tables import AssociationRun, Collection, Identity, Image, Job, Query


@dataclass(frozen=True, slots=True)
class Visible:
    """The limits of a key.

    Attributes:
        key_id: of what is made by it; with `collections`, only its own queries and jobs are seen.
        collections: ids; only their images, and people who are in them. None: all is seen.
    """

    key_id: int
    collections: frozenset[int] | None = None


_visible: ContextVar[Visible | None] = ContextVar("descry_visible", default=None)


def limited() -> bool:
    """Whether not everything is seen now."""
    limits = _visible.get()
    return limits is not None and limits.collections is not None


def asked_by() -> int | None:
    """The key that asks; None without one, and at the command line."""
    limits = _visible.get()
    return None if limits is None else limits.key_id


@contextmanager
def seeing(limits: Visible | None) -> Iterator[None]:
    """Let limits hold in a block, and in what it starts on other threads by `run_in_threadpool`."""
    token = _visible.set(limits)
    try:
        yield
    finally:
        _visible.reset(token)


_RESTS, _IMAGES = IdentificationImage.__table__, Image.__table__
"""As tables, not as entities: the rule on images would hold within the rule on identifications, too."""


def only_visible(state: ORMExecuteState) -> None:
    """Add the rule to a statement, before it is executed."""
    limits = _visible.get()
    if limits is None or limits.collections is None or not state.is_select or state.is_column_load:
        return
    ids = sorted(limits.collections)
    elsewhere = select(_RESTS.c.identification_id).join(_IMAGES, _IMAGES.c.id == _RESTS.c.image_id)
    elsewhere = elsewhere.where(_IMAGES.c.collection_id.not_in(ids))
    here = select(Image.identity_id).where(Image.collection_id.in_(ids))
    state.statement = state.statement.options(
        with_loader_criteria(Image, Image.collection_id.in_(ids), include_aliases=True),
        with_loader_criteria(Identity, Identity.id.in_(here), include_aliases=True),
        with_loader_criteria(Collection, Collection.id.in_(ids), include_aliases=True),
        with_loader_criteria(AssociationRun, AssociationRun.collection_id.in_(ids), include_aliases=True),
        with_loader_criteria(Query, Query.key_id == limits.key_id, include_aliases=True),
        with_loader_criteria(Identification, Identification.id.not_in(elsewhere), include_aliases=True),
        with_loader_criteria(Job, Job.key_id == limits.key_id, include_aliases=True),
    )
