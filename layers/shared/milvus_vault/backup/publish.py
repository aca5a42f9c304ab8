"""PublishBackup: write the metadata, and the commit marker last."""

import json
import math
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from itertools import batched

from milvus_vault import __version__
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, BackupLayout
from milvus_vault.archive.manifest import FORMAT_VERSION, FULL_FORMAT_VERSION, FileDigest, Manifest, digest
from milvus_vault.archive.reader import find_manifest
from milvus_vault.archive.reference_writer import FILES, ReferenceFiles, marker_file
from milvus_vault.archive.remains import is_there
from milvus_vault.backup.captured import collect
from milvus_vault.backup.documents import Documents, list_bytes, listed_objects
from milvus_vault.backup.locking import lock_objects
from milvus_vault.backup.streamed import put_streamed
from milvus_vault.backup.working_files import LOCKED, RBAC, BackupPlan, Captured
from milvus_vault.claims import check_owner
from milvus_vault.copying.verify import DELETE_AT_A_TIME
from milvus_vault.copying.working_files import attempt_folder
from milvus_vault.deleting import delete_batches, deletion_pacer
from milvus_vault.errors import BackupDamagedError, BackupExistsError, BackupInProgressError, ObjectNotFoundError
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.messages import NextCopy, NextVerification
from milvus_vault.model.names import attempt_of, run_id, short_hash
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.readable import first_of
from milvus_vault.model.requests import ExportRequest, VerifyRequest
from milvus_vault.model.retention import parse_duration
from milvus_vault.parallel import each
from milvus_vault.pool.users import PoolUse
from milvus_vault.ports import HTML
from milvus_vault.workspace import Workspace

_NAMED_LACKING = 3


def lock_captured(
    run: Workspace, plan: BackupPlan, attempt: str, last_round: int, seconds_left: Callable[[], float]
) -> bool:
    """Lock the objects of what was captured, if the plan has a lock; return whether that is done, or time ran short.

    Called again, it goes on. Raises as `publish_backup`, and `LockRefusedError`.
    """
    if plan.lock is None:
        return True
    captured = collect(run, plan, attempt, last_round).captured
    lists = [partial(listed_objects, run, plan, attempt, collection) for collection in captured.collections]
    sizes = list(map(list_bytes, captured.collections))
    return lock_objects(run, plan, attempt, plan.lock, lists, sizes, seconds_left)


def publish_backup(
    run: Workspace,
    plan: BackupPlan,
    layout: BackupLayout,
    attempt: str,
    last_round: int,
    *,
    finished_at: datetime,
    render_report: Callable[[Manifest], bytes],
    seconds_left: Callable[[], float] = lambda: math.inf,
) -> Manifest | None:
    """Publish what was captured, and return its manifest; None where time ran short. Called again, it goes on.

    Where it is to be locked, its objects are by now.

    Collections that the last round of copies left incomplete are left out. Until the marker is written a listing
    shows no backup, so a run that dies here leaves garbage to clean up, never a backup that cannot be restored.
    Raises `BackupFailedError`, or the collections' own error, where there is nothing to publish, and
    `RunTakenOverError` where another execution works on the backup by now.
    """
    found = collect(run, plan, attempt, last_round)
    captured = found.captured
    _remove_leftovers(run, plan, layout, captured)
    destination = plan.destination(run)
    store, bucket, lock = destination.store, destination.bucket, plan.lock
    sections = Documents(run, plan, layout, attempt, last_round).write(found, seconds_left)
    if sections is None:
        return None
    entries = [entry for section in sections.all for entry in section.entries]
    object_count, size_bytes = sum(entry.object_count for entry in entries), sum(entry.size_bytes for entry in entries)
    shared_count = sum(section.shared_count for section in sections.all)
    shared_bytes = sum(section.shared_bytes for section in sections.all)
    rbac = run.read(RBAC, Rbac) if plan.request.include_rbac else None
    files: tuple[FileDigest, ...] = ()
    if not plan.is_incremental:
        # Where its files are missing, milvus-backup passes a backup by: an incremental one it could not restore.
        reference = ReferenceFiles(
            backup_id=plan.backup_id,
            backup_name=plan.backup_name,
            milvus_version=plan.source.milvus_version,
            databases=plan.databases,
            size_bytes=size_bytes,
            flush_all=plan.flush_all,
            rbac=rbac,
        )

        def write_file(name: str) -> FileDigest:
            pieces = reference.pieces(name, sections.texts(name))
            return put_streamed(destination, layout.meta(name), f"meta/{name}", pieces, lock)

        files = tuple(each(write_file, sorted(FILES)))
    manifest = Manifest(
        format_version=FORMAT_VERSION if plan.is_incremental or plan.export or lock else FULL_FORMAT_VERSION,
        backup_name=plan.backup_name,
        backup_id=plan.backup_id,
        created_by=f"milvus-vault {__version__}",
        execution_arn=plan.execution_arn,
        started_at=plan.started_at,
        finished_at=plan.export.finished_at if plan.export else finished_at,
        mode=plan.request.mode,
        meta_only=plan.request.meta_only,
        schedule=plan.request.schedule,
        expires_at=plan.started_at + parse_duration(plan.request.expire_after) if plan.request.expire_after else None,
        source=plan.source,
        databases=tuple(database.name for database in plan.databases),
        database_descriptions=plan.databases,
        collections=tuple(entries),
        moment=plan.moment,
        flush_all=plan.flush_all,
        failures=captured.failures,
        # An export has those of its collections from the original already.
        warnings=(*plan.warnings, *(told for one in captured.collections if not plan.export for told in one.warnings)),
        rbac=_write_rbac(destination, layout, rbac, lock) if rbac else None,
        object_count=object_count,
        size_bytes=size_bytes,
        export_of=plan.export.origin if plan.export else None,
        copied_object_count=object_count - shared_count if plan.is_incremental else None,
        copied_size_bytes=size_bytes - shared_bytes if plan.is_incremental else None,
        lock=lock,
        files=files,
    )
    body = manifest.model_dump_json(indent=1).encode()
    report = render_report(manifest)
    check_owner(run, attempt)
    store.put(bucket, layout.report, report, content_type=HTML, lock=lock)
    store.put(bucket, layout.manifest, body, lock=lock)
    use = PoolUse(run, plan.execution_arn)
    if plan.is_incremental:
        use.publish(lambda: _has_marker_of(run, plan, layout))
    manifest = _commit(run, plan, layout, attempt, manifest, marker_file(manifest, body))
    run.delete([RBAC, LOCKED] if lock else [RBAC])
    if plan.is_incremental:
        use.end()
    return manifest


def _commit(
    run: Workspace, plan: BackupPlan, layout: BackupLayout, attempt: str, manifest: Manifest, marker: bytes
) -> Manifest:
    """Write the marker, never over one that was not looked at, and return the manifest that it promises.

    If there is one already, a second call of this function was faster, and its marker stays; or it does not count
    (see `find_published`), and is replaced.
    """
    bucket = plan.destination(run).bucket
    if run.store.put_if_absent(bucket, layout.marker, marker, lock=plan.lock):
        return manifest
    etag = run.store.get_with_etag(bucket, layout.marker)[1]
    published = find_published(run, plan, layout)
    if published is not None:
        return published
    check_owner(run, attempt)
    if not run.store.put_if_unchanged(bucket, layout.marker, marker, etag, lock=plan.lock):
        msg = f"somebody else wrote {layout.marker} meanwhile"
        raise BackupInProgressError(msg, hint="Look at the backup, and start it again with the same input if need be.")
    return manifest


def _has_marker_of(run: Workspace, plan: BackupPlan, layout: BackupLayout) -> bool:
    """Return whether another call has written this execution's marker, whatever became of the manifest since."""
    try:
        marker = json.loads(run.store.get(run.bucket, layout.marker))
    except (ObjectNotFoundError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("id") == plan.backup_id


def find_published(run: Workspace, plan: BackupPlan, layout: BackupLayout) -> Manifest | None:
    """Return the manifest of the backup that was published by this plan, or None where none was.

    A function of a stopped execution can write its marker after another execution has made a plan and started
    to replace the objects: what that marker promises is no longer there, so it does not count.
    Raises `BackupExistsError` for a marker of anybody else, so that nothing of theirs is deleted or replaced.
    """
    bucket = plan.destination(run).bucket
    if not is_there(run.store, bucket, layout.marker):
        return None
    try:
        manifest = find_manifest(run.store, bucket, layout)
    except BackupDamagedError:
        return None
    if manifest is not None and manifest.execution_arn == plan.execution_arn:
        return manifest
    is_ours = manifest is not None and any(run.names(attempt_folder(attempt_of(manifest.execution_arn))))
    if is_ours or not is_there(run.store, bucket, layout.marker):
        return None
    who = manifest.execution_arn if manifest else "another program"
    msg = f"backup '{layout.name}' exists already, and {who} made it: s3://{bucket}/{layout.root}"
    raise BackupExistsError(msg, hint="It stays as it is. Choose another name.")


def next_verification(plan: BackupPlan) -> NextVerification | None:
    """Return the verification that the plan's request asks for, if any: by a repeated call the same."""
    options = plan.request.verify
    if options is None:
        return None
    name = _name_after(plan)
    request = VerifyRequest(backup_name=plan.backup_name, schedule=plan.request.schedule, **dict(options))
    return NextVerification(run=run_id("verify", name), name=name, request=request)


def next_copy(plan: BackupPlan) -> NextCopy | None:
    """Return the copy that the plan's request asks for, if any: by a repeated call the same."""
    if plan.request.copy_to is None:
        return None
    name = _name_after(plan)
    request = ExportRequest.copy_of(plan.backup_name, plan.request.copy_to)
    return NextCopy(run=run_id("export", name), name=name, request=request)


def _name_after(plan: BackupPlan) -> str:
    """Return the name of the executions that follow the plan's own, one of each machine."""
    return f"after-{short_hash(plan.execution_arn, 16)}"


def name_taken(name: str, lacking: Sequence[str]) -> BackupExistsError:
    """Return the error for a new backup's name that is taken; a partial one is not filled up: a backup is one moment.

    Args:
        name: The backup's name.
        lacking: The collections that it was to have and has not, as database.collection.
    """
    msg = f"backup '{name}' exists already"
    if not lacking:
        hint = "Choose another name; a backup that is given none gets one with date and time."
        return BackupExistsError(msg, hint=hint)
    hint = "Back those up under another name, or delete this one first: what is published stays as it is."
    without = first_of(lacking, _NAMED_LACKING)
    return BackupExistsError(f"{msg}, without {without}, which could not be backed up", hint=hint)


def export_name_taken(name: str, folder: str = "") -> BackupExistsError:
    """Return the error for the name of an export that is taken.

    Args:
        name: The export's name.
        folder: Where the other backup lies, as s3://bucket/prefix; empty: beside the other backups of the deployment.
    """
    where = f" in {folder}" if folder else ""
    return BackupExistsError(
        f"backup '{name}' exists already{where}", hint="It stays as it is. Choose another name for the export."
    )


def _write_rbac(destination: Workspace, layout: BackupLayout, rbac: Rbac, lock: ObjectLock | None) -> FileDigest:
    body = rbac.model_dump_json().encode()
    destination.store.put(destination.bucket, layout.rbac, body, lock=lock)
    return digest(layout.rbac.removeprefix(layout.root), body)


def _remove_leftovers(run: Workspace, plan: BackupPlan, layout: BackupLayout, captured: Captured) -> None:
    """Delete the objects of collections that are not in the backup.

    They failed half way, were left out by another attempt, or were dropped and created again in between, which
    gave them another ID. Nobody would restore them, nor delete them by the backup's lists.
    Raises `BackupExistsError` where they are of a backup that somebody else has published.
    """
    store, bucket = run.store, plan.destination(run).bucket
    if plan.is_incremental:
        # What lies here an earlier attempt copied for a full backup of the name.
        left = [layout.binlogs]
    else:
        ids = {str(collection.collection_id) for collection in captured.collections}
        folders = [f"{layout.binlogs}{kind}/" for kind in (INSERT_LOG, DELTA_LOG)]
        there = each(lambda folder: list(store.list_folders(bucket, folder)), folders)
        named = zip(folders, list(there), strict=True)
        left = [f"{folder}{number}/" for folder, numbers in named for number in numbers if number not in ids]
    gone = delete_batches(
        store,
        bucket,
        batched((one for folder in left for one in store.list_objects(bucket, folder)), DELETE_AT_A_TIME, strict=False),
        lambda listed: listed.key,
        pacer=deletion_pacer(),
        before=lambda: find_published(run, plan, layout),
    )
    deque(gone, maxlen=0)
