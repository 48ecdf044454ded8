"""Keys within one unit of work."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.access.principal import Principal
from app.access.repository import KeyRepository
from app.access.schemas import KeyMade, KeyOut, NewKey
from app.access.tokens import Token
from app.collections.service import CollectionService
from app.database.tables import NAME_CHARS, AccessKey, now
from app.errors import KeyExpiredError, KeyInvalidError, KeyNotFoundError, KeyRefusedError, KeyRevokedError
from app.identifications.repository import IdentificationRepository
from app.values import check_text


class KeyService:
    """Makes, finds and revokes keys. What changes them belongs into a `Database.write` block."""

    def __init__(self, session: Session) -> None:
        self._session, self._keys = session, KeyRepository(session)

    def create(self, new: NewKey) -> KeyMade:
        """Make a key. Its secret is in the answer, and nowhere else.

        Raises:
            KeyRefusedError: the name is empty or cannot be shown, or the time is over already.
            CollectionNotFoundError: a collection does not exist.
        """
        try:
            name = check_text(new.name, "name", NAME_CHARS)
        except ValueError as error:
            raise KeyRefusedError(f"this cannot be the name of a key: {error}") from None
        if name is None or not name.isprintable():
            raise KeyRefusedError("a key needs a name that can be read, so that it can be told from others")
        if new.expires_at is not None and (new.expires_at.tzinfo is None or new.expires_at <= now()):
            raise KeyRefusedError("expires_at must lie in the future and name its time zone")
        if new.collections is not None and "admin" in new.scopes:
            raise KeyRefusedError("a key with the scope admin cannot be limited to collections: it can make others")
        ids = [CollectionService(self._session).find(one) for one in new.collections or ()]
        token = Token.new()
        values = {
            "name": name,
            "prefix": token.prefix,
            "digest": token.digest,
            "scopes": sorted(set(new.scopes)),
            "limited": new.collections is not None,
            "expires_at": new.expires_at,
        }
        key_id = self._keys.add(values, sorted(set(ids)))
        return KeyMade(**self.get(key_id).model_dump(), key=token.text)

    def rotate(self, key_id: int) -> KeyMade:
        """Give a key a new secret; the one before ends at once.

        Raises:
            KeyNotFoundError: none has the id.
            KeyRefusedError: it was revoked.
        """
        row = self._found(key_id)
        if row.revoked_at is not None:
            raise KeyRefusedError(f"key {key_id} was revoked; make a new one")
        token = Token.new()
        self._keys.replace(key_id, token.prefix, token.digest)
        self._session.refresh(row)
        return KeyMade(**self.get(key_id).model_dump(), key=token.text)

    def revoke(self, key_id: int) -> KeyOut:
        """End a key, and what it has proposed and nobody has confirmed. Doing it twice does no harm.

        Raises:
            KeyNotFoundError: none has the id.
        """
        row = self._found(key_id)
        self._keys.revoke(key_id, now())
        IdentificationRepository(self._session).key_revoked(key_id)
        self._session.refresh(row)
        return self.get(key_id)

    def standing(self, key_id: int | None, at: datetime) -> str | None:
        """What stays the same while whoever was let in may stay: the hash of their key. None: they may not any more.

        Who came without a key may stay while there is none.
        """
        if key_id is None:
            return None if self._keys.exists() else ""
        row = self._keys.find(key_id)
        ended = row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= at)
        return None if row is None or ended else row.digest

    def get(self, key_id: int) -> KeyOut:
        """One key.

        Raises:
            KeyNotFoundError: none has the id.
        """
        return KeyOut.of(self._found(key_id), self._keys.collections(key_id))

    def all(self) -> list[KeyOut]:
        """Every key, oldest first."""
        return [KeyOut.of(row, self._keys.collections(row.id)) for row in self._keys.all()]

    def _found(self, key_id: int) -> AccessKey:
        row = self._keys.find(key_id)
        if row is None:
            raise KeyNotFoundError(key_id)
        return row

    def holder(self, token: Token, at: datetime) -> Principal:
        """Whose key a token is.

        Raises:
            KeyInvalidError: nobody's; or it was revoked, or has expired.
        """
        row = self._keys.by_prefix(token.prefix)
        # The digest of 256 random bits: what its comparison takes tells nothing that helps to guess them.
        if row is None or row.digest != token.digest:
            raise KeyInvalidError("no key is like this; it may have been rotated")
        if row.revoked_at is not None:
            raise KeyRevokedError(f"the key {row.name!r} was revoked; ask an administrator for another one")
        if row.expires_at is not None and row.expires_at <= at:
            raise KeyExpiredError(f"the key {row.name!r} has expired; ask an administrator for another one")
        limits = frozenset(found.id for found in self._keys.collections(row.id)) if row.limited else None
        return Principal(row.id, row.name, frozenset(row.scopes), limits)
