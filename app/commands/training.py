"""The verbs of the training package. They run as a process of their own: `app` never imports `training`."""

import subprocess
import sys

import typer

VERBS = {
    "train": "Train a checkpoint from a recipe (python -m training train).",
    "evaluate": "Evaluate a checkpoint on a data set (python -m training evaluate).",
    "calibrate": "Learn from which score on images show one person (python -m training calibrate).",
    "synthesise": "Generate synthetic people in CUHK-PEDES format (python -m training synthesise).",
    "datasets": "Check a data set on disk (python -m training datasets check FORMAT FOLDER).",
    "describe": "Describe person and clothes of images, by a model or by rules (python -m training describe).",
    "report": "Draw curves and ranked lists of a run (python -m training report).",
}
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def forward(context: typer.Context) -> None:
    """Hand every argument to the training package and end with its exit code."""
    with subprocess.Popen([sys.executable, "-m", "training", str(context.info_name), *context.args]) as child:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            code = child.wait()  # it got the interrupt too, and ends in its own way
    raise typer.Exit(code if code >= 0 else 128 - code)
