"""Data sets: `synthesise`, `synthesise-pictures`, `synthesise-gallery`, `datasets check`, `datasets formats`."""

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import AllowMissing, Beside, Json, asked_for, show
from training.events import progress_bar

datasets = typer.Typer(no_args_is_help=True, help="Data sets on disk.")


def synthesise(
    out: Annotated[Path, typer.Argument(help="Folder to write; must not hold anything else.")],
    train_identities: Annotated[int, typer.Option("--train")] = 8000,
    val_identities: Annotated[int, typer.Option("--val")] = 200,
    test_identities: Annotated[int, typer.Option("--test")] = 1000,
    images: Annotated[int, typer.Option(help="Images of each identity.")] = 4,
    seed: int = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a core.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Picture to draw of twelve of them, with their words.")] = None,
    as_json: Json = False,
) -> None:
    """Make a data set of synthetic people with descriptions, in CUHK-PEDES format."""
    from training.synthetic import SyntheticConfig, generate
    from training.synthetic.sheet import contact_sheet

    with asked_for():
        config = SyntheticConfig(train_identities, val_identities, test_identities, images, seed, workers)
    with progress_bar("synthetic people") as advance:
        folder = generate(config, out, progress=lambda done, total: advance(done, total, ""))
    if sheet is not None:
        contact_sheet(folder, sheet)
    show({"folder": str(folder)}, as_json, f"wrote {folder}")


def synthesise_pictures(
    out: Annotated[Path, typer.Argument(help="Folder to write; must not hold anything else.")],
    train_identities: Annotated[int, typer.Option("--train")] = 2000,
    test_identities: Annotated[int, typer.Option("--test")] = 500,
    images: Annotated[int, typer.Option(help="Images of each identity, by different cameras up to 12.")] = 8,
    seed: Annotated[int, typer.Option(help="That of `synthesise`: other people before the same cameras.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a core.")] = None,
    as_json: Json = False,
) -> None:
    """Make an image-image data set of synthetic people without descriptions, in Market-1501 format."""
    from training.synthetic import SyntheticConfig
    from training.synthetic.pictures import write_pictures

    with asked_for():
        config = SyntheticConfig(train_identities, 0, test_identities, images, seed, workers)
        with progress_bar("synthetic pictures") as advance:
            folder = write_pictures(config, out, progress=lambda done, total: advance(done, total, ""))
    show({"folder": str(folder)}, as_json, f"wrote {folder}")


def synthesise_gallery(
    out: Annotated[Path, typer.Argument(help="Folder to write; must not hold anything else.")],
    identities: int = 600,
    images: Annotated[int, typer.Option(help="Images of each identity.")] = 4,
    seed: int = 1,
    workers: Annotated[int | None, typer.Option(help="Processes; default one a core.")] = None,
    shifted: Annotated[
        bool, typer.Option("--shifted", help="Another site: other cameras, other words for what people wear.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a folder of synthetic people with a manifest, as `descry ingest` reads it."""
    from training.synthetic.gallery import GalleryConfig, write_gallery

    with asked_for():
        config = GalleryConfig(identities, images, seed, workers, shifted)
    with progress_bar("synthetic gallery") as advance:
        folder = write_gallery(config, out, progress=lambda done, total: advance(done, total, ""))
    show({"folder": str(folder)}, as_json, f"wrote {folder}")


@datasets.command("check")
def check(
    format_name: Annotated[str, typer.Argument(metavar="FORMAT", help="Such as cuhk_pedes or market1501.")],
    root: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    beside: Beside = None,
    allow_missing: AllowMissing = False,
    as_json: Json = False,
) -> None:
    """Look through a data set on disk: what is missing, malformed or other than published, and, of two sets, what they
    share. Exit status 1 if it is not usable."""
    from training.datasets import check_dataset
    from training.datasets.joint import check_joint

    if beside:
        reports = check_joint((format_name, root), beside, allow_missing=allow_missing)
    else:
        reports = (check_dataset(format_name, root),)
    told = [report.to_dict() for report in reports]
    content: dict[str, object] = {"sets": told} if beside else told[0]
    show(content, as_json, "\n\n".join(report.text() for report in reports))
    if not all(report.usable(allow_missing=allow_missing) for report in reports):
        raise typer.Exit(1)


@datasets.command("formats")
def formats(as_json: Json = False) -> None:
    """List the formats that can be read."""
    from training.datasets import formats as known

    show({"formats": list(known())}, as_json, "\n".join(known()))
