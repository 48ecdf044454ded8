"""descry search."""

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import composing, filters
from app.commands.output import AsJson, Column, DataDir, errors, print_json, print_table, results, shown

if TYPE_CHECKING:
    from app.core import Core
    from app.search.schemas import SearchAnswer, SearchOptions


def search(
    query: Annotated[str | None, typer.Argument(help="What the person looks like.", show_default=False)] = None,
    image: composing.Pictures = None,
    like_image: composing.LikeImages = None,
    like_identity: composing.LikeIdentities = None,
    denied: composing.Denied = None,
    not_picture: composing.NotPictures = None,
    not_like_image: composing.NotLikeImages = None,
    weight: composing.Weights = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most candidates.")] = 10,
    collection: Annotated[str | None, typer.Option(help="Search this collection only.", show_default=False)] = None,
    purpose: Annotated[str | None, typer.Option(help="What the search is for; a case.", show_default=False)] = None,
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
    """Find people by a description, by pictures, or by both. The answer is candidates, not identifications.

    What is asked for counts together, what is denied against it; all but the description may be given several times.
    """
    asked = composing.Composition.of(
        weight or (),
        text=[] if query is None else [query],
        image=image or (),
        like_image=like_image or (),
        like_identity=like_identity or (),
        **{"not": denied or ()},
        not_picture=not_picture or (),
        not_like_image=not_like_image or (),
    )
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
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        core.active.follow()
        options = _options(limit=limit, collection=collection, purpose=purpose, filters=wanted)
        if asked.plain:
            answer = _answer(core, query, image[0] if image else None, options)
        else:
            answer = composing.answer_composed(core, asked, options)
    print_answer(answer, as_json=as_json)


def print_answer(answer: "SearchAnswer", *, as_json: bool) -> None:
    """The candidates of an answer, as a table or as JSON."""
    if as_json:
        print_json(answer.model_dump(mode="json"))
        return
    for warning in answer.warnings:
        errors().print(f"[yellow]note[/]: {shown(warning.message)}", highlight=False)
    if answer.no_good_match:
        errors().print("[yellow]No good match[/]: the person is probably not in what was searched", highlight=False)
    if weak := _weak(answer):
        errors().print(f"[yellow]weak[/]: {weak}", highlight=False)
    print_table(*table_of(answer))
    results().print(f"Candidates, not identifications. Query {answer.query_id}", style="dim", highlight=False)


def table_of(answer: "SearchAnswer") -> tuple[list[Column], list[list[str]]]:
    """What there is to tell of each candidate; of a narrow terminal's table the last columns are left out first."""
    sure = any(candidate.confidence is not None for candidate in answer.candidates)
    columns = [
        Column("#"),
        Column("ID"),
        Column("Identity", least=12),
        Column("Score", spare=5 if sure else 0),
        *([Column("Confidence")] if sure else []),
        Column("Camera", spare=2, least=12),
        Column("Captured", spare=1),
        Column("Image"),
        Column("File", spare=4, least=16),
        Column("Description", spare=3, least=30, most=120),
    ]
    rows = []
    for rank, candidate in enumerate(answer.candidates, start=1):
        best = candidate.images[0]
        rows.append(
            [
                str(rank),
                str(candidate.identity.id),
                candidate.identity.external_id or "unnamed",
                f"{candidate.score:.3f}",
                *(["" if candidate.confidence is None else _percent(candidate.confidence)] if sure else []),
                best.camera or "",
                best.captured_at.strftime("%Y-%m-%d %H:%M") if best.captured_at else "",
                str(best.id),
                best.source_name or "",
                best.description or "",
            ]
        )
    return columns, rows


def _weak(answer: "SearchAnswer") -> str | None:
    """From where on the candidates are weak matches; None if none is, or if nobody knows what the scores mean."""
    least = answer.weak_below
    if least is None:
        return None
    first = next((rank for rank, one in enumerate(answer.candidates, start=1) if one.score < least), None)
    if first is None:
        return None
    which = "all candidates are" if first == 1 else f"from candidate {first} on they are"
    return f"{which} weak matches (score below {least:.3f})"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def answer_picture(core: "Core", image: Path) -> "SearchAnswer":
    """Who looks like a picture. Nothing of the question is kept."""
    core.active.follow()
    return _answer(core, None, image, _options(limit=10, purpose="a request by who is in the picture"), keep=False)


def _answer(
    core: "Core", query: str | None, image: Path | None, options: "SearchOptions", *, keep: bool = True
) -> "SearchAnswer":
    from app.gallery import pictures
    from app.search.purpose import check_purpose_here
    from app.search.query import Part, Query
    from app.search.service import SearchService
    from app.search.wording import DescriptionEncoder

    check_purpose_here(options, core.settings, core.database)
    model, limits, started = core.active.current(), core.settings, time.perf_counter()
    service = SearchService(core.database, model, protected=limits.protected_attributes)
    if image is not None:
        data = image.read_bytes()
        picture = pictures.decode(data, max_pixels=limits.max_pixels, max_bytes=limits.max_upload_bytes)
        vector = model.encoder.submit_picture(model.encoder.encoder.preprocess(picture.image)).result()
        sha256 = hashlib.sha256(data).hexdigest()
        asked = Query((Part(vector, "image"),), {"picture": {"sha256": sha256}}, uploaded={sha256: vector})
    else:
        encoder = DescriptionEncoder(model, query or "", limits.max_query_chars)
        asked = encoder.query({content: future.result() for content, future in encoder.begin().items()})
    answer = service.answer(asked, options, started=started)
    if keep:
        core.recorder.note(asked, options, answer.query_id, answer.model_version.id)
    return answer


def _options(**given: object) -> "SearchOptions":
    from pydantic import ValidationError

    from app.search.schemas import SearchOptions

    try:
        return SearchOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{first['loc'][0]}: {first['msg']}") from None
