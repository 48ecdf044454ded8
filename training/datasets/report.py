"""What there is to say about a data set on disk: one report, for people and for programs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from training.records import PersonData

Level = Literal["error", "missing", "warning", "note"]
NAMED = 5
"""How many examples a finding names."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a part of a data set holds; None where it is not published or does not apply."""

    identities: int | None
    images: int
    descriptions: int | None = None

    def __str__(self) -> str:
        words = (("identities", self.identities), ("images", self.images), ("descriptions", self.descriptions))
        return ", ".join(f"{value:,} {name}" for name, value in words if value is not None)

    def differs(self, published: "Size") -> bool:
        """Whether any number that is published is another one here."""
        pairs = zip(asdict(self).values(), asdict(published).values(), strict=True)
        return any(told is not None and own != told for own, told in pairs)


@dataclass(frozen=True, slots=True)
class Part:
    """A split, or the query or gallery side of one: what the data set names, and how much of it is not on disk."""

    name: str
    size: Size
    missing: int = 0
    published: Size | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        kind: stable name, such as "image_missing".
        level: "error" refuses the set; "missing" refuses it unless missing files are allowed; "warning" and "note" are
            for the reader.
        message: one sentence.
        count: how many entries, images or ids it is about.
        examples: the first few of them.
        groups: how many in each folder.
    """

    kind: str
    level: Level
    message: str
    count: int = 1
    examples: tuple[str, ...] = ()
    groups: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.level:<8} {self.message} [{self.kind}]"]
        lines += [f"           {folder}: {count:,}" for folder, count in self.groups.items()]
        if self.examples:
            lines += [f"           e.g. {example}" for example in self.examples]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What a reader found under a folder."""

    format: str
    name: str
    root: Path
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]

    def of(self, *levels: Level) -> tuple[Finding, ...]:
        """The findings of these levels."""
        return tuple(finding for finding in self.findings if finding.level in levels)

    def usable(self, *, allow_missing: bool = False) -> bool:
        """Whether the set can be trained or measured on."""
        return not (self.of("error") if allow_missing else self.of("error", "missing"))

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.usable():
            return "usable"
        if self.usable(allow_missing=True):
            return "incomplete: refused without --allow-missing, which goes on with what is there and says so"
        return "not usable"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        findings = [{**asdict(finding), "groups": dict(finding.groups)} for finding in self.findings]
        return {
            "format": self.format,
            "name": self.name,
            "root": str(self.root),
            "usable": self.usable(),
            "usable_with_allow_missing": self.usable(allow_missing=True),
            "parts": [asdict(part) for part in self.parts],
            "findings": findings,
        }

    def text(self) -> str:
        """For people: the parts, the findings, worst first, and the verdict."""
        order: tuple[Level, ...] = ("error", "missing", "warning", "note")
        lines = [f"{self.name} ({self.format}) in {self.root}"]
        for part in self.parts:
            gone = f"; {part.missing:,} images missing" if part.missing else ""
            told = f" (published: {part.published})" if part.published else ""
            lines.append(f"{part.name:<8} {part.size}{gone}{told}")
        lines += [str(finding) for level in order for finding in self.of(level)]
        return "\n".join([*lines, f"{'verdict':<8} {self.verdict}"])

    def refusal(self) -> str:
        """Why it is refused: the one error, if nothing could be read, else the whole report."""
        errors = self.of("error")
        if not self.parts and len(errors) == 1:
            return errors[0].message
        return self.text()


class Findings:
    """Collects what a reader finds."""

    def __init__(self) -> None:
        self._found: list[Finding] = []

    def add(
        self, kind: str, level: Level, message: str, examples: Iterable[str] = (), *, count: int | None = None
    ) -> None:
        """Add a finding; it is about `count` things, or as many as there are examples, of which the first are kept."""
        named = tuple(examples)
        number = count if count is not None else max(1, len(named))
        self._found.append(Finding(kind, level, message, number, named[:NAMED]))

    def append(self, finding: Finding) -> None:
        """Add one that is ready."""
        self._found.append(finding)

    def all(self) -> tuple[Finding, ...]:
        """What was found, in order."""
        return tuple(self._found)

    def compare(self, parts: Iterable[Part]) -> None:
        """Warn of the parts whose size is not the published one: another release, a part of it, or other data."""
        other = [part.name for part in parts if part.published and part.size.differs(part.published)]
        if other:
            message = f"the sizes of {', '.join(other)} differ from the published ones"
            self.add("size_differs", "warning", message, count=len(other))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader gives back: the records whose images are there, and the report."""

    data: PersonData
    report: DatasetReport


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read.

    Attributes:
        drop_single_image_ids: CUHK-PEDES only: leave out of train the ids that LGUR leaves out, which have one image.
    """

    drop_single_image_ids: bool = False


def unreadable(format_name: str, title: str, root: Path, finding: Finding) -> Reading:
    """A reading of nothing, for the one reason."""
    data = PersonData(title, {"train": (), "val": (), "test": ()})
    return Reading(data, DatasetReport(format_name, title, root, (), (finding,)))
