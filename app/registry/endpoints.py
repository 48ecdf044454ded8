"""/v1/models."""

from fastapi import APIRouter

from app.dependencies import CoreDep, Id
from app.errors import ModelIncompleteError, ModelNotFoundError, responses
from app.registry.schemas import ModelList, ModelOut
from app.registry.service import ModelService

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
def list_models(core: CoreDep) -> ModelList:
    """Every model version."""
    with core.database.read() as session:
        return ModelList(models=ModelService(session, core.settings.models_dir).all())


@router.post("/{version_id}/activate", responses=responses(ModelNotFoundError, ModelIncompleteError))
def activate_model(version_id: Id, core: CoreDep) -> ModelOut:
    """Let a version answer from now on. The gallery must be encoded for it: `descry models activate` does both."""
    core.switch(version_id)
    with core.database.read() as session:
        models = ModelService(session, core.settings.models_dir)
        return models.describe(models.find(version_id))
