"""descry explain."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.output import AsJson, Column, DataDir, errors, print_json, print_table, shown, write_out


def explain(
    image_id: Annotated[int, typer.Argument(min=1, help="Number of the image, as a search names it.")],
    query: Annotated[str, typer.Argument(help="A description, or a phrase of one.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the picture with heat laid over it here (PNG).", dir_okay=False)
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Which words of a description an image bears out and, with --out, where. It does not make a score more certain."""
    from app.core import opened
    from app.explanations.service import ExplanationService
    from app.search.understanding import check_query
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        core.active.follow()
        model = core.active.current()
        text = check_query(query, core.settings.max_query_chars)
        embedding = model.encoder.submit_text(text).result()
        service = ExplanationService(core, model)
        answer = service.support(image_id, text, embedding)
        png = None if out is None else service.heatmap(image_id, embedding).png
    if out is not None and png is not None:  # not before the entry of the audit is written
        write_out(out, png)
    if as_json:
        print_json(answer.model_dump(mode="json") | ({} if out is None else {"heatmap": str(out)}))
        return
    for warning in answer.warnings:
        errors().print(f"[yellow]note[/]: {shown(warning.message)}", highlight=False)
    rows = [
        [
            ("no " if phrase.absent else "") + phrase.text,
            "" if phrase.score is None else f"{phrase.score:.3f}",
            "" if phrase.support is None else f"{phrase.support:.0%}",
        ]
        for phrase in answer.phrases
    ]
    title = f"image {image_id}, score {answer.score:.3f}"
    print_table([Column("Phrase", least=20), Column("Score"), Column("Support")], rows, title=title)
    if out is not None:
        errors().print(f"wrote {out}", markup=False, highlight=False)
