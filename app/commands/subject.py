"""descry subject."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.output import AsJson, DataDir, print_json, results
from app.commands.search import answer_picture, print_answer


def subject(
    identity: Annotated[int | None, typer.Argument(min=1, help="The person.", show_default=False)] = None,
    image: Annotated[
        Path | None, typer.Option(help="Find the person by a picture first.", exists=True, dir_okay=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--export", help="Write everything that is kept into this zip.", show_default=False)
    ] = None,
    erase: Annotated[bool, typer.Option("--erase", help="Erase the person; with --export, after that.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Answer somebody who asks what is kept about them: find, review, then export or erase.

    A search by picture here is not written down, and neither is the picture's vector.
    """
    if (identity is None) == (image is None):
        raise typer.BadParameter("give the id of an identity, or --image FILE, and not both")
    if identity is None and (out is not None or erase):
        raise typer.BadParameter("candidates are not identifications: look at them, then name one of them by its id")
    from app.core import opened
    from app.identities.erasing import Eraser
    from app.settings import load_settings
    from app.subject.package import Subject

    with opened(load_settings(data_dir=data_dir)) as core:
        if image is not None:
            print_answer(answer_picture(core, image), as_json=as_json)
            return
        person = Subject(core, identity or 0)
        told = person.summary()
        count = None if out is None else person.write(out)
        if erase:
            eraser = Eraser(core)
            eraser.scrub(eraser.identity(identity or 0))
    report = {**told, "exported": None if out is None else {"out": str(out), "images": count}, "erased": erase}
    if as_json:
        print_json(report)
        return
    name = told["identity"]["external_id"] or "unnamed"
    told_in = f"{told['images']:,} images, {len(told['sightings']):,} sightings, {len(told['history']):,} events, "
    results().print(f"identity {identity} ({name}): ", markup=False, highlight=False, end="")
    results().print(f"{told_in}judged in {len(told['returned_and_judged']):,} answers", markup=False, highlight=False)
    if out is not None:
        results().print(f"written to {out}", markup=False, highlight=False, soft_wrap=True)
    if erase:
        results().print("erased", highlight=False)
