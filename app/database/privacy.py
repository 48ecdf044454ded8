"""Tables of privacy: what was erased, and how long things are kept."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables import CAMERA_CHARS, Table, UtcDateTime, now

ERASED = "(erased)"
"""What a name is replaced with in records that stay."""
_Id = BigInteger().with_variant(Integer(), "sqlite")


class Erasure(Table):
    """What was erased: numbers and times only. It is applied again to an older backup that is restored."""

    __tablename__ = "erasures"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    kind: Mapped[str] = mapped_column(String(8))
    """identity or image."""
    number: Mapped[int] = mapped_column(BigInteger)


class RetentionRule(Table):
    """How long images of a collection are kept, or those of one camera in it, which goes before."""

    __tablename__ = "retention_rules"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id"), index=True)
    camera: Mapped[str | None] = mapped_column(String(CAMERA_CHARS))
    days: Mapped[int] = mapped_column(Integer)
