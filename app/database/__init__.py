"""Tables, sessions and the migration runner: the truth that every index is a view of."""

from app.database import privacy

__all__ = ["privacy"]
