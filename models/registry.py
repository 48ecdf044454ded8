"""Which class builds the network of which method."""

from collections.abc import Callable
from typing import TypeVar

from models.encoder import EncoderSpec, PersonEncoder
from models.errors import CheckpointError

E = TypeVar("E", bound=PersonEncoder)

_METHODS: dict[str, type[PersonEncoder]] = {}


def register(method: str) -> Callable[[type[E]], type[E]]:
    """Class decorator: `build` makes this class for specs whose `method` is the given name."""

    def add(network: type[E]) -> type[E]:
        if method in _METHODS:
            raise ValueError(f"method {method!r} is registered twice")
        _METHODS[method] = network
        return network

    return add


def methods() -> tuple[str, ...]:
    """Names of the registered methods, sorted."""
    import models.bdam
    import models.clip_baseline
    import models.hkgr
    import models.hpl
    import models.lgur  # noqa: F401  they register themselves

    return tuple(sorted(_METHODS))


def build(spec: EncoderSpec) -> PersonEncoder:
    """An encoder with fresh weights for the spec, in training mode.

    Raises:
        CheckpointError: the spec names a method that this version of Descry does not have.
    """
    if spec.method not in methods():
        raise CheckpointError(f"unknown method {spec.method!r}; this version has: {', '.join(methods())}")
    return _METHODS[spec.method](spec)
