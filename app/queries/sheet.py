"""The answer to a query as a file for people and programs: what was asked, for what, and who was shown."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.core import Core
from app.database.tables import now
from app.errors import ResultsTooLargeError
from app.identifications.answers import in_short
from app.identifications.schemas import NOTICE, IdentificationOut
from app.identifications.service import IdentificationService
from app.identities.repository import IdentityRepository
from app.queries.feedback import FeedbackService
from app.queries.schemas import QueryOut
from app.search.schemas import Candidate, ScoredImage, SearchAnswer, SearchOptions

Format = Literal["csv", "json", "html", "pdf"]
MEDIA: dict[Format, str] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
}
WARNING = NOTICE
"""Stands on every sheet and every page of it; whom two people have identified is named beside it."""
MOST_PICTURES = 500
"""On one sheet with pictures: some 5 MB."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What spreadsheets take for the beginning of a formula, or for something before one."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything that a file of results says.

    Attributes:
        asked: the options that this answer was made with.
        verdicts: what was said about identities as a whole, by id.
        identifications: what was said of identities as the person that was looked for, by id.
        thumbnails: JPEGs by image id; empty for formats without pictures.
    """

    query: QueryOut
    answer: SearchAnswer
    asked: SearchOptions
    made_at: datetime
    verdicts: dict[int, str]
    identifications: dict[int, IdentificationOut]
    thumbnails: dict[int, bytes]

    def heading(self) -> list[tuple[str, str]]:
        """What was asked, as (name, value) lines for people."""
        asked, answer, query = self.asked, self.answer, self.query
        lines = [
            ("Query", query.words),
            ("Saved as", query.name or ""),
            ("Purpose", query.purpose or "not stated"),
            ("Asked", moment(query.created_at)),
            ("Sheet made", moment(self.made_at)),
            ("Model version", f"{answer.model_version.name} (number {answer.model_version.id})"),
            ("Collection", asked.collection or "all"),
            ("Filters", _filters(asked)),
            ("Grouped by", answer.group_by),
            ("Shown", f"{len(answer.candidates)} candidates, best first"),
            ("Identified", self._identified()),
            ("Weak below", "" if answer.weak_below is None else f"score {answer.weak_below:.3f}"),
            ("Notes", "; ".join(warning.message for warning in answer.warnings)),
            ("Query id", query.id),
        ]
        return [(name, value) for name, value in lines if value]

    def _identified(self) -> str:
        """How many candidates two people have confirmed, if any."""
        shown = {candidate.identity.id for candidate in self.answer.candidates}
        count = sum(one.state == "confirmed" for number, one in self.identifications.items() if number in shown)
        people = f"{count} {'person' if count == 1 else 'people'}"
        return f"{people}, each confirmed by two keys; everybody else is a candidate" if count else ""

    def identification(self, candidate: Candidate) -> str:
        """What was said of a candidate as the person that was looked for; empty if nothing was."""
        found = self.identifications.get(candidate.identity.id)
        return "" if found is None else in_short(found)


def check_size(format_name: Format, asked: SearchOptions) -> None:
    """Refuse a sheet with more pictures than one takes.

    Raises:
        ResultsTooLargeError: it could have more.
    """
    each = asked.images_per_identity if asked.group_by == "identity" else 1
    if format_name in ("html", "pdf") and asked.limit * each > MOST_PICTURES:
        raise ResultsTooLargeError(
            f"{asked.limit} candidates with {each} images each may be {asked.limit * each:,} pictures; a sheet takes "
            f"{MOST_PICTURES}: lower `limit` or `images_per_identity`, or take csv or json"
        )


def make_sheet(core: Core, query: QueryOut, answer: SearchAnswer, asked: SearchOptions, format_name: Format) -> Sheet:
    """Fetch what the answer does not carry: verdicts, and thumbnails where the format shows them.

    Raises:
        StorageError, StoreUnreachableError: the pictures cannot be read.
    """
    shown = [image.id for candidate in answer.candidates for image in candidate.images]
    with core.database.read() as session:
        listed = FeedbackService(session).listed(query.id).feedback
        identifications = IdentificationService(session).of_query(query.id)
        names = {i: row.store_name for i, (row, _) in IdentityRepository(session).page(shown).items()}
    verdicts = {row.identity_id: row.verdict for row in listed if row.counts and row.image_id is None}
    found: dict[int, bytes] = {}
    if format_name in ("html", "pdf"):
        read = ((image_id, core.showing.thumbnail(name)) for image_id, name in names.items())
        found = {image_id: data for image_id, data in read if data is not None}
    judged = {number: str(verdict) for number, verdict in verdicts.items()}
    return Sheet(query, answer, asked, now(), judged, identifications, found)


def rendered(sheet: Sheet, format_name: Format) -> bytes:
    """The file."""
    if format_name == "csv":
        return as_csv(sheet).encode("utf-8-sig")  # spreadsheets take anything else for their own old encoding
    if format_name == "json":
        return as_json(sheet).encode()
    if format_name == "html":
        from app.queries.sheet_html import as_html

        return as_html(sheet).encode()
    from app.queries.sheet_pdf import as_pdf

    return as_pdf(sheet)


def as_json(sheet: Sheet) -> str:
    """Query and answer as the API gives them."""
    told: dict[str, Any] = {
        "notice": WARNING,
        "made_at": sheet.made_at.isoformat(),
        "query": sheet.query.model_dump(mode="json"),
        "answer": sheet.answer.model_dump(mode="json", exclude={"took_ms", "next_cursor"}),
        "verdicts": {str(identity_id): verdict for identity_id, verdict in sheet.verdicts.items()},
        "identifications": [
            one.model_dump(mode="json", exclude={"may", "query", "identity"}) for one in sheet.identifications.values()
        ],
    }
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


def as_csv(sheet: Sheet) -> str:
    """A line for each image of each candidate. No cell can be taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    lines = list(_lines(sheet))
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerow([_cell(line[name]) for name in COLUMNS])
    return out.getvalue()


COLUMNS = (
    "rank",
    "identity_id",
    "external_id",
    "score",
    "confidence",
    "verdict",
    "identification",
    "image_id",
    "image_score",
    "collection",
    "camera",
    "captured_at",
    "track",
    "source_name",
    "description",
    "query",
    "purpose",
    "query_id",
    "model_version",
    "notice",
)


def _lines(sheet: Sheet) -> Iterator[dict[str, Any]]:
    for rank, candidate in enumerate(sheet.answer.candidates, start=1):
        said = sheet.identifications.get(candidate.identity.id)
        for image in candidate.images:
            rests = said is not None and image.id in said.image_ids  # one says nothing of a person's other images
            yield {
                "rank": rank,
                "identity_id": candidate.identity.id,
                "external_id": candidate.identity.external_id,
                "score": candidate.score,
                "confidence": candidate.confidence,
                "verdict": sheet.verdicts.get(candidate.identity.id),
                "identification": said.state if rests and said else None,
                "image_id": image.id,
                "image_score": image.score,
                "collection": image.collection,
                "camera": image.camera,
                "captured_at": None if image.captured_at is None else image.captured_at.isoformat(),
                "track": image.track,
                "source_name": image.source_name,
                "description": image.description,
                "query": sheet.query.words,
                "purpose": sheet.query.purpose,
                "query_id": sheet.query.id,
                "model_version": sheet.answer.model_version.name,
                "notice": said.notice if rests and said else WARNING,
            }


def _cell(value: object) -> object:
    """Numbers as they are. Text that would be a formula gets an apostrophe, which spreadsheets take for "text"."""
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "")
    return f"'{text}" if text.lstrip(" \u00a0\ufeff").startswith(_FORMULA) else text


def _filters(asked: SearchOptions) -> str:
    if asked.filters is None:
        return "none"
    told = asked.filters.model_dump(mode="json", exclude_none=True)
    return "; ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in told.items()) or "none"


def moment(at: datetime) -> str:
    """An instant for people, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def named(candidate: Candidate) -> str:
    """What a candidate is called."""
    return candidate.identity.external_id or f"unnamed {candidate.identity.id}"


def figures(candidate: Candidate) -> str:
    """Score and confidence for people."""
    sure = "" if candidate.confidence is None else f", confidence {_percent(candidate.confidence)}"
    return f"score {candidate.score:.3f}{sure}"


def caption(image: ScoredImage) -> list[str]:
    """The lines below a picture: score, camera, time, number."""
    at = "" if image.captured_at is None else moment(image.captured_at)
    return [line for line in (f"score {image.score:.3f}", image.camera or "", at, f"image {image.id}") if line]


def _percent(share: float) -> str:
    """Never 0 nor 100 %: nobody knows that."""
    return "below 1%" if share < 0.01 else "above 99%" if share > 0.99 else f"{share:.0%}"
