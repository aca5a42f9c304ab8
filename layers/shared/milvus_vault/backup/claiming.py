"""The name of a new backup: what is there already, and who works on it."""

from collections.abc import Callable, Collection

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest
from milvus_vault.archive.reader import find_manifest
from milvus_vault.archive.remains import has_lost_its_marker, is_there
from milvus_vault.archive.tombstones import is_being_deleted
from milvus_vault.backup.publish import find_published
from milvus_vault.backup.working_files import PLAN, BackupPlan
from milvus_vault.claims import CLAIM, RUNNING, Claim, ClaimHeldError, Claims
from milvus_vault.errors import BackupDamagedError, BackupExistsError, BackupFormatError, BackupInProgressError
from milvus_vault.model.names import WATCH_OR_STOP, attempt_of, named_run
from milvus_vault.model.times import utc_second
from milvus_vault.workspace import Workspace

_REPAIR_HINT = "Choose another name, or repair that backup."


def is_published(
    run: Workspace,
    layout: BackupLayout,
    claims: Claims,
    *,
    destination: Workspace,
    was_listed: Callable[[], bool],
    is_same: Callable[[BackupPlan], bool],
    name_taken: Callable[[Manifest | None], BackupExistsError],
) -> bool:
    """Return whether an execution with the same request published this backup, and died then (or is this one).

    Raises `BackupExistsError` for every other backup of this name, damaged ones as well, so that nothing is copied
    over what can be restored or repaired, and `BackupInProgressError` where somebody is at work on it.

    Args:
        run: The working files of the backup.
        layout: Where the backup lies.
        claims: Those of this execution.
        destination: The run, or that of another place where the backup is written: what lies there without a marker is
            looked at by `claim_elsewhere`.
        was_listed: Whether the catalogue has an entry of this name, as each backup has whose marker was written.
        is_same: Whether a plan is of the same request.
        name_taken: Gives the error for a name that another backup has, of which this is the manifest, if it has one.
    """
    found = claims.holder(run.key(CLAIM))
    status = found[1] if found else ""
    may_resume = found is not None and claims.is_mine_or_died(*found)
    bucket = destination.bucket
    if not is_there(run.store, bucket, layout.marker):
        if destination != run:
            return False
        # Of a run that died a moment before its marker, the execution that resumes it goes on.
        is_lost = not (may_resume or status in RUNNING) or was_listed()
        if is_lost and has_lost_its_marker(run.store, bucket, layout):
            msg = f"backup '{layout.name}' exists and has lost its marker: s3://{bucket}/{layout.root}"
            raise BackupExistsError(msg, hint=_REPAIR_HINT)
        return False
    if status == "RUNNING" and found is not None and not may_resume:
        raise _in_progress(_named(layout.name), found[0])
    try:
        published = find_manifest(run.store, bucket, layout)
    except (BackupDamagedError, BackupFormatError) as err:
        msg = f"backup '{layout.name}' exists already, and cannot be read: {err.message}"
        raise BackupExistsError(msg, hint=_REPAIR_HINT) from err
    plan = run.find(PLAN, BackupPlan) if may_resume else None
    if plan is None or not is_same(plan):
        raise name_taken(published)
    claim_name(claims, run, layout.name)
    return find_published(run, plan, layout) is not None


def claim_name(claims: Claims, run: Workspace, name: str) -> None:
    """Take the claim of the run that makes a backup. Raises `BackupInProgressError`."""
    take_claim(claims, run.key(CLAIM), _named(name))


def take_claim(claims: Claims, key: str, what: str) -> None:
    """Take the claim of a name. Raises `BackupInProgressError`, which says what it is that another execution makes."""
    try:
        claims.take(key)
    except ClaimHeldError as err:
        raise _in_progress(what, err.holder) from err


def claim_elsewhere(
    claims: Claims,
    run: Workspace,
    destination: Workspace,
    layout: BackupLayout,
    is_there: Callable[[], bool] = lambda: False,
) -> None:
    """Take the claim of a backup's name in another place, as a backup that is made there does.

    So that exports of any deployment and backups of one that is there exclude each other. Whether an execution of
    another deployment still runs nobody here can ask: its claim holds until that deployment takes it away.

    Raises:
        BackupInProgressError: Somebody else holds the claim, or deletes the backup of this name.
        BackupExistsError: Something lies there that no earlier execution of this run has left.

    Args:
        claims: Those of this execution in the place's bucket.
        run: The working files of the export.
        destination: The run of the name in the other place.
        layout: Where the backup is to lie.
        is_there: Whether what lies there is this very backup, copied by whomever.
    """
    key = destination.key(CLAIM)
    found = claims.holder(key)
    is_resumed = found is not None and found[0].run == run.run and claims.is_mine_or_died(*found)

    def check_is_free() -> None:
        if is_being_deleted(destination.store, destination.bucket, destination.prefix, layout.name):
            msg = f"backup '{layout.name}' is being deleted in s3://{destination.bucket}/{destination.prefix}"
            hint = "Let a prune of the deployment there end it, or choose another name."
            raise BackupInProgressError(msg, hint=hint)
        if not is_resumed and not is_there() and any(destination.store.list_objects(destination.bucket, layout.root)):
            msg = f"something lies in s3://{destination.bucket}/{layout.root} already, which is no whole backup"
            raise BackupExistsError(msg, hint="Choose another name, or delete that folder if nobody needs it.")

    # What is refused takes no claim, not even for a moment: somebody who works there would be turned away by it. Who
    # has the claim is told first, since what lies there is of that one.
    if found is None:
        check_is_free()
    claim_name(claims, destination, layout.name)
    # Somebody may have written there until the claim was ours.
    check_is_free()


def give_back_elsewhere(destination: Workspace, attempts: Collection[str]) -> None:
    """Delete the claim of a backup's name in another place, where one of these attempts holds it.

    The marker is there by then, and keeps the name. A deployment that is there could not ask whether we still run, and
    would never delete the backup.
    """
    claim = destination.find(CLAIM, Claim)
    if claim is not None and attempt_of(claim.execution_arn) in attempts:
        destination.delete([CLAIM])


def _named(name: str) -> str:
    return f"backup '{name}'"


def _in_progress(what: str, holder: Claim) -> BackupInProgressError:
    since = utc_second(holder.claimed_at)
    msg = f"{named_run(holder.execution_arn)} is working on {what} since {since}"
    return BackupInProgressError(msg, hint=f"{WATCH_OR_STOP}. Or choose another name.")
