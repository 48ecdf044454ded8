"""Retrainings as endpoints and verbs ask for them: checked, estimated, queued."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.collections.service import CollectionService
from app.database.sessions import Database
from app.database.tables import Job, ModelVersion
from app.errors import (
    InvalidError,
    NoActiveModelError,
    RecipeRefusedError,
    RetrainingDataError,
    StorageError,
    UnavailableError,
)
from app.files import check_free
from app.jobs.service import JobService
from app.jobs.training_process import thread_limit
from app.registry.repository import ModelRepository
from app.registry.service import ModelService
from app.retraining.dataset import check_sides, sides_of
from app.retraining.repository import RetrainingRepository
from app.retraining.schemas import DatasetIn, NewRetraining, RetrainingPlan
from app.settings import Settings
from app.vectors.repository import LogRepository

_TYPED = re.compile(r"error: (?P<message>.+) \[(?P<code>[a-z_]+)\]")
_PATIENCE_S = 120.0
OWN = (
    "data.",
    "name",
    "encoder.start",
    "encoder.towers",
    "encoder.pretrained",
    "encoder.text_pretrained",
    "hkgr.parsed",
    "bdam.descriptions",
)
"""Overrides that the job gives itself, or that would name files."""
_BYTES_A_PIXEL = 0.5
"""Of a stored picture, generously: a JPEG of good quality."""
_STATES = 6
"""Times the weights in fp32: state (weights, average, two moments of the optimiser) while a new one is written."""


@dataclass(frozen=True, slots=True)
class _Basis:
    base: ModelVersion
    recipe: str
    images: dict[str, int]
    confirmed: int
    identities: int
    pixels: int


class RetrainingService:
    """Retrainings of one data folder.

    Args:
        anywhere: whether data sets may lie anywhere on this machine, as for whoever types at it.
    """

    def __init__(self, database: Database, settings: Settings, *, anywhere: bool = False) -> None:
        self._database, self._settings, self._anywhere = database, settings, anywhere

    def plan(self, asked: NewRetraining) -> RetrainingPlan:
        """Check everything that can be checked before, and estimate.

        Raises:
            NoActiveModelError, ModelNotFoundError, CollectionNotFoundError: what it names does not exist.
            RecipeRefusedError: the recipe, an override or the base does not fit.
            RetrainingDataError: too little is described, or a data set cannot be used.
            DiskLowError: there is no room for it.
        """
        basis = self._basis(asked)
        with self._database.read() as session:
            pace = RetrainingRepository(session).last_pace(basis.recipe, asked.device)
        parameters = self._parameters(asked, basis)
        made = self._ask_training(parameters, basis, measure=asked.dry_run and pace is None)
        seconds, source = made["seconds"], "measured" if made["seconds"] is not None else None
        if pace is not None:
            seconds, source = round(made["steps"] * made["batch"] / pace, 1), "recorded"
        needed = self._disk(basis)
        free = self._check_disk(needed)
        return RetrainingPlan.model_validate(
            {
                **{name: made[name] for name in ("recipe", "method", "pairs", "batch", "epochs", "steps")},
                "base": basis.base.id,
                "images": basis.images,
                "identities": basis.identities,
                "seconds": seconds,
                "seconds_from": source,
                "disk_bytes": needed,
                "disk_free_bytes": free,
                "command": parameters,
            }
        )

    def create(self, asked: NewRetraining) -> Job:
        """Queue a retraining that `plan` does not refuse; its errors."""
        made = self.plan(asked)
        with self._database.write() as session:
            return JobService(session).create("retraining", made.command)

    def _basis(self, asked: NewRetraining) -> _Basis:
        with self._database.read() as session:
            active = LogRepository(session).head().active_version_id
            if active is None:
                raise NoActiveModelError
            base = ModelService(session).find(asked.base or active)
            if asked.name is not None and ModelRepository(session).by_name(asked.name) is not None:
                raise InvalidError(f"another model version is called {asked.name!r}; choose another `name`")
            collections = CollectionService(session)
            only = None if asked.collections is None else [collections.find(name) for name in asked.collections]
            sides, texts = sides_of(session, only, feedback=asked.feedback)
            extent = RetrainingRepository(session).extent(only)
        check_sides(sides)
        compact = base.spec.get("backbone") == "compact"
        recipe = asked.recipe or ("retrain-compact" if compact else "retrain-clip")
        confirmed = sum(map(len, texts.values()))
        return _Basis(base, recipe, dict(Counter(sides.values())), confirmed, extent.identities, extent.pixels)

    def _parameters(self, asked: NewRetraining, basis: _Basis) -> dict[str, Any]:
        for override in asked.set:
            if override.partition("=")[0].startswith(OWN):
                raise RecipeRefusedError(f"{override!r} cannot be set: the job decides on that itself")
        method = [f"method={asked.method}"] if asked.method else []
        also = [{"format": one.format, "root": str(self._root(one))} for one in asked.datasets]
        on = [f"{one.format}:{one.split}:{self._root(one)}" for one in asked.benchmarks]
        return {
            "recipe": basis.recipe,
            "set": [*asked.set, *method, "data.format=descry_gallery"],
            "device": asked.device,
            "processes": asked.processes,
            "gallery": {
                "collections": asked.collections,
                "base": basis.base.id,
                "also": also,
                "feedback": asked.feedback,
                "on": [*self._settings.protected_splits, *on],
            },
            "policy": asked.policy.model_dump(),
            "activate": asked.activate,
            "name": asked.name,
        }

    def _root(self, one: DatasetIn) -> Path:
        if self._anywhere:
            return Path(one.folder).resolve()
        if self._settings.datasets_dir is None:
            raise InvalidError("no data set can be named over HTTP: DESCRY_DATASETS_DIR is not set")
        home = self._settings.datasets_dir.resolve()
        root = (home / one.folder).resolve()
        if not root.is_relative_to(home) or not root.is_dir():
            raise InvalidError(f"there is no data set {one.folder!r} in DESCRY_DATASETS_DIR")
        return root

    def _ask_training(self, parameters: dict[str, Any], basis: _Basis, *, measure: bool) -> dict[str, Any]:
        """What `python -m training plan` says; in a process, for the service never imports training."""
        gallery = parameters["gallery"]
        base = self._settings.models_dir / basis.base.folder
        command = [sys.executable, "-m", "training", "plan", "--pairs", str(basis.images["train"] + basis.confirmed)]
        command += ["--json"]
        command += ["--from", str(base), "--device", parameters["device"]]
        for override in parameters["set"]:
            command += ["--set", override]
        for one in gallery["also"]:
            command += ["--also", f"{one['format']}:{one['root']}"]
        for text in gallery["on"]:
            command += ["--on", text]
        command += ["--measure"] if measure else []
        try:
            done = subprocess.run(
                [*command, "--", basis.recipe],
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE_S,
                env={**os.environ, **thread_limit(self._settings)},  # as the run: else its pace would not be measured
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"the training package did not answer in {_PATIENCE_S:.0f} s; try again") from None
        if done.returncode != 0:
            raise _refusal(done.stderr)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def _disk(self, basis: _Basis) -> int:
        weights = self._settings.models_dir / basis.base.folder / "model.safetensors"
        try:
            size = weights.stat().st_size
        except OSError as error:
            raise StorageError(f"{weights} cannot be read: {error.strerror}") from error
        return int(basis.pixels * _BYTES_A_PIXEL) + 2 * _STATES * size  # which may be stored in half precision

    def _check_disk(self, needed: int) -> int:
        check_free(self._settings.data_dir, self._settings.min_free_bytes, needed)
        return shutil.disk_usage(self._settings.data_dir).free


def _refusal(stderr: str) -> InvalidError | RetrainingDataError | UnavailableError:
    lines = stderr.splitlines()
    found = next((match for line in reversed(lines) if (match := _TYPED.fullmatch(line))), None)
    if found is None:
        return UnavailableError(f"the training package could not be asked: {lines[-1] if lines else 'it said nothing'}")
    kind: dict[str, Literal["recipe", "data"]] = {"recipe_invalid": "recipe", "checkpoint_invalid": "recipe"}
    if kind.get(found["code"]) == "recipe" or "checkpoint" in found["message"]:
        return RecipeRefusedError(found["message"])
    return RetrainingDataError(found["message"])
