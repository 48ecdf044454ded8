"""descry models list, show, register, activate, rollback, retire, delete."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import (
    AsJson,
    Column,
    DataDir,
    errors,
    print_json,
    print_table,
    progress_bar,
    results,
    shown,
)

if TYPE_CHECKING:
    from app.core import Core
    from app.embedding.service import EncoderService
    from app.registry.encoding import Unreadable
    from app.registry.schemas import ModelOut
    from models.checkpoint import CheckpointInfo

Model = Annotated[str, typer.Argument(help="Id or name.")]
DespiteGate = Annotated[bool, typer.Option("--despite-gate", help="Also a version that the gate refused.")]
Queue = Annotated[bool, typer.Option("--queue", help="Leave the encoding to a worker, and return at once.")]
app = typer.Typer(help="Model versions: what turns words and pictures into vectors.", no_args_is_help=True)
_TRIES = 5


@app.command("list")
def list_models(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show every model version."""
    from app.core import opened
    from app.registry.service import ModelService
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core, core.database.read() as session:
        found = ModelService(session).all()
    if as_json:
        print_json([item.model_dump(mode="json") for item in found])
        return
    columns = [
        Column("Id"),
        Column("Name", least=10),
        Column("Status"),
        Column("Method", spare=1, least=8),
        Column("Backbone", spare=2, least=8),
        Column("Not encoded"),
        Column("Registered", spare=3, least=10),
    ]
    rows = [
        [
            str(item.id),
            item.name,
            item.status,
            item.method,
            item.backbone,
            f"{item.missing:,}",
            item.created_at.isoformat(" ", "seconds"),
        ]
        for item in found
    ]
    print_table(columns, rows)


@app.command("register")
def register(
    path: Annotated[Path | None, typer.Argument(help="Checkpoint folder.", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the version; the folder's if absent.")] = None,
    open_clip: Annotated[
        str | None, typer.Option("--open-clip", help="An open_clip model instead, e.g. ViT-B-16-quickgelu.")
    ] = None,
    pretrained: Annotated[str, typer.Option(help="open_clip's tag, or a .safetensors file.")] = "openai",
    shipped: Annotated[bool, typer.Option("--shipped", help="The checkpoint that comes with Descry.")] = False,
    let_answer: Annotated[bool, typer.Option("--activate", help="Let it answer at once.")] = False,
    queue: Queue = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Register a checkpoint, or zero-shot CLIP at a person's aspect ratio, as a model version."""
    if [path is not None, shipped, open_clip is not None].count(True) != 1:
        raise typer.BadParameter("give exactly one of: a checkpoint folder, --shipped, --open-clip MODEL")
    from app.core import opened
    from app.settings import load_settings
    from models.checkpoint import DEMO

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core:
        if open_clip is None:
            folder = path or DEMO
            version = register_checkpoint(core, folder, name or folder.resolve().name)
        else:
            info = _adopt_open_clip(str(open_clip), pretrained, settings.models_dir)
            version = _register(core, info, name or f"{open_clip}-{Path(pretrained).stem}")
        job = _activate(core, version.id, queue=queue) if let_answer else None
        version = _describe(core, version.id)
    _show(version, job, as_json=as_json)
    if not as_json and job is None and version.status != "active":
        results().print(f"`descry models activate {version.id}` lets it answer", highlight=False)


@app.command("activate")
def activate(
    model: Model,
    queue: Queue = False,
    despite_gate: DespiteGate = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Encode what the version lacks, beside the one that answers; then let it answer. Rolling back is the same."""
    from app.core import opened
    from app.registry.service import ModelService
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core:
        with core.database.read() as session:
            models = ModelService(session)
            version_id = models.admitted(models.find(model).id, despite_gate=despite_gate).id
        job = _activate(core, version_id, queue=queue, despite_gate=despite_gate)
        version = _describe(core, version_id)
    _show(version, job, as_json=as_json)


@app.command("rollback")
def roll_back(queue: Queue = False, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Let the version answer again that answered before the active one. Immediate while its vectors are there."""
    from app.core import opened
    from app.errors import NoActiveModelError
    from app.registry.changes import predecessor_of
    from app.settings import load_settings
    from app.vectors.repository import LogRepository

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core:
        with core.database.read() as session:
            active = LogRepository(session).head().active_version_id
        if active is None:
            raise NoActiveModelError
        version_id = predecessor_of(core.database, active)
        job = _activate(core, version_id, queue=queue, despite_gate=True)
        version = _describe(core, version_id)
    _show(version, job, as_json=as_json)


@app.command("show")
def show(model: Model, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show one model version: where it comes from, what was measured, and what its gate said."""
    from app.core import opened
    from app.registry.service import ModelService
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core, core.database.read() as session:
        service = ModelService(session)
        found = service.describe(service.find(model)).model_dump(mode="json")
    if as_json:
        print_json(found)
        return
    rows = [[name, json.dumps(value) if isinstance(value, dict) else str(value)] for name, value in found.items()]
    print_table([Column("Field"), Column("Value", least=20)], rows)


@app.command("calibrate")
def calibrate(
    model: Model,
    anew: Annotated[bool, typer.Option("--anew", help="Also what it has been calibrated for already.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Learn on the gallery how likely a candidate is right. Activations that encode do so where it is not known."""
    from app.core import opened
    from app.registry.calibration import GalleryCalibration
    from app.registry.service import ModelService
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core:
        with core.database.read() as session:
            version_id = ModelService(session).find(model).id
        _, _, encoder = core.active.load_encoder(version_id)
        learnt = GalleryCalibration(core.database).learn(version_id, encoder, anew=anew)
        version = _describe(core, version_id)
    if as_json:
        print_json(version.model_dump(mode="json"))
        return
    lines = [words for _, words in learnt.lines()] if learnt is not None else []
    for words in lines or ["it is calibrated already; --anew learns it again"]:
        results().print(words, markup=False, highlight=False, soft_wrap=True)


@app.command("delete")
def delete(model: Model, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Remove a version with its vectors and weights; never the one that answers, nor the one before it."""
    _remove(model, data_dir, as_json=as_json, wholly=True)


@app.command("retire")
def retire(model: Model, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Remove the vectors of a version to save room. It stays registered, and can be activated by encoding anew."""
    _remove(model, data_dir, as_json=as_json, wholly=False)


def _remove(model: str, data_dir: Path | None, *, as_json: bool, wholly: bool) -> None:
    from app.core import opened
    from app.registry.retention import Retention
    from app.registry.service import ModelService
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with opened(settings) as core:
        with core.database.read() as session:
            row = ModelService(session).find(model)
        retention = Retention(core.database, settings)
        (retention.delete if wholly else retention.retire)(row.id)
    done = "deleted" if wholly else "retired"
    if as_json:
        print_json({"id": row.id, "name": row.name, "status": done})
    else:
        results().print(f"model version [bold]{row.id}[/] ({shown(row.name)}) is {done}", highlight=False)


def _activate(core: "Core", version_id: int, *, queue: bool, despite_gate: bool = False) -> str | None:
    """Activate a version: here and now, or where pictures must be encoded first, on request, by a job. Its id."""
    from app.registry.changes import activate_later

    if not queue or core.activation.missing(version_id) == 0:
        activate_version(core, version_id, despite_gate=despite_gate)
        return None
    return activate_later(core.database, version_id, despite_gate=despite_gate).id


def _show(version: "ModelOut", job_id: str | None, *, as_json: bool) -> None:
    if as_json:
        extra: dict[str, Any] = {} if job_id is None else {"job_id": job_id}
        print_json({**version.model_dump(mode="json"), **extra})
        return
    state = "answers" if version.status == "active" else f"is {version.status}"
    results().print(f"model version [bold]{version.id}[/] ({version.name}) {state}", highlight=False)
    if job_id is not None:
        results().print(f"job {job_id} encodes {version.missing:,} images and then lets it answer", highlight=False)


def register_checkpoint(core: "Core", path: Path, name: str) -> "ModelOut":
    """Copy a checkpoint into the data folder and make a version of it."""
    from app.registry.adoption import adopt

    return _register(core, adopt(path, core.settings.models_dir), name)


def activate_version(core: "Core", version_id: int, *, despite_gate: bool = False) -> None:
    """Encode what a version lacks under a progress bar, learn its confidence unless it has it, then switch.

    Raises:
        ActivationSupersededError: another version was asked for meanwhile.
    """
    from app.errors import ModelIncompleteError
    from app.registry.calibration import GalleryCalibration
    from app.registry.changes import ask

    core.active.admit(version_id)
    place = ask(core.database, version_id, despite_gate=despite_gate)
    _, _, encoder = core.active.load_encoder(version_id)
    for attempt in range(_TRIES):  # images may come in while the last ones are encoded
        if missing := core.activation.missing(version_id):
            encode_version(core, version_id, encoder, missing)
        if attempt == 0:
            GalleryCalibration(core.database).learn(version_id, encoder)
        try:
            core.activation.complete(
                version_id, activate=True, encoder=encoder, despite_gate=despite_gate, still=place.kept
            )
        except ModelIncompleteError:
            if attempt == _TRIES - 1:
                raise
        else:
            return


def encode_version(core: "Core", version_id: int, encoder: "EncoderService", missing: int) -> None:
    """Encode what a version lacks, in this process under a progress bar; all that can be read, whatever cannot.

    Raises:
        StorageError: stored pictures cannot be read.
    """
    unreadable: list[Unreadable] = []
    with progress_bar() as bar:
        task = bar.add_task("Encoding the gallery", total=missing, note="")

        def record(_: object, count: int) -> bool:
            bar.advance(task, count)
            return True

        core.activation.encode_missing(version_id, encoder, record, lambda _, found: unreadable.extend(found))
    if unreadable:
        for one in unreadable[1:]:
            errors().print(f"image {one.image_id}: {one.error}", markup=False, highlight=False)
        raise unreadable[0].raised()


def _adopt_open_clip(backbone: str, pretrained: str, models_dir: Path) -> "CheckpointInfo":
    from app.registry.adoption import adopt_with
    from models.checkpoint import save_checkpoint
    from models.clip_baseline import create_open_clip

    encoder = create_open_clip(backbone, pretrained)
    card = (
        f"# {backbone}, {pretrained}\n\nZero-shot CLIP from open_clip, its position table resized to 384 x 128 pixels. "
        "Not trained on people: a starting point, and the baseline for what is trained.\n"
    )
    return adopt_with(models_dir, lambda folder: save_checkpoint(encoder, folder, card=card))


def _register(core: "Core", info: "CheckpointInfo", name: str) -> "ModelOut":
    from app.registry.service import ModelService

    with core.database.write() as session:
        version_id = ModelService(session).register(info, name).id
    return _describe(core, version_id)


def _describe(core: "Core", version_id: int) -> "ModelOut":
    from app.registry.service import ModelService

    with core.database.read() as session:
        service = ModelService(session)
        return service.describe(service.find(version_id))
