"""The table of the audit: one row for each access, each bound to the one before by a hash."""

from collections.abc import Callable
from datetime import UTC, datetime
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

    def process_result_value(self, value: object, dialect: Dialect) -> list[int]:
        """The numbers again; what somebody has put there instead is left for the verification to find."""
        parts = ("" if value is None else str(value)).strip(",").split(",")
        return [int(part) if part.isdecimal() else -1 for part in parts if part]


Processor = Callable[[Any], Any]


def _tolerant(read: Processor | None, unreadable: object) -> Processor | None:
    """Read a column; what cannot be read is a value that no entry has, and no error.

    SQLite keeps anything in any column. Whoever changed one entry by hand must not keep all others from being verified.
    """
    if read is None:
        return None

    def tried(value: Any) -> Any:  # noqa: ANN401  whatever lies in the column
        try:
            return read(value)
        except (ValueError, TypeError, OverflowError):
            return unreadable

    return tried


class Facts(TypeDecorator[dict[str, Any]]):
    """A JSON object."""

    impl = JSON()
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor | None:
        """As JSON; "unreadable" where it is none."""
        return _tolerant(super().result_processor(dialect, coltype), {"unreadable": True})

    def process_result_value(self, value: object, dialect: Dialect) -> dict[str, Any]:
        """An object, whatever it is."""
        return value if isinstance(value, dict) else {"unreadable": True}


class Instant(UtcDateTime):
    """An instant; the first one of all where it is none."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Processor | None:
        """As `UtcDateTime`."""
        return _tolerant(super().result_processor(dialect, coltype), datetime.min.replace(tzinfo=UTC))


class Number(TypeDecorator[int]):
    """A number, or -1."""

    impl = BigInteger()
    cache_ok = True

    def process_result_value(self, value: object, dialect: Dialect) -> int | None:
        """Also of what is none."""
        return value if value is None or isinstance(value, int) else -1


class Name(TypeDecorator[str]):
    """A short text."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: object, dialect: Dialect) -> str | None:
        """Also of what is none, such as bytes."""
        return value if value is None or isinstance(value, str) else repr(value)


class Words(Name):
    """A long one."""

    impl = Text
    cache_ok = True


class AuditEntry(Table):
    """One access. Everything but `words` and `salt` is covered by `hash`, and they by `words_sha256`."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "at"),)

    sequence: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
    )
    """1, 2, 3, ... without gaps."""
    at: Mapped[datetime] = mapped_column(Instant)
    key_id: Mapped[int | None] = mapped_column(Number)
    actor: Mapped[str] = mapped_column(Name(ACTOR_CHARS))
    """Name of the key, "open", "cli:USER", or "unknown" of who was refused without a valid key."""
    action: Mapped[str] = mapped_column(Name(WORD_CHARS))
    outcome: Mapped[str] = mapped_column(Name(WORD_CHARS))
    """"ok", or the code of the error."""
    facts: Mapped[dict[str, Any]] = mapped_column(Facts)
    """target, request, version, collection (an id): nothing that a person wrote."""
    identity_ids: Mapped[list[int]] = mapped_column(Numbers)
    image_ids: Mapped[list[int]] = mapped_column(Numbers)
    """What was returned, or changed."""
    words: Mapped[str | None] = mapped_column(Words)
    """JSON of what people wrote: query, filters, collection, purpose, address. It can be emptied; so must be `salt`."""
    salt: Mapped[str | None] = mapped_column(Name(32))
    words_sha256: Mapped[str | None] = mapped_column(Name(64))
    previous: Mapped[str] = mapped_column(Name(64))
    hash: Mapped[str] = mapped_column(Name(64))
