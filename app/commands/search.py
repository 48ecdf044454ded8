"""descry search."""

import hashlib
import time
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.commands.composing import Composition, answer_composed
from app.commands.output import AsJson, DataDir, errors, print_json, results, shown

if TYPE_CHECKING:
    from app.core import Core
    from app.search.schemas import SearchAnswer

_WIDE, _OTHERS = 130, 100
"""Columns of a terminal from which on descriptions have room, and how many the rest takes of them."""


def search(
    query: Annotated[str | None, typer.Argument(help="What the person looks like.", show_default=False)] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="Search with a picture.", exists=True, dir_okay=False)
    ] = None,
    like_image: Annotated[list[int] | None, typer.Option(help="Like an image of the gallery, by id.")] = None,
    like_identity: Annotated[list[int] | None, typer.Option(help="Like a person of the gallery, by id.")] = None,
    denied: Annotated[list[str] | None, typer.Option("--not", help="What the person does not have.")] = None,
    not_picture: Annotated[
        list[Path] | None, typer.Option(help="Not like a picture.", exists=True, dir_okay=False)
    ] = None,
    not_like_image: Annotated[list[int] | None, typer.Option(help="Not like an image of the gallery, by id.")] = None,
    weight: Annotated[
        list[str] | None, typer.Option(metavar="KIND=NUMBER", help="How much parts count, such as image=2 or not=0.5.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most candidates.")] = 10,
    collection: Annotated[str | None, typer.Option(help="Search this collection only.", show_default=False)] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find people by a description, by pictures, or by both. The answer is candidates, not identifications.

    What is asked for counts together, what is denied against it; all but the description may be given several times.
    """
    asked = Composition.of(
        weight or (),
        text=[] if query is None else [query],
        image=image or (),
        like_image=like_image or (),
        like_identity=like_identity or (),
        **{"not": denied or ()},
        not_picture=not_picture or (),
        not_like_image=not_like_image or (),
    )
    from app.core import opened
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        core.active.follow()
        if asked.plain:
            answer = _answer(core, query, image[0] if image else None, limit, collection)
        else:
            answer = answer_composed(core, asked, {"limit": limit, "collection": collection})
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    _print_answer(answer)


def _print_answer(answer: "SearchAnswer") -> None:
    for warning in answer.warnings:
        errors().print(f"[yellow]note[/]: {shown(warning.message)}", highlight=False)
    if answer.no_good_match:
        errors().print("[yellow]No good match[/]: the person is probably not in what was searched", highlight=False)
    table, described = (
        Table("#", "Identity", "Score", "Confidence", "Camera", "Captured", "File"),
        results().width >= _WIDE,
    )
    if described:
        table.add_column("Description")
    for rank, candidate in enumerate(answer.candidates, start=1):
        best = candidate.images[0]
        table.add_row(
            str(rank),
            shown(candidate.identity.external_id or f"unnamed {candidate.identity.id}"),
            f"{candidate.score:.3f}",
            "" if candidate.confidence is None else _percent(candidate.confidence),
            shown(best.camera or ""),
            best.captured_at.strftime("%Y-%m-%d %H:%M") if best.captured_at else "",
            shown(best.source_name or ""),
            *(
                (shown(shorten(best.description or "", results().width - _OTHERS, placeholder=" …")),)
                if described
                else ()
            ),
        )
    results().print(table)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def _answer(core: "Core", query: str | None, image: Path | None, limit: int, collection: str | None) -> "SearchAnswer":
    from app.gallery import pictures
    from app.search.query import Part, Query
    from app.search.schemas import SearchOptions
    from app.search.service import SearchService, check_query
    from app.search.steering import steered_query, steering
    from app.search.understanding import text_warnings, understand

    model, limits, started = core.active.current(), core.settings, time.perf_counter()
    options = SearchOptions(limit=limit, collection=collection)
    service = SearchService(core.database, model)
    if image is not None:
        data = image.read_bytes()
        picture = pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
        vector = model.encoder.submit_picture(model.encoder.encoder.preprocess(picture.image)).result()
        asked = Query((Part(vector, "image"),), {"picture": hashlib.sha256(data).hexdigest()})
    else:
        text = check_query(query or "", limits.max_query_chars)
        read = understand(text, model.encoder.spec.tokenizer)
        if read.denied:
            steered = steering(core, model, read)
            encoded = {content: future.result() for content, future in steered.begin().items()}
            return service.answer(steered_query(steered, read, text, encoded), options, started=started)
        embedding = model.encoder.submit_text(read.text).result()
        warnings = (*read.warnings, *text_warnings(embedding))
        asked = Query((Part(embedding.vector, "text", words=read.words),), {"text": text}, warnings)
    return service.answer(asked, options, started=started)
