"""The name of a new backup: what is there already, and who works on it."""

from collections.abc import Callable

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import find_manifest
from milvus_vault.archive.remains import has_lost_its_marker, is_there
from milvus_vault.backup.publish import find_published, name_taken
from milvus_vault.backup.working_files import PLAN, BackupPlan
from milvus_vault.claims import CLAIM, DIED, RUNNING, Claim, ClaimHeldError, Claims
from milvus_vault.errors import BackupDamagedError, BackupExistsError, BackupFormatError, BackupInProgressError
from milvus_vault.model.times import utc_second
from milvus_vault.workspace import Workspace

_REPAIR_HINT = "Choose another name, or repair that backup."


def is_published(
    run: Workspace,
    layout: BackupLayout,
    claims: Claims,
    execution_arn: str,
    *,
    was_listed: Callable[[], bool],
    is_same: Callable[[BackupPlan], bool],
) -> bool:
    """Return whether an execution with the same request published this backup, and died then (or is this one).

    Raises `BackupExistsError` for every other backup of this name, damaged ones as well, so that nothing is copied
    over what can be restored or repaired, and `BackupInProgressError` where somebody is at work on it.

    Args:
        run: The working files of the backup.
        layout: Where the backup lies.
        claims: Those of this execution.
        execution_arn: Its ARN.
        was_listed: Whether the catalogue has an entry of this name, as each backup has whose marker was written.
        is_same: Whether a plan is of the same request.
    """
    found = claims.holder(run.key(CLAIM))
    status = found[1] if found else ""
    may_resume = status in DIED or (found is not None and found[0].execution_arn == execution_arn)
    if not is_there(run.store, run.bucket, layout.marker):
        # Of a run that died a moment before its marker, the execution that resumes it goes on.
        is_lost = not (may_resume or status in RUNNING) or was_listed()
        if is_lost and has_lost_its_marker(run.store, run.bucket, layout):
            msg = f"backup '{layout.name}' exists and has lost its marker: s3://{run.bucket}/{layout.root}"
            raise BackupExistsError(msg, hint=_REPAIR_HINT)
        return False
    if status == "RUNNING" and found is not None and not may_resume:
        raise _in_progress(layout.name, found[0])
    try:
        published = find_manifest(run.store, run.bucket, layout)
    except (BackupDamagedError, BackupFormatError) as err:
        msg = f"backup '{layout.name}' exists already, and cannot be read: {err.message}"
        raise BackupExistsError(msg, hint=_REPAIR_HINT) from err
    plan = run.find(PLAN, BackupPlan) if may_resume else None
    if plan is None or not is_same(plan):
        raise name_taken(layout.name, [str(failure.name) for failure in published.failures] if published else [])
    claim_name(claims, run, layout.name)
    return find_published(run, plan, layout) is not None


def claim_name(claims: Claims, run: Workspace, name: str) -> None:
    """Take the claim of the run that makes a backup. Raises `BackupInProgressError`."""
    try:
        claims.take(run.key(CLAIM))
    except ClaimHeldError as err:
        raise _in_progress(name, err.holder) from err


def _in_progress(name: str, holder: Claim) -> BackupInProgressError:
    since = utc_second(holder.claimed_at)
    msg = f"execution {holder.execution_arn} is working on backup '{name}' since {since}"
    return BackupInProgressError(msg, hint="Wait for it, stop it, or choose another name.")
