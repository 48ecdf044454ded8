"""/v1/gallery."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.dependencies import CoreDep
from app.errors import CollectionNotFoundError, responses
from app.gallery.facets import facets
from app.gallery.repository import ImageRepository
from app.gallery.schemas import Facets, GallerySummary
from app.identities.repository import IdentityRepository
from app.search.schemas import ModelRef

router = APIRouter(prefix="/v1/gallery", tags=["gallery"])


@router.get("")
def get_gallery(core: CoreDep) -> GallerySummary:
    """How many people and images the gallery holds, and which model version answers."""
    loaded = core.active.loaded
    with core.database.read() as session:
        return GallerySummary(
            identities=IdentityRepository(session).count(),
            images=ImageRepository(session).count(),
            model_version=ModelRef(id=loaded.version_id, name=loaded.name) if loaded else None,
            heads_blurred=core.showing.blurred,
        )


@router.get("/facets", responses=responses(CollectionNotFoundError))
def get_facets(
    core: CoreDep,
    collection: Annotated[str | None, Query(description="Of this collection only, by its name.")] = None,
) -> Facets:
    """What a search can be filtered by: cameras, time, and attributes with values that images have."""
    with core.database.read() as session:
        return facets(session, collection, core.settings.protected_attributes)
