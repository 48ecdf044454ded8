"""What the API says of the audit."""

import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from app.audit.chain import Head, Verifier
from app.database.audit_table import AuditEntry


class AuditEntryOut(BaseModel):
    """One access."""

    sequence: int
    at: datetime
    key_id: int | None = Field(description="Null in open mode, at the command line, and for who is not known.")
    actor: str = Field(description="Name of the key, `open`, `cli:USER`, or `unknown`.")
    action: str = Field(examples=["search.text"])
    outcome: str = Field(description="`ok`, or the code of the error that was answered.")
    facts: dict[str, Any] = Field(description="target, request, version, collection, ...: nothing personal.")
    identity_ids: list[int]
    image_ids: list[int]
    words: dict[str, Any] | None = Field(description="What people wrote; null where nothing was, or it was erased.")
    words_erased: bool
    words_sha256: str | None
    previous: str
    hash: str

    @classmethod
    def of(cls, row: AuditEntry) -> "AuditEntryOut":
        """A row, as it is told."""
        return cls(
            sequence=row.sequence,
            at=row.at,
            key_id=row.key_id,
            actor=row.actor,
            action=row.action,
            outcome=row.outcome,
            facts=row.facts,
            identity_ids=row.identity_ids,
            image_ids=row.image_ids,
            words=_words(row.words),
            words_erased=row.words is None and row.words_sha256 is not None,
            words_sha256=row.words_sha256,
            previous=row.previous,
            hash=row.hash,
        )


def _words(text: str | None) -> dict[str, Any] | None:
    try:
        found = None if text is None else json.loads(text)
        if text is not None and "\\ud" in text:  # half a character, of a path or an argument that is no text
            found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
    except ValueError:  # somebody has changed it; the verification says so
        return {"unreadable": True}
    return found if found is None or isinstance(found, dict) else {"unreadable": True}


class AuditPage(BaseModel):
    """Entries, newest first."""

    entries: list[AuditEntryOut]
    next_before: int | None


class AuditProblem(BaseModel):
    """Something that was done to the entries."""

    sequence: int
    kind: str = Field(
        description="changed, words_changed, missing, inserted, moved, link_broken, truncated, head_differs or "
        "head_removed."
    )
    message: str


class AuditVerification(BaseModel):
    """Whether the chain is whole."""

    whole: bool
    entries: int
    erased: int = Field(description="Entries whose words were erased; that is no problem.")
    removed: int = Field(
        description="Entries 1 to this one were removed by rule, as an entry of the chain says; else 0."
    )
    head: str = Field(description="SEQUENCE:HASH of the last entry. Note it elsewhere: it shows a cut later.")
    problems: list[AuditProblem] = Field(description="The first hundred.")

    @classmethod
    def of(cls, found: Verifier) -> "AuditVerification":
        """What was found."""
        problems = [AuditProblem(sequence=one.sequence, kind=one.kind, message=one.message) for one in found.problems]
        return cls(
            whole=not problems,
            entries=found.count,
            erased=found.erased,
            removed=found.begun.sequence,
            head=str(found.head),
            problems=problems,
        )


def head_line(head: Head) -> str:
    """The last line of an export."""
    return json.dumps({"head": str(head)})
