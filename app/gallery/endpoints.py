"""/v1/gallery."""

from fastapi import APIRouter

from app.dependencies import CoreDep
from app.gallery.repository import ImageRepository
from app.gallery.schemas import GallerySummary
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
        )
