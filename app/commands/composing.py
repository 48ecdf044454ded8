"""What `descry search` makes of its arguments: a query of one part, or of several."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from app.core import Core
    from app.search.schemas import SearchAnswer, SearchOptions

Pictures = Annotated[
    list[Path] | None, typer.Option("--image", help="Search with a picture.", exists=True, dir_okay=False)
]
LikeImages = Annotated[list[int] | None, typer.Option("--like-image", help="Like an image of the gallery, by id.")]
LikeIdentities = Annotated[
    list[int] | None, typer.Option("--like-identity", help="Like a person of the gallery, by id.")
]
Denied = Annotated[list[str] | None, typer.Option("--not", help="What the person does not have.")]
NotPictures = Annotated[
    list[Path] | None, typer.Option("--not-picture", help="Not like a picture.", exists=True, dir_okay=False)
]
NotLikeImages = Annotated[
    list[int] | None, typer.Option("--not-like-image", help="Not like an image of the gallery, by id.")
]
Weights = Annotated[
    list[str] | None,
    typer.Option("--weight", metavar="KIND=NUMBER", help="How much parts count, such as image=2 or not=0.5."),
]

KINDS = ("text", "image", "like-image", "like-identity", "not", "not-picture", "not-like-image")
_DENIED = KINDS[4:]
_FIELDS = {
    "text": "text",
    "image": "picture",
    "like-image": "image_id",
    "like-identity": "identity_id",
    "not": "text",
    "not-picture": "picture",
    "not-like-image": "image_id",
}


@dataclass(frozen=True, slots=True)
class Composition:
    """Everything that was asked for and denied, by kind (`KINDS`), and the weights that were given."""

    given: dict[str, list[Any]]
    weights: dict[str, float]

    @classmethod
    def of(cls, weights: Sequence[str], **given: Sequence[Any]) -> "Composition":
        """From the command line; kinds with `_` for `-`.

        Raises:
            typer.BadParameter: a weight does not read KIND=NUMBER, or is of a kind that was not given.
        """
        found = {kind: list(given.get(kind.replace("-", "_"), ())) for kind in KINDS}
        told: dict[str, float] = {}
        for text in weights:
            kind, _, number = text.partition("=")
            try:
                told[kind] = float(number)
            except ValueError:
                raise typer.BadParameter(f"{text!r} does not read KIND=NUMBER, such as image=2") from None
            if not found.get(kind):
                raise typer.BadParameter(f"{text!r}: no {kind} is given; kinds are {', '.join(KINDS)}")
        if not any(found[kind] for kind in KINDS if kind not in _DENIED):
            raise typer.BadParameter("give a description, --image FILE, --like-image ID or --like-identity ID")
        return cls(found, told)

    @property
    def plain(self) -> bool:
        """Whether it is one description or one picture."""
        several = sum(len(values) for values in self.given.values()) > 1
        return not several and not self.weights and bool(self.given["text"] or self.given["image"])

    def body(self, files: dict[str, bytes]) -> dict[str, Any]:
        """As `POST /v1/search/composed` takes it; pictures are read into `files`."""
        parts: dict[str, list[dict[str, Any]]] = {"parts": [], "negatives": []}
        for kind, values in self.given.items():
            for value in values:
                if isinstance(value, Path):
                    files[str(value)] = value.read_bytes()
                    value = str(value)
                part = {_FIELDS[kind]: value, "weight": self.weights.get(kind, 1.0)}
                parts["negatives" if kind in _DENIED else "parts"].append(part)
        return {name: content for name, content in parts.items() if content}


def answer_composed(core: "Core", asked: Composition, options: "SearchOptions") -> "SearchAnswer":
    """The answer to a query of several parts.

    Raises:
        typer.BadParameter: a weight or the number of parts is out of range.
    """
    from pydantic import ValidationError

    from app.search.encoding import QueryEncoder
    from app.search.purpose import check_purpose_here
    from app.search.schemas import ComposedQuery
    from app.search.service import SearchService

    started, files, model = time.perf_counter(), dict[str, bytes](), core.active.current()
    try:
        query = ComposedQuery.model_validate(asked.body(files) | options.model_dump(exclude_defaults=True))
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    check_purpose_here(query, core.settings, core.database)
    encoder = QueryEncoder(core, model, query, files)
    encoded = {content: future.result() for content, future in encoder.begin().items()}
    ready = encoder.query(encoded)
    answer = SearchService(core.database, model, protected=core.settings.protected_attributes).answer(
        ready, query, started=started
    )
    core.recorder.note(ready, query, answer.query_id, answer.model_version.id)
    return answer
