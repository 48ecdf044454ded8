"""/v1/admin/retention."""

from fastapi import APIRouter

from app.dependencies import CoreDep
from app.errors import CollectionNotFoundError, InvalidError, responses
from app.retention.schemas import NewRetentionRules, RetentionRules
from app.retention.service import RetentionService

router = APIRouter(prefix="/v1/admin/retention", tags=["privacy"])


@router.get("")
def get_retention(core: CoreDep) -> RetentionRules:
    """How long images are kept, and how many the next round of the housekeeping erases."""
    with core.database.read() as session:
        return RetentionService(session).all()


@router.put("", responses=responses(CollectionNotFoundError, InvalidError))
def put_retention(body: NewRetentionRules, core: CoreDep) -> RetentionRules:
    """Set every rule. What is due by them is erased within a minute, and cannot be brought back."""
    with core.database.write() as session:
        RetentionService(session).replace(body.rules)
        return RetentionService(session).all()
