"""`descry`: the service at the command line, with the same verbs as the API.

Nothing heavy is imported before a verb needs it: `descry --help` must not wait for PyTorch.
"""

import sys

import typer

from app.audit.verb import known
from app.commands import (
    audit,
    backup,
    doctor,
    erasing,
    explain,
    export,
    identifications,
    identities,
    index,
    intake,
    jobs,
    keys,
    models,
    queries,
    retention,
    retraining,
    search,
    serving,
    subject,
    thumbnails,
    training,
    tune,
    video,
)
from app.commands.output import errors
from models.errors import DescryError

app = typer.Typer(
    name="descry",
    help="Find a person in a gallery of images from a description in words or an example picture.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(serving.demo)
app.command("serve")(serving.serve)
app.command("worker")(jobs.worker)
app.command("ingest")(intake.ingest)
app.command("ingest-video")(video.ingest_video)
app.command("watch")(video.watch)
app.command("search")(search.search)
app.command("explain")(explain.explain)
app.command("export")(export.export)
app.command("subject")(subject.subject)
app.command("erase")(erasing.erase)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("tune")(tune.tune)
app.command("doctor")(doctor.doctor)
app.command("retrain")(retraining.retrain)
app.add_typer(index.index, name="index")
intake.images.command("thumbnails")(thumbnails.thumbnails)
app.add_typer(intake.images, name="images")
app.add_typer(models.app, name="models")
app.add_typer(jobs.app, name="jobs")
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(identities.app, name="identities")
app.add_typer(retention.app, name="retention")
app.add_typer(queries.app, name="queries")
app.add_typer(queries.feedback, name="feedback")
app.add_typer(identifications.app, name="identifications")
for verb, text in training.VERBS.items():
    app.command(verb, help=text, context_settings=training.PASS_ON, add_help_option=False)(training.forward)


def _let_be_known(group: typer.Typer, *names: str) -> None:
    """The audit names the verb that runs: whatever is registered above, without a word of its own."""
    for command in group.registered_commands:
        if command.callback is not None:
            command.callback = known(" ".join((*names, command.name or "")), command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _let_be_known(inner.typer_instance, *names, inner.name or "")


_let_be_known(app)


def main() -> None:
    """Entry point. An error that was foreseen is one line on standard error and exit code 1."""
    try:
        app()
    except DescryError as error:
        errors().print(f"[bold red]error[/] [dim]{error.code}[/]: ", end="")
        errors().print(error.message, markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
