"""descry images thumbnails."""

from typing import Annotated

import typer

from app.commands.output import AsJson, DataDir, errors, print_json, progress_bar, results


def thumbnails(
    again: Annotated[bool, typer.Option("--again", help="Those too that look right already.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make stored thumbnails anew, with blurred heads or without, as DESCRY_BLUR_FACES says. Run it again to go on.

    What is shown follows the setting at once; until this is done, thumbnails are blurred for each request anew.
    """
    from app.core import opened
    from app.gallery.remaking import Remade, Remaking
    from app.settings import load_settings

    with opened(load_settings(data_dir=data_dir)) as core, progress_bar() as bar:
        core.store.check()
        work, done, blurred = Remaking(core, again=again), Remade(), core.showing.blurred
        task = bar.add_task("Thumbnails", total=work.total, note="")
        for done in work.run():
            bar.update(task, completed=done.done, note=f"{done.made:,} made anew")
    if as_json:
        print_json({"blurred": blurred, "made": done.made, "right": done.right, "lost": done.lost})
        return
    for image_id in done.lost:
        errors().print(f"[yellow]note[/]: the picture of image {image_id} cannot be read from the store")
    kind = "with blurred heads" if blurred else "without blurring (DESCRY_BLUR_FACES is off)"
    results().print(
        f"{done.made:,} thumbnails made anew {kind}, {done.right:,} were right already", highlight=False, soft_wrap=True
    )
