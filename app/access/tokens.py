"""What a key looks like. Only its hash is kept: whoever reads the database learns no key."""

import hashlib
import re
import secrets
from dataclasses import dataclass

_FORM = re.compile(r"descry_([a-z0-9]{8})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Token:
    """A key as its holder has it: `descry_PREFIX_SECRET`, 256 random bits.

    Attributes:
        text: the whole of it; shown once.
        prefix: by which people tell keys apart, and the database finds them.
    """

    text: str
    prefix: str

    @classmethod
    def new(cls) -> "Token":
        """A fresh one."""
        prefix = secrets.token_hex(4)
        return cls(f"descry_{prefix}_{secrets.token_urlsafe(32)}", prefix)

    @classmethod
    def parse(cls, text: str) -> "Token | None":
        """The token that a text is, if it has the form of one."""
        found = _FORM.fullmatch(text)
        return None if found is None else cls(text, found[1])

    @property
    def digest(self) -> str:
        """SHA-256 of it, as hex. A slow hash is for what people choose; this cannot be guessed."""
        return hashlib.sha256(self.text.encode()).hexdigest()
