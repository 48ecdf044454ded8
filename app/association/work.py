"""The kind `association`: group once, list the groups, then merge them, a few whole ones in each transaction.

A worker that is killed while it groups begins anew; killed later, the next one goes on with the groups that have no
status. Within a group nothing is ever half done.
"""

from app.association.candidates import Candidates, read_candidates
from app.association.repository import AssociationRepository
from app.association.service import AssociationService
from app.database.tables import Identity
from app.errors import AssociationUndoneError, ModelChangedError
from app.identities.changes import IdentityChanges
from app.identities.repository import IdentityRepository
from app.jobs.duty import Duty
from app.jobs.kinds import Hands
from app.jobs.repository import JobRepository, NewItem
from app.registry.repository import ModelRepository
from app.vectors.repository import LogRepository
from models.association import Groups, group
from models.calibration import Linkage
from models.encoder import EncoderSpec

GROUPS_A_STEP = 100


class AssociationJob:
    """One association job in the hands of one worker."""

    def __init__(self, hands: Hands) -> None:
        self._duty, self._database, self._id = Duty(hands), hands.core.database, hands.job_id

    def prepare(self) -> None:
        """Group and list the groups, unless that was done before.

        Raises:
            AssociationTooLargeError: more identities than one run groups.
            ModelChangedError: another model version is active than the one that the run was asked for.
            AssociationUndoneError: the run was undone before its job was retried.
            JobTakenError: another worker has the job.
        """
        job = self._duty.row()
        listed, run_id = job.total is not None, int(job.parameters["association"])
        if not listed:
            candidates, found = self._grouped(run_id)
        with self._database.write() as session:
            job, jobs = self._duty.owned(session), JobRepository(session)
            run = AssociationService(session).find(run_id)
            if run.state == "undone":
                raise AssociationUndoneError(f"association run {run_id} was undone; ask for a new one")
            run.job_id = self._id  # a retried job takes the place of the one before
            if job.total is not None:
                return
            groups = candidates.groups(found)
            run.found, run.state = candidates.count(found).model_dump(mode="json"), "grouped"
            jobs.log(self._id, f"{len(candidates.ids):,} provisional identities are {run.found['persons']:,} persons")
            if run.dry_run:
                job.total = 0
                return
            AssociationRepository(session).add_groups(run_id, groups)
            jobs.add_items(self._id, [NewItem(place, _name(ids)) for place, ids in enumerate(groups)])
            job.total = len(groups)

    def advance(self) -> bool:
        """Merge the next groups; False when none is left or the job is to be cancelled.

        Raises:
            JobTakenError: another worker has the job.
            AssociationUndoneError: the run was undone.
        """
        with self._database.write() as session:
            job, jobs = self._duty.owned(session), JobRepository(session)
            waiting = jobs.unsettled(self._id, limit=GROUPS_A_STEP)
            if job.cancel_requested or not waiting:
                return False
            run = AssociationService(session).find(int(job.parameters["association"]))
            if run.state == "undone":
                raise AssociationUndoneError(f"association run {run.id} was undone; ask for a new one")
            groups = AssociationRepository(session).groups(run.id, [item.position for item in waiting])
            identities, changes = IdentityRepository(session), IdentityChanges(session)
            rows = identities.several(number for ids in groups.values() for number in ids)
            statuses: dict[int, str] = {}
            for place, ids in groups.items():
                # What people did since the grouping stands: an identity that was named or deleted is left out.
                left = [number for number in sorted(ids) if number in rows and _unnamed(rows[number])]
                if len(left) > 1:
                    changes.merge(left[0], left[1:], drop_names=False, run_id=run.id)
                statuses[place] = "merged" if len(left) > 1 else "skipped"
            jobs.mark(self._id, statuses)
            job.done += len(statuses)
            job.attempts = 1
            return job.total is not None and job.done < job.total

    def _grouped(self, run_id: int) -> tuple[Candidates, Groups]:
        with self._database.read() as session:
            run = AssociationService(session).find(run_id)
            version = ModelRepository(session).get(run.model_version_id)
            if version is None or LogRepository(session).head().active_version_id != version.id:
                raise ModelChangedError(
                    f"the run was asked for under model version {run.model_version_id}, which is not active any more; "
                    "ask for a new one"
                )
            candidates = read_candidates(
                session,
                run.collection_id,
                version.id,
                EncoderSpec.from_dict(version.spec),
                window_s=run.window_s,
                instants_apart=run.instants_apart,
            )
            linkage: Linkage = "average" if run.linkage == "average" else "complete"
            threshold = run.threshold
        return candidates, group(
            candidates.vectors, threshold=threshold, linkage=linkage, sightings=candidates.sightings
        )


def _unnamed(row: Identity) -> bool:
    return row.provisional and row.external_id is None


def _name(ids: list[int]) -> str:
    shown = ", ".join(str(number) for number in ids[:10])
    return f"identities {shown}" + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
