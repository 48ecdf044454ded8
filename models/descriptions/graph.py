"""The scene graph of one description (methods.md 6.1)."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

Level = Literal["object", "attribute", "relation"]
LEVELS: tuple[Level, ...] = ("object", "attribute", "relation")


class Described(Protocol):
    """A description with the places of its phrases: a graph, or a row of a file of parsed captions."""

    @property
    def text(self) -> str:
        """The description."""

    def spans(self, level: Level, *, determiners: bool = False) -> "tuple[Span, ...]":
        """The spans of a level, in the order of the text, each once."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters [start, end) of the description."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a span needs 0 <= start < end, got {self.start} and {self.end}")

    def of(self, text: str) -> str:
        """The characters themselves."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Entity:
    """A thing or a person.

    Attributes:
        head: the noun.
        attributes: what it is like, in the order of the text.
        determiner: its article or number, which HKGR's figure counts as an attribute.
        negation: the word that says that there is none: "no" hat, "without" a bag, is "not" wearing glasses.
    """

    head: Span
    attributes: tuple[Span, ...] = ()
    determiner: Span | None = None
    negation: Span | None = None

    @property
    def extent(self) -> Span:
        """From the first to the last character of determiner, attributes and head; the negation stays outside."""
        parts = [self.head, *self.attributes, *([self.determiner] if self.determiner else [])]
        return Span(min(part.start for part in parts), max(part.end for part in parts))


@dataclass(frozen=True, slots=True)
class Relation:
    """How one entity relates to another: "wearing", "in front of". Entities are numbered as in `SceneGraph`.

    Attributes:
        subject: None where the text names none ("wearing a red hat", "she has ...").
        object: None where the verb has none ("he is standing").
    """

    span: Span
    subject: int | None
    object: int | None


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """Everything that was found in one description."""

    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()

    @property
    def absent(self) -> tuple[Entity, ...]:
        """What the text says is not there."""
        return tuple(entity for entity in self.entities if entity.negation is not None)

    def spans(self, level: Level, *, determiners: bool = False) -> tuple[Span, ...]:
        """The spans of a level, in the order of the text, each once.

        Args:
            determiners: count articles and numbers as attributes, as HKGR's figure does.
        """
        found: set[Span] = set()
        if level == "object":
            found.update(entity.head for entity in self.entities)
        elif level == "relation":
            found.update(relation.span for relation in self.relations)
        else:
            for entity in self.entities:
                found.update(entity.attributes)
                if determiners and entity.determiner is not None:
                    found.add(entity.determiner)
        return tuple(sorted(found))

    def phrases(self, level: Level, *, determiners: bool = False) -> tuple[str, ...]:
        """The words of `spans`."""
        return tuple(span.of(self.text) for span in self.spans(level, determiners=determiners))

    def to_row(self, *, determiners: bool = False) -> dict[str, Any]:
        """A row of the file `<set>_parsed_captions.json`: phrases by level, and their places.

        `spans.determiner` has the determiners, whether or not they are counted as attributes.
        """
        row: dict[str, Any] = {level: list(self.phrases(level, determiners=determiners)) for level in LEVELS}
        places: dict[str, tuple[Span, ...]] = {level: self.spans(level, determiners=determiners) for level in LEVELS}
        places["determiner"] = tuple(sorted({entity.determiner for entity in self.entities if entity.determiner}))
        row["spans"] = {name: [[span.start, span.end] for span in found] for name, found in places.items()}
        return row
