"""Who makes a request."""

from dataclasses import dataclass, field

from app.access.rules import SCOPES, Need, granted
from app.database.visible import Visible
from app.errors import ScopeMissingError


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a key; or, where there is no key yet, whoever reaches the server from its own machine.

    Attributes:
        key_id: None in open mode and at the command line.
        name: of the key; "open", or "cli:USER".
        scopes: of `SCOPES`.
        collections: ids that the key is limited to; None: all.
    """

    key_id: int | None
    name: str
    scopes: frozenset[str]
    collections: frozenset[int] | None = field(default=None)

    @property
    def visible(self) -> Visible | None:
        """What the holder can see; None without a key: all."""
        return None if self.key_id is None else Visible(self.key_id, self.collections)

    def require(self, need: Need) -> None:
        """Refuse what the key may not do.

        Raises:
            ScopeMissingError: it lacks the scope.
        """
        if not granted(need, self.scopes):
            raise ScopeMissingError(
                f"this needs a key with the scope {need.value!r}; the key {self.name!r} has "
                f"{', '.join(sorted(self.scopes)) or 'none'}"
            )


OPEN = Principal(None, "open", frozenset(SCOPES))
"""On loopback with no key created yet everyone on this machine may do everything; the answers of /v1/session say so."""
