"""What follows a training: both models on the same people, the gate, and the candidate in the registry."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy.orm import Session

from app.core import Core
from app.errors import NoActiveModelError, TrainingFailedError
from app.jobs.duty import Duty
from app.jobs.repository import JobRepository
from app.jobs.service import JobService
from app.jobs.training_process import LOOK_S, End, await_start, failure, started
from app.registry.adoption import adopt
from app.registry.repository import ModelRepository
from app.registry.service import ModelService, Origin
from app.retraining.dataset import Summary
from app.retraining.gate import Policy, Verdict, judge
from app.retraining.places import BEST, DATA, GATE
from app.vectors.repository import LogRepository
from models.checkpoint import CheckpointInfo


class Outcome:
    """Compares, judges and registers the candidate of one job."""

    def __init__(self, core: Core, duty: Duty, folder: Path) -> None:
        self._core, self._duty, self._folder = core, duty, folder
        self._parameters = duty.parameters
        self._policy = Policy.model_validate(self._parameters.get("policy", {}))

    def checkpoint_of(self, version_id: int) -> Path:
        """The folder of a version's checkpoint.

        Raises:
            ModelNotFoundError: there is no such version.
        """
        with self._duty.database.read() as session:
            row = ModelService(session).find(version_id)
        return (self._core.settings.models_dir / row.folder).resolve()

    def settle(self, data: Summary, steps: int) -> End:
        """Compare with the version that answers, decide, and register; the job ends in the same transaction.

        "again" if another version became active meanwhile, with which the candidate has to be compared then.

        Raises:
            TrainingFailedError: the comparison failed, or the training gave weights that are registered already.
        """
        with self._duty.database.read() as session:
            active = LogRepository(session).head().active_version_id
        if active is None:
            raise NoActiveModelError
        figures = self._compare(active)
        if figures is None:
            return "halted"
        verdict = judge(self._policy, figures["sets"])
        info = adopt(self._folder / BEST, self._core.settings.models_dir)
        with self._duty.database.write() as session:
            if LogRepository(session).head().active_version_id != active:
                return "again"
            version = self._register(session, info, data, figures)
            gate = {
                "compared_with": active,
                "policy": self._policy.model_dump(),
                **verdict.model_dump(),
                **figures,
            }
            ModelService(session).judge(version, accepted=verdict.accepted, gate=gate)
            self._end(session, version, verdict, steps)
        return "done"

    def _end(self, session: Session, version: int, verdict: Verdict, steps: int) -> None:
        job = self._duty.owned(session)
        job.progress = {
            "phase": "done",
            "version": version,
            **_lasting(job.progress),
            **verdict.model_dump(),
        }
        log = JobRepository(session)
        if verdict.accepted and self._parameters.get("activate") == "auto":
            if (note := self._duty.overtaken(session)) is None:
                # In the place of the retraining: who asked for another one since then is not overtaken by its end.
                queued = JobService(session).activation(version, trainings=False)
                job.progress = {**job.progress, "activation": queued.id}
            else:
                job.progress = {**job.progress, "overtaken": note}
                words = f"version {note['version']} was asked for since the retraining was: {version} does not answer"
                log.log(job.id, f"{words} by itself; activate it if it is to", "warning")
        for reason in verdict.reasons:
            log.log(job.id, reason.message, "info" if verdict.accepted else "warning")
        log.log(job.id, f"the gate {'accepted' if verdict.accepted else 'refused'} model version {version}")
        self._duty.succeed(session, steps)

    def _compare(self, active: int) -> dict[str, Any] | None:
        """The figures, made unless they are there; None if the job was halted.

        Raises:
            TrainingFailedError: the process failed.
        """
        folder = self._folder / GATE
        out = folder / f"against-{active}.json"
        if not out.is_file():
            self._duty.tell(phase="comparison", **_lasting(self._duty.row().progress))
            with started(self._command(active, out), folder, self._core.settings) as child:
                await_start(child, self._duty)
                while child.running:
                    if self._duty.halted:
                        child.end()
                        return None
                    time.sleep(LOOK_S)
                if child.code != 0:
                    raise failure(child, folder, self._duty)
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found

    def _command(self, active: int, out: Path) -> list[str]:
        sets = [f"descry_gallery:test:{self._folder / DATA}", *self._parameters["gallery"]["on"]]
        policy = self._policy
        words = [sys.executable, "-m", "training", "compare", str(self._folder / BEST), str(self.checkpoint_of(active))]
        options = {
            "out": out,
            "queries": policy.group_queries,
            "identities": policy.group_identities,
            "confidence": policy.confidence,
            "draws": policy.draws,
            "seed": policy.seed,
            "device": self._parameters.get("device", "auto"),
        }
        for text in sets:
            words += ["--on", text]
        return [*words, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]

    def _register(self, session: Session, info: CheckpointInfo, data: Summary, figures: dict[str, Any]) -> int:
        if (present := ModelRepository(session).by_fingerprint(info.fingerprint)) is not None:
            raise TrainingFailedError(
                f"the training gave exactly the weights of model version {present.id} ({present.name})"
            )
        whole = figures["sets"][0]
        metrics = {name: whole[name]["candidate"] for name in ("R@1", "mAP")}
        origin = Origin(
            recipe=yaml.safe_load((self._folder / "recipe.yaml").read_text(encoding="utf-8")),
            data_fingerprint=data.fingerprint,
            parent_id=self._parameters["gallery"]["base"],
            job_id=self._duty.job_id,
            metrics={**metrics, "split": whole["split"], "queries": whole["queries"], "data": whole["data"]},
            candidate=True,
        )
        own = f"retrained-{self._duty.job_id[:8]}"
        name = self._parameters.get("name") or own
        if ModelRepository(session).by_name(name) is not None:  # taken meanwhile: no reason to lose a training
            name = own
        return ModelService(session).register(info, name, origin).id


def _lasting(progress: dict[str, Any] | None) -> dict[str, Any]:
    """What a training told that is of interest after it too."""
    return {name: (progress or {}).get(name) for name in ("images_per_second", "curve")}
