"""descry tune: which runtime encodes the fastest here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.output import AsJson, Column, DataDir, errors, print_json, print_table, results, shown

if TYPE_CHECKING:
    from app.embedding.runtimes.records import RuntimeRecord
    from app.settings import Settings
    from models.encoder import PersonEncoder

Model = Annotated[str | None, typer.Argument(help="Id or name of a version; the active one if absent.")]


def tune(
    model: Model = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint folder instead of a registered version.", show_default=False)
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Measure this one (and torch-fp32); may be repeated. Needed for torch-compile."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.05, max=60, help="Of each of the four measurements.")] = 1.0,
    show: Annotated[bool, typer.Option("--show", help="Measure nothing: say what is known.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Measure what can run the encoder on this machine, and let DESCRY_RUNTIME=auto take the fastest.

    A runtime whose vectors are further from the exact ones than a cosine of 0.9999 is refused. A running service takes
    the choice at its next start. The torch-compile runtimes are measured, and can be chosen, only if --only names them:
    every start of theirs compiles, which takes minutes for a large encoder.
    """
    from app.embedding.runtimes.names import RUNTIMES, UNASKED, machine
    from app.embedding.runtimes.opening import automatic, device_of, home_of
    from app.embedding.runtimes.records import read_record
    from app.embedding.runtimes.tuning import tune as measure
    from app.settings import load_settings

    names = [name for name in RUNTIMES if name in (only or UNASKED)]
    if unknown := set(only or ()) - set(RUNTIMES):
        raise typer.BadParameter(f"no runtime {', '.join(sorted(unknown))}; there are: {', '.join(RUNTIMES)}")
    settings = load_settings(data_dir=data_dir)
    encoder = _encoder(model, checkpoint, settings)
    if show:
        record = read_record(home_of(encoder, settings), machine(device_of(encoder)))
    else:
        record = measure(
            encoder,
            settings,
            names=names,
            seconds=seconds,
            progress=lambda name, what: errors().print(f"{name}: {what} ...", highlight=False),
        )
    name, why = automatic(encoder, settings)
    if as_json:
        print_json({**record.to_dict(), "setting": settings.runtime, "auto": name, "why": why})
        return
    _show(record)
    results().print(f"auto is [bold]{name}[/] for this checkpoint here: {why}", highlight=False, soft_wrap=True)
    if settings.runtime != "auto":
        results().print(f"DESCRY_RUNTIME={settings.runtime} is set, and holds instead", highlight=False)


def _encoder(model: str | None, checkpoint: Path | None, settings: "Settings") -> "PersonEncoder":
    from app.embedding.device import resolve_device
    from models.checkpoint import load_checkpoint

    if model is not None and checkpoint is not None:
        raise typer.BadParameter("give a version or a checkpoint folder, not both")
    folder = checkpoint or _folder_of(model, settings)
    return load_checkpoint(folder, device=resolve_device(settings.device))


def _folder_of(model: str | None, settings: "Settings") -> Path:
    from app.core import opened
    from app.errors import NoActiveModelError
    from app.registry.service import ModelService
    from app.vectors.repository import LogRepository

    with opened(settings) as core, core.database.read() as session:
        active = LogRepository(session).head().active_version_id
        if model is None and active is None:
            raise NoActiveModelError
        row = ModelService(session).find(model if model is not None else str(active))
        return settings.models_dir / row.folder


def _show(record: "RuntimeRecord") -> None:
    rows = [
        [
            one.runtime,
            "yes" if one.runtime == record.choice else "",
            f"{one.text_ms:.2f}",
            f"{one.image_ms:.2f}",
            f"{one.texts_s:,.0f}",
            f"{one.images_s:,.1f}",
            f"{one.cosine:.6f}",
            f"{one.open_s:.1f}",
        ]
        for one in record.measured
    ]
    if rows:
        titles = ("Runtime", "Chosen", "Text ms", "Image ms", "Texts/s", "Images/s")
        print_table([*map(Column, titles), Column("Cosine", spare=1), Column("Start s", spare=2)], rows)
        results().print("one text or picture with a query's threads; per second in batches, a thread a core")
    else:
        results().print("nothing was measured on this machine for this checkpoint")
    for name, reason in record.refused.items():
        results().print(f"{name}: {shown(reason)}", highlight=False, soft_wrap=True)
