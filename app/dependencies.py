"""What endpoints depend on, as types."""

from typing import Annotated

from fastapi import Depends, Path, Request

from app.core import Core


async def _core(request: Request) -> Core:  # not `def`: those are called in another thread
    core: Core = request.app.state.core
    return core


CoreDep = Annotated[Core, Depends(_core)]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
