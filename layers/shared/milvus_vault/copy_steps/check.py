"""To verify a round of copies, as VerifyCopy does and PlanCopy where a round is small."""

from collections.abc import Container

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.backup.copies import check_copy_stays
from milvus_vault.backup.proof import MomentProof
from milvus_vault.backup.publish import find_published
from milvus_vault.backup.working_files import PLAN, BackupPlan
from milvus_vault.claims import check_owner
from milvus_vault.copying.verify import raise_if_refused, raise_if_source_is_gone, verify_copy
from milvus_vault.copying.working_files import complete_indexes
from milvus_vault.model.messages import MAX_ROUNDS
from milvus_vault.model.messages_copy import Round, VerifyCopyRequest, VerifyCopyResult
from milvus_vault.model.names import COLLECTIONS_PER_BATCH
from milvus_vault.runtime import logger
from milvus_vault.workspace import Workspace


def verify_round(run: Workspace, request: VerifyCopyRequest, milvus_bucket: str) -> VerifyCopyResult:
    """Return which targets of a round have to go another one; it lists, and deletes what does not belong.

    Raises:
        BackupDamagedError: Objects of the backup that is copied from have vanished or changed.
        RunTakenOverError: Another attempt has the run.
        VaultError: As `verify_copy`; and what S3 refused copies for, of the objects of a backup.
    """
    is_last = request.round >= MAX_ROUNDS

    def doubtful(lacking: Container[int]) -> tuple[int, ...]:
        if request.purpose != "backup":
            return ()
        again = MomentProof(run, request.attempt, milvus_bucket).doubtful(lacking)
        # Then the report tells of those whose moment is not proven.
        return () if is_last else again

    def before_deleting() -> None:
        check_owner(run, request.attempt)
        if request.purpose != "restore":
            plan = run.read(PLAN, BackupPlan)
            if plan.is_copy:
                check_copy_stays(run, plan)
            else:
                find_published(run, plan, BackupLayout(plan.destination(run).prefix, plan.backup_name))

    found = verify_copy(
        run,
        request.attempt,
        request.round,
        before_deleting=before_deleting,
        doubtful=doubtful,
        # Those are being imported by now.
        known=complete_indexes(run, request.attempt) if request.purpose == "restore" else (),
    )
    for problem in (*found.missing_source, *found.incomplete):
        logger.warning("not complete", **problem.model_dump(mode="json", exclude={"name"}), target=problem.name)
    if request.purpose != "backup":
        raise_if_refused(found)
        raise_if_source_is_gone(found)
    return VerifyCopyResult(
        status="complete" if not found.again else "exhausted" if is_last else "again",
        incomplete_count=len(found.again),
        next=Round(
            number=request.round + 1, batches=tuple(sorted({index // COLLECTIONS_PER_BATCH for index in found.again}))
        ),
    )
