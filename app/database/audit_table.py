"""The table of the audit: one row for each access, each bound to the one before by a hash."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect, Index, Integer, String, Text, TypeDecorator
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables import Table, UtcDateTime

ACTOR_CHARS, WORD_CHARS = 250, 64


class Numbers(TypeDecorator[list[int]]):
    """Ids as text `,3,17,`: which entries name an id is then found by LIKE, alike on every database."""

    impl = Text()
    cache_ok = True

    def process_bind_param(self, value: list[int] | None, dialect: Dialect) -> str:
        """Commas on both sides of each number."""
        return f",{','.join(map(str, value))}," if value else ""

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[int]:
        """The numbers again; what somebody has put there instead is left for the verification to find."""
        return [int(part) if part.isdecimal() else -1 for part in (value or "").strip(",").split(",") if part]


class AuditEntry(Table):
    """One access. Everything but `words` and `salt` is covered by `hash`, and they by `words_sha256`."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "at"),)

    sequence: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
    )
    """1, 2, 3, ... without gaps."""
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    key_id: Mapped[int | None] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(String(ACTOR_CHARS))
    """Name of the key, "open", "cli:USER", or "unknown" of who was refused without a valid key."""
    action: Mapped[str] = mapped_column(String(WORD_CHARS))
    outcome: Mapped[str] = mapped_column(String(WORD_CHARS))
    """"ok", or the code of the error."""
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    """target, request, version, collection (an id): nothing that a person wrote."""
    identity_ids: Mapped[list[int]] = mapped_column(Numbers)
    image_ids: Mapped[list[int]] = mapped_column(Numbers)
    """What was returned, or changed."""
    words: Mapped[str | None] = mapped_column(Text)
    """JSON of what people wrote: query, filters, collection, purpose, address. It can be emptied; so must be `salt`."""
    salt: Mapped[str | None] = mapped_column(String(32))
    words_sha256: Mapped[str | None] = mapped_column(String(64))
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
