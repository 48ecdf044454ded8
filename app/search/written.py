"""A page of an answer as the text that goes over the wire.

The database writes what is known of images and people (`SearchRepository.page`), this puts scores beside it. Objects of
the schemas are made of the text where somebody needs them: to make them for every search, to check them and to write
them again took a third of its processor time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.search.grouping import RankedIdentity
from app.search.ranking import Ranking
from app.search.schemas import ModelRef, PartScore, SearchAnswer, SearchOptions, Took, Warned
from app.search.standing import Standing

_number = float.__repr__  # of numpy's own doubles too


@dataclass(frozen=True, slots=True)
class WrittenAnswer:
    """A `SearchAnswer` as JSON, and what the server itself wants to know of it.

    Attributes:
        identities, images: ids of what it shows, in its order.
    """

    json: bytes
    query_id: str
    version_id: int
    took: Took
    identities: tuple[int, ...]
    images: tuple[int, ...]

    def read(self) -> SearchAnswer:
        """The answer, checked against its schema."""
        return SearchAnswer.model_validate_json(self.json)


@dataclass(frozen=True, slots=True)
class AnswerParts:
    """What an answer says besides its candidates."""

    query_id: str
    model: ModelRef
    options: SearchOptions
    next_cursor: str | None
    warnings: Sequence[Warned]
    took: Took


def write_answer(
    parts: AnswerParts,
    page: Sequence[RankedIdentity],
    rows: Mapping[int, tuple[str, str]],
    told: Mapping[int, list[PartScore]],
    ranking: Ranking,
    standing: Standing,
) -> WrittenAnswer:
    """Write an answer.

    Args:
        rows: each image of the page and its person as JSON, by image id (`SearchRepository.page`).
        told: how the parts of the query contributed to the best image of each candidate.
    """
    candidates = ",".join(_candidate(entry, rows, told, ranking, standing) for entry in page)
    head = {
        "query_id": parts.query_id,
        "model_version": {"id": parts.model.id, "name": parts.model.name},
        "group_by": parts.options.group_by,
    }
    rest = {
        "calibrated": ranking.calibrated,
        "weak_below": ranking.weak_below,
        "no_good_match": standing.no_good_match,
        "next_cursor": parts.next_cursor,
        "warnings": [{"code": one.code, "message": one.message} for one in parts.warnings],
        "took_ms": dict(parts.took),
    }
    text = f'{json.dumps(head)[:-1]},"candidates":[{candidates}],{json.dumps(rest)[1:]}'
    return WrittenAnswer(
        text.encode(),
        parts.query_id,
        parts.model.id,
        parts.took,
        tuple(entry.identity_id for entry in page),
        tuple(image for entry in page for image, _ in entry.images),
    )


def _candidate(
    entry: RankedIdentity,
    rows: Mapping[int, tuple[str, str]],
    told: Mapping[int, list[PartScore]],
    ranking: Ranking,
    standing: Standing,
) -> str:
    best, confidence = entry.images[0][0], standing.confidence(entry.score)
    images = ",".join(
        f'{rows[image][0][:-1]},"score":{_number(ranking.shown(score))}}}' for image, score in entry.images
    )
    parts = "null" if (own := told.get(best)) is None else f"[{','.join(part.model_dump_json() for part in own)}]"
    return (
        f'{{"identity":{rows[best][1]},"score":{_number(ranking.shown(entry.score))},'
        f'"confidence":{"null" if confidence is None else _number(confidence)},"images":[{images}],"parts":{parts}}}'
    )
