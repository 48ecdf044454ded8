"""What the API says about keys."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.database.tables import AccessKey, Collection

ScopeName = Literal["search", "ingest", "admin"]


class KeyOut(BaseModel):
    """A key, without its secret."""

    id: int
    name: str
    prefix: str = Field(description="The part of the key that may be shown: descry_PREFIX_...")
    scopes: list[ScopeName]
    collections: list[str] | None = Field(description="Names of the collections that it is limited to; null: all.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Within a minute.")

    @classmethod
    def of(cls, row: AccessKey, collections: list[Collection]) -> "KeyOut":
        """What may be said of a row."""
        return cls(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            scopes=[scope for scope in ("search", "ingest", "admin") if scope in row.scopes],
            collections=[found.name for found in collections] if row.limited else None,
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
        )


class KeyMade(KeyOut):
    """A new key. Nobody can show `key` again."""

    key: str


class KeyList(BaseModel):
    """Every key, oldest first; revoked ones too."""

    keys: list[KeyOut]


class NewKey(BaseModel):
    """A key to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="Who or what it is for.", examples=["front desk"])
    scopes: list[ScopeName] = Field(min_length=1)
    collections: list[str] | None = Field(default=None, min_length=1, description="Limit it to these; null: all.")
    expires_at: datetime | None = Field(default=None, description="With a time zone; null: it does not expire.")


class SessionOut(BaseModel):
    """Who makes this request."""

    open: bool = Field(description="No key was created yet: everyone on this machine may do everything.")
    key_id: int | None = Field(description="Id of the key; null in open mode.")
    name: str
    scopes: list[ScopeName]
    collections: list[str] | None
    purpose_required: bool = Field(description="A search must say what it is for.")
    purpose_free_collections: list[str] = Field(description="But not one within one of these collections.")
