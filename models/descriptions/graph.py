"""The scene graph of one description (methods.md 6.1)."""

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["object", "attribute", "relation"]
LEVELS: tuple[Level, ...] = ("object", "attribute", "relation")


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
    """

    head: Span
    attributes: tuple[Span, ...] = ()
    determiner: Span | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """How one entity relates to another: "wearing", "in front of". Entities are numbered as in `SceneGraph`.

    Attributes:
        subject: None where the text names none ("wearing a red hat", "she has ...").
    """

    span: Span
    subject: int | None
    object: int


@dataclass(frozen=True, slots=True)
class SceneGraph:
    """Everything that was found in one description."""

    text: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()

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
        """A row of the file `<set>_parsed_captions.json`: phrases by level, and their places."""
        row: dict[str, Any] = {level: list(self.phrases(level, determiners=determiners)) for level in LEVELS}
        row["spans"] = {
            level: [[span.start, span.end] for span in self.spans(level, determiners=determiners)] for level in LEVELS
        }
        return row
