"""All vectors from one engine to the other, version by version."""

from collections.abc import Callable, Iterator
from contextlib import closing

from app.core import Core
from app.registry.repository import ModelRepository
from app.vectors.engines import EngineName, open_engine
from app.vectors.migration import Moved, move_view
from app.vectors.repository import LogRepository
from app.vectors.view import Progress

OTHER: dict[EngineName, EngineName] = {"milvus": "faiss", "faiss": "milvus"}


def migrate(
    core: Core, to: EngineName, *, remove_old: bool, progress: Callable[[str, int], Progress]
) -> Iterator[Moved]:
    """Load every version that has vectors into an engine, and compare its answers with the other engine's.

    It may be killed and called again: what is loaded already is not loaded twice. The service may go on meanwhile.

    Args:
        remove_old: remove what the other engine keeps, when all versions are compared.
        progress: told what is loaded and how many vectors that are; gives what is told how far it is.

    Raises:
        EnginesDifferError: they do not answer alike.
        VectorStoreError, VectorStoreInUseError: Milvus cannot be asked.
    """
    with core.database.read() as session:
        models = ModelRepository(session)
        versions = [row.id for row in models.all() if row.retired_at is None and models.has_vectors(row.id)]
        history = LogRepository(session).head().history
    with closing(open_engine(core.settings, to)) as new, closing(open_engine(core.settings, OTHER[to])) as old:
        for version_id in versions:
            before = core.active.views(version_id, old)
            for space, view in core.active.views(version_id, new).items():
                told = progress(f"version {version_id}, {space}", view.stored())
                yield move_view(core.database, before[space], view, told)
        if remove_old:
            for version_id in versions:
                old.forget(version_id, history)
