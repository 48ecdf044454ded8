"""Parsed captions on disk: `<set>_parsed_captions.json` (methods.md 6.1).

A JSON list with one row for each image-text pair, in the order of `training.records.pairs_of`. A row has the lists of
phrases `object`, `attribute` and `relation`. Files that Descry writes also have `caption`, the text that was parsed,
and `spans`, the places of the phrases in it. Files of other parsers may lack both; places are then found by looking for
the phrases in the caption.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from models.descriptions import SceneGraph, Span
from models.descriptions.graph import LEVELS, Level
from training.errors import ParsedCaptionsError

Parser = Callable[[str], SceneGraph]
SUFFIX = "_parsed_captions.json"
FOUND_AT_LEAST = 0.8
"""A file without captions is taken for one of other captions when fewer of its phrases than this are found."""

_Place = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class _Row(BaseModel):
    object: list[str]
    attribute: list[str]
    relation: list[str]
    caption: str | None = None
    spans: dict[str, list[_Place]] | None = None


_ROWS = TypeAdapter(list[_Row])


@dataclass(frozen=True, slots=True)
class ParsedDescription:
    """One caption with the places of its phrases: what masking needs of a scene graph, with the same methods.

    Attributes:
        unmatched: phrases of the file that the caption does not contain; only in files without places.
    """

    text: str
    levels: dict[Level, tuple[Span, ...]] = field(default_factory=dict)
    determiners: tuple[Span, ...] = ()
    unmatched: tuple[str, ...] = ()

    def spans(self, level: Level, *, determiners: bool = False) -> tuple[Span, ...]:
        """The places of a level's phrases, in the order of the text, each once; as `SceneGraph.spans`.

        Args:
            determiners: count as attributes also those determiners that the file knows and does not count itself.
        """
        found = self.levels.get(level, ())
        if level == "attribute" and determiners:
            return tuple(sorted({*found, *self.determiners}))
        return found

    def phrases(self, level: Level, *, determiners: bool = False) -> tuple[str, ...]:
        """The words of `spans`."""
        return tuple(span.of(self.text) for span in self.spans(level, determiners=determiners))


def write_parsed(path: Path, graphs: Iterable[SceneGraph], *, determiners: bool = False) -> None:
    """Write the file, whole or not at all.

    Args:
        graphs: of the captions, in the order of the pairs.
        determiners: count articles and numbers as attributes, as HKGR's figure does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex[:8]}.partial")
    try:
        with part.open("w", encoding="utf-8") as file:
            for number, graph in enumerate(graphs):
                row = {"caption": graph.text} | graph.to_row(determiners=determiners)
                file.write(("[\n" if number == 0 else ",\n") + json.dumps(row, ensure_ascii=False))
            file.write("\n]\n" if file.tell() else "[]\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load_parsed(path: Path, captions: Sequence[str], *, subset: bool = False) -> list[ParsedDescription]:
    """The parsed captions of a split's pairs, one for each of `captions` and in their order.

    Args:
        captions: the texts of `pairs_of(records)`.
        subset: accept a file of more captions than these, as when a validation split was carved out of train or images
            are missing; rows are then found by their `caption`, which the file must have.

    Raises:
        ParsedCaptionsError: the file is missing or malformed, has another number of rows or other captions, has spans
            that are not its phrases, or (without captions) phrases of which too few are found.
    """
    rows = _read(path)
    if subset:
        rows = _chosen(rows, captions, path)
    if len(rows) != len(captions):
        raise ParsedCaptionsError(
            f"{path} has {len(rows):,} rows for {len(captions):,} captions; parse this data set's captions again"
        )
    parsed = [_parsed(row, text, f"{path}, row {n}") for n, (row, text) in enumerate(zip(rows, captions, strict=True))]
    _check_found(rows, parsed, path)
    return parsed


def _read(path: Path) -> list[_Row]:
    try:
        return _ROWS.validate_json(path.read_bytes())
    except OSError as error:
        raise ParsedCaptionsError(
            f"{path} cannot be read: {error.strerror}; `python -m training parse` makes it"
        ) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ", ".join(str(part) for part in first["loc"])
        where = f"row {place}: " if place else ""
        raise ParsedCaptionsError(f"{path} is no file of parsed captions: {where}{first['msg']}") from error


def _chosen(rows: Sequence[_Row], captions: Sequence[str], path: Path) -> list[_Row]:
    by_caption = {row.caption: row for row in rows if row.caption is not None}
    missing = [text for text in captions if text not in by_caption]
    if missing:
        raise ParsedCaptionsError(f"{path} has no row for {len(missing):,} captions, such as {missing[0][:80]!r}")
    return [by_caption[text] for text in captions]


def _parsed(row: _Row, text: str, where: str) -> ParsedDescription:
    if row.caption is not None and row.caption.strip() != text.strip():
        raise ParsedCaptionsError(
            f"{where} is of the caption {row.caption[:60]!r}, the data set has {text[:60]!r} there; parse it again"
        )
    phrases: dict[Level, list[str]] = {"object": row.object, "attribute": row.attribute, "relation": row.relation}
    if row.spans is not None:
        if row.caption is not None and row.caption != text:
            raise ParsedCaptionsError(f"{where}: its spans are of a caption with other white space around it")
        places = row.spans
        levels = {level: _placed(places.get(level, []), phrases[level], text, f"{where}, {level}") for level in LEVELS}
        return ParsedDescription(text, levels, _placed(places.get("determiner", []), None, text, where))
    levels, unmatched = {}, []
    for level in LEVELS:
        found = {phrase: _matches(phrase, text) for phrase in phrases[level]}
        levels[level] = tuple(sorted({span for spans in found.values() for span in spans}))
        unmatched += [phrase for phrase, spans in found.items() if not spans]
    return ParsedDescription(text, levels, unmatched=tuple(unmatched))


def _placed(
    places: Sequence[tuple[int, int]], phrases: Sequence[str] | None, text: str, where: str
) -> tuple[Span, ...]:
    outside = [place for place in places if not place[0] < place[1] <= len(text)]
    if outside:
        raise ParsedCaptionsError(f"{where}: the span {list(outside[0])} is not within the {len(text)} characters")
    spans = [Span(*place) for place in places]
    if phrases is not None and [span.of(text) for span in spans] != list(phrases):
        raise ParsedCaptionsError(f"{where}: the spans are not those of the phrases {phrases}")
    return tuple(sorted(set(spans)))


def _matches(phrase: str, text: str) -> list[Span]:
    """Everywhere that a phrase stands as whole words, whatever the case and the white space: HKGR masks all places."""
    words = phrase.split()
    if not words:
        return []
    pattern = r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)"
    return [Span(*match.span()) for match in re.finditer(pattern, text, re.IGNORECASE)]


def _check_found(rows: Sequence[_Row], parsed: Sequence[ParsedDescription], path: Path) -> None:
    """Without captions in the file only the phrases show whether it is of these captions."""
    sought = [(row, one) for row, one in zip(rows, parsed, strict=True) if row.spans is None and row.caption is None]
    total = sum(len({*row.object}) + len({*row.attribute}) + len({*row.relation}) for row, _ in sought)
    lost = [(one.text, phrase) for _, one in sought for phrase in one.unmatched]
    if total and 1 - len(lost) / total < FOUND_AT_LEAST:
        text, phrase = lost[0]
        raise ParsedCaptionsError(
            f"{path} seems to be of other captions, or in another order: {len(lost):,} of its {total:,} phrases are "
            f"not in their captions, such as {phrase[:40]!r} in {text[:60]!r}"
        )


def summary(parsed: Sequence[ParsedDescription]) -> dict[str, Any]:
    """How much was found, for people: captions, phrases by level, captions without any, phrases without a place."""
    counts: dict[str, Any] = {level: sum(len(one.spans(level)) for one in parsed) for level in LEVELS}
    empty = sum(not any(one.spans(level) for level in LEVELS) for one in parsed)
    return {"captions": len(parsed), **counts, "empty": empty, "unmatched": sum(len(one.unmatched) for one in parsed)}
