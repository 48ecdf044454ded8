"""What endpoints depend on, as types."""

from typing import Annotated

from fastapi import Depends, Path, Request

from app.access.principal import Principal
from app.core import Core


async def _core(request: Request) -> Core:  # not `def`: those are called in another thread
    core: Core = request.app.state.core
    return core


def _principal(request: Request) -> Principal:
    principal: Principal = request.state.principal
    return principal


CoreDep = Annotated[Core, Depends(_core)]
PrincipalDep = Annotated[Principal, Depends(_principal)]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
