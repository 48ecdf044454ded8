"""Tables of identifications: what one person proposed and another one confirmed, and the images it rests on."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables import PURPOSE_CHARS, Table, UtcDateTime, now

_Id = BigInteger().with_variant(Integer(), "sqlite")


class Identification(Table):
    """That somebody in the gallery is the person whom a query looked for. It goes with the last of its images.

    Keys, query and identity are numbers only: what was done stays true when they are gone.
    """

    __tablename__ = "identifications"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    query_id: Mapped[str] = mapped_column(String(32), index=True)
    identity_id: Mapped[int] = mapped_column(BigInteger, index=True)
    """The person now: who has the images."""
    proposed_identity_id: Mapped[int] = mapped_column(BigInteger)
    """The person as it was called when it was proposed."""
    purpose: Mapped[str] = mapped_column(String(PURPOSE_CHARS))
    state: Mapped[str] = mapped_column(String(16), index=True)
    """proposed, confirmed, refused, withdrawn or lapsed; one that ran out stays `proposed` here (`expires_at`)."""
    proposed_by: Mapped[int] = mapped_column(BigInteger)
    """The access key, whatever its secret is now."""
    proposed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    note: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Until when it can be confirmed."""
    decided_by: Mapped[int | None] = mapped_column(BigInteger)
    """The other key, which confirmed or refused."""
    decided_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decision_note: Mapped[str | None] = mapped_column(Text)
    ended_by: Mapped[int | None] = mapped_column(BigInteger)
    """The key that withdrew it; null where it lapsed."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    end_note: Mapped[str | None] = mapped_column(Text)
    lapsed_because: Mapped[str | None] = mapped_column(String(32))


class IdentificationImage(Table):
    """An image that an identification rests on."""

    __tablename__ = "identification_images"

    identification_id: Mapped[int] = mapped_column(ForeignKey("identifications.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, index=True)
