"""descry erase."""

import json
from typing import Annotated

import typer

from app.commands.output import AsJson, DataDir, print_json, results


def erase(
    identity: Annotated[int | None, typer.Option(min=1, help="A person, with every image.", show_default=False)] = None,
    image: Annotated[int | None, typer.Option(min=1, help="One image.", show_default=False)] = None,
    listed: Annotated[
        bool,
        typer.Option("--list", help="Print the ledger of erasures, a line of JSON each, for `restore --erasures`."),
    ] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Erase a person or an image everywhere: files, vectors, index, exports, verdicts. It cannot be undone."""
    if sum((identity is not None, image is not None, listed)) != 1:
        raise typer.BadParameter("give --identity ID, --image ID or --list, and one of them only")
    from app.core import opened
    from app.identities.erasing import Eraser
    from app.identities.erasures import ErasureRepository
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core:
        if listed:
            with core.database.read() as session:
                entries = ErasureRepository(session).listed()
            for kind, number, at in entries:
                line = json.dumps({"kind": kind, "number": number, "at": at.isoformat()})
                results().print(line, markup=False, highlight=False, soft_wrap=True)
            return
        eraser = Eraser(core)
        ids = eraser.identity(identity) if identity is not None else eraser.image(image or 0)
        eraser.scrub(ids)
    if as_json:
        print_json({"identity": identity, "images": ids})
    else:
        results().print(f"{len(ids):,} images erased", highlight=False)
