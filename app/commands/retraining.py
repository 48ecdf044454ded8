"""descry retrain."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError

from app.commands.output import AsJson, DataDir, print_json, results

if TYPE_CHECKING:
    from app.retraining.schemas import BenchmarkIn, DatasetIn, RetrainingPlan


def retrain(
    recipe: Annotated[str | None, typer.Option(help="A shipped recipe; by the base's backbone if absent.")] = None,
    method: Annotated[str | None, typer.Option(help="Instead of the recipe's.")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.field=value, repeatable.")] = None,
    base: Annotated[str | None, typer.Option(help="Model version to go on from; the active one if absent.")] = None,
    collections: Annotated[list[str] | None, typer.Option("--collection", help="Of the gallery, repeatable.")] = None,
    datasets: Annotated[list[str] | None, typer.Option("--with", help="FORMAT:FOLDER to train on as well.")] = None,
    feedback: Annotated[bool, typer.Option("--feedback", help="Learn from confirmed candidates of queries.")] = False,
    benchmarks: Annotated[list[str] | None, typer.Option("--protect", help="FORMAT:SPLIT:FOLDER not to lose.")] = None,
    policy: Annotated[list[str] | None, typer.Option("--policy", help="field=value of the gate, repeatable.")] = None,
    activate: Annotated[bool, typer.Option("--activate", help="Let it answer if the gate accepts it.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the candidate.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    processes: Annotated[int, typer.Option(min=1, max=64, help="Training processes.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and estimate; queue nothing.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Retrain a model version on the gallery's described images; a worker does it (`descry jobs show` follows it)."""
    from app.commands.jobs import database_of, print_job
    from app.registry.service import ModelService
    from app.retraining.schemas import NewRetraining
    from app.retraining.service import RetrainingService
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with database_of(settings) as database:
        version: int | None = None
        if base is not None:
            with database.read() as session:
                version = ModelService(session).find(base).id
        how: Literal["auto", "manual"] = "auto" if activate else "manual"
        try:
            asked = NewRetraining.model_validate(
                {
                    "recipe": recipe,
                    "method": method,
                    "set": overrides or [],
                    "base": version,
                    "collections": collections or None,
                    "datasets": [_dataset(text) for text in datasets or ()],
                    "feedback": feedback,
                    "benchmarks": [_benchmark(text) for text in benchmarks or ()],
                    "policy": dict(_field(text) for text in policy or ()),
                    "activate": how,
                    "name": name,
                    "device": device,
                    "processes": processes,
                    "dry_run": dry_run,
                }
            )
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise typer.BadParameter(told) from None
        service = RetrainingService(database, settings, anywhere=True)
        if dry_run:
            _show(service.plan(asked), as_json=as_json)
            return
        print_job(database, service.create(asked).id, as_json=as_json)


def _show(plan: "RetrainingPlan", *, as_json: bool) -> None:
    if as_json:
        print_json(plan.model_dump(mode="json"))
        return
    sides = ", ".join(f"{count:,} {side}" for side, count in plan.images.items())
    time = f"{plan.seconds / 60:.1f} min ({plan.seconds_from})" if plan.seconds is not None else "unknown"
    for words in (
        f"{plan.recipe} ({plan.method}) from model version {plan.base}",
        f"{sum(plan.images.values()):,} described images of {plan.identities:,} people: {sides}",
        f"{plan.pairs:,} pairs, {plan.steps:,} steps of {plan.batch} in {plan.epochs} epochs, time {time}",
        f"{plan.disk_bytes / 2**20:,.0f} MiB of disk; {plan.disk_free_bytes / 2**20:,.0f} MiB are free",
    ):
        results().print(words, markup=False, highlight=False, soft_wrap=True)


def _dataset(text: str) -> "DatasetIn":
    from app.retraining.schemas import DatasetIn

    kind, colon, folder = text.partition(":")
    if not colon:
        raise typer.BadParameter(f"{text!r} must read FORMAT:FOLDER")
    return DatasetIn(format=kind, folder=str(Path(folder).resolve()))


def _benchmark(text: str) -> "BenchmarkIn":
    from app.retraining.schemas import BenchmarkIn

    kind, _, rest = text.partition(":")
    split, colon, folder = rest.partition(":")
    if not colon:
        raise typer.BadParameter(f"{text!r} must read FORMAT:SPLIT:FOLDER")
    return BenchmarkIn.model_validate({"format": kind, "split": split, "folder": str(Path(folder).resolve())})


def _field(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} must read field=value")
    return name, None if value in ("", "null", "none") else value
