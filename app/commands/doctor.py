"""descry doctor: what is wrong here, and what to do about it."""

import typer

from app.commands.output import AsJson, DataDir, errors, print_json, results, shown

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Look at what may be wrong here, and say what to do. It changes nothing. Exit code 1: something fails."""
    from app.settings import load_settings

    settings = load_settings(data_dir=data_dir)
    with errors().status("loading PyTorch ..."):
        from app.diagnosis.service import diagnose

        found = list(diagnose(settings))
    failed = sum(one.status == "fail" for one in found)
    if as_json:
        print_json({"healthy": not failed, "findings": [one.to_dict() for one in found]})
    else:
        for one in found:
            colour = _COLOURS[one.status]
            line = f"[{colour}]{one.status:4}[/] [bold]{one.check}[/]: {shown(one.message)}"
            results().print(line, highlight=False, soft_wrap=True)
            if one.advice:
                results().print(f"       {shown(one.advice)}", highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
