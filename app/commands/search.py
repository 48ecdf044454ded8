"""descry search."""

import hashlib
import time
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.commands import filters
from app.commands.output import AsJson, DataDir, errors, print_json, results, shown

if TYPE_CHECKING:
    from app.core import Core
    from app.search.schemas import SearchAnswer, SearchOptions

_WIDE, _OTHERS = 130, 100
"""Columns of a terminal from which on descriptions have room, and how many the rest takes of them."""


def search(
    query: Annotated[str | None, typer.Argument(help="What the person looks like.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="Search with a picture instead.", exists=True, dir_okay=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most candidates.")] = 10,
    collection: Annotated[str | None, typer.Option(help="Search this collection only.", show_default=False)] = None,
    camera: filters.Cameras = None,
    since: filters.Since = None,
    until: filters.Until = None,
    time_of_day: filters.Hours = None,
    where: filters.Where = None,
    image_where: filters.ImageWhere = None,
    provisional: filters.Provisional = None,
    identity: filters.OfIdentities = None,
    not_identity: filters.NotIdentities = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Find people by a description, or by a picture. The answer is candidates, not identifications."""
    if (query is None) == (image is None):
        raise typer.BadParameter("give a description, or --image FILE, and not both")
    wanted = filters.read_filters(
        cameras=camera,
        since=since,
        until=until,
        hours=time_of_day,
        where=where,
        image_where=image_where,
        provisional=provisional,
        identities=identity,
        not_identities=not_identity,
    )
    from app.core import opened
    from app.search.schemas import SearchOptions
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        core.active.follow()
        answer = _answer(core, query, image, SearchOptions(limit=limit, collection=collection, filters=wanted))
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    _print(answer)


def _print(answer: "SearchAnswer") -> None:
    for warning in answer.warnings:
        errors().print(f"[yellow]note[/]: {shown(warning.message)}", highlight=False)
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


def _answer(core: "Core", query: str | None, image: Path | None, options: "SearchOptions") -> "SearchAnswer":
    from app.gallery import pictures
    from app.search.query import Part, Query
    from app.search.service import SearchService, check_query, text_warnings

    model, limits, started = core.active.current(), core.settings, time.perf_counter()
    service = SearchService(core.database, model, protected=limits.protected_attributes)
    if image is not None:
        data = image.read_bytes()
        picture = pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
        vector = model.encoder.submit_picture(model.encoder.encoder.preprocess(picture.image)).result()
        asked = Query((Part(vector, "image"),), {"picture": hashlib.sha256(data).hexdigest()})
    else:
        text = check_query(query or "", limits.max_query_chars)
        embedding = model.encoder.submit_text(text).result()
        asked = Query((Part(embedding.vector, "text"),), {"text": text}, tuple(text_warnings(embedding)))
    return service.answer(asked, options, started=started)
