"""/v1/collections."""

from fastapi import APIRouter, status

from app.collections.schemas import CollectionList, CollectionOut, NewCollection
from app.collections.service import CollectionService
from app.dependencies import CoreDep
from app.errors import CollectionNameError, CollectionNameTakenError, responses

router = APIRouter(prefix="/v1/collections", tags=["collections"])


@router.get("")
def list_collections(core: CoreDep) -> CollectionList:
    """Every collection with the number of its images."""
    with core.database.read() as session:
        return CollectionList(collections=CollectionService(session).all())


@router.post(
    "", status_code=status.HTTP_201_CREATED, responses=responses(CollectionNameTakenError, CollectionNameError)
)
def create_collection(body: NewCollection, core: CoreDep) -> CollectionOut:
    """Make an empty collection. An ingest that names a new one makes it too."""
    with core.database.write() as session:
        return CollectionService(session).create(body.name)
