"""PublishBackup: write the metadata, and the commit marker last."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import batched

from milvus_vault import __version__
from milvus_vault.archive.layout import DELTA_LOG, INSERT_LOG, BackupLayout
from milvus_vault.archive.manifest import (
    FORMAT_VERSION,
    FULL_FORMAT_VERSION,
    CollectionDocument,
    CollectionEntry,
    CollectionFailure,
    FileDigest,
    Manifest,
    digest,
    entry_of,
    read_object_list,
    write_object_list,
)
from milvus_vault.archive.other_etags import are_comparable
from milvus_vault.archive.pool import copied_by
from milvus_vault.archive.reader import find_manifest
from milvus_vault.archive.reference_writer import marker_file, reference_files
from milvus_vault.archive.remains import is_there
from milvus_vault.backup.locking import ListedObjects, lock_objects
from milvus_vault.backup.working_files import (
    LOCKED,
    RBAC,
    BackupPlan,
    Snapshot,
    Verdict,
    exported_name,
    shared_name,
    snapshot_name,
)
from milvus_vault.claims import check_owner
from milvus_vault.copying.verify import DELETE_AT_A_TIME, read_copy_check
from milvus_vault.copying.working_files import CopyCheck, attempt_folder, read_items, read_verified
from milvus_vault.errors import (
    BackupDamagedError,
    BackupExistsError,
    BackupFailedError,
    BackupInProgressError,
    ObjectNotFoundError,
    SegmentTornError,
    VaultError,
    leaf_named,
    shared_hint,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.messages import NextCopy, NextVerification
from milvus_vault.model.names import attempt_of, run_id, short_hash
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.rbac import Rbac
from milvus_vault.model.readable import first_of
from milvus_vault.model.requests import ExportRequest, VerifyRequest
from milvus_vault.model.retention import parse_duration
from milvus_vault.pool.users import PoolUse
from milvus_vault.ports import HTML
from milvus_vault.workspace import Workspace

_NAMED_LACKING = 3


@dataclass(frozen=True, slots=True)
class CapturedCollection:
    """A collection whose objects are all in the backup."""

    index: int
    document: CollectionDocument
    warnings: tuple[str, ...]
    has_target: bool
    """Whether some of its objects were copied; else all are shared."""


def lock_captured(
    run: Workspace, plan: BackupPlan, attempt: str, last_round: int, seconds_left: Callable[[], float]
) -> bool:
    """Lock the objects of what was captured, if the plan has a lock; return whether that is done, or time ran short.

    Called again, it goes on. Raises as `publish_backup`, and `LockRefusedError`.
    """
    if plan.lock is None:
        return True
    captured, _ = _collect(run, plan, attempt, last_round)
    lists = [partial(_listed, run, plan, attempt, collection) for collection in captured]
    return lock_objects(run, plan, attempt, plan.lock, lists, seconds_left)


def publish_backup(
    run: Workspace,
    plan: BackupPlan,
    layout: BackupLayout,
    attempt: str,
    last_round: int,
    *,
    finished_at: datetime,
    render_report: Callable[[Manifest], bytes],
) -> Manifest:
    """Publish what was captured, and return its manifest. Where it is to be locked, its objects are by now.

    Collections that the last round of copies left incomplete are left out. Until the marker is written a listing
    shows no backup, so a run that dies here leaves garbage to clean up, never a backup that cannot be restored.
    Raises `BackupFailedError`, or the collections' own error, where there is nothing to publish, and
    `RunTakenOverError` where another execution works on the backup by now.
    """
    captured, failures = _collect(run, plan, attempt, last_round)
    _remove_leftovers(run, plan, layout, captured)
    destination = plan.destination(run)
    store, bucket, lock = destination.store, destination.bucket, plan.lock

    entries: list[CollectionEntry] = []
    shared_sizes: list[int] = []

    def contents() -> Iterator[tuple[CollectionDocument, Iterator[ArchivedObject]]]:
        # One at a time: the objects of all collections would be gigabytes.
        for collection in captured:
            check_owner(run, attempt)
            shared, listed = _listed(run, plan, attempt, collection)
            # What an earlier round of this execution copied is in the pool as well.
            shared_sizes.extend(item.size_bytes for item in shared if copied_by(item.stored_key) != attempt)
            objects = write_object_list(listed)
            entries.append(_write_collection(destination, layout, collection.document, objects, lock))
            yield collection.document, read_object_list(objects)

    rbac = run.read(RBAC, Rbac) if plan.request.include_rbac else None
    reference: Mapping[str, bytes] = {}
    if plan.is_incremental:
        # Where its files are missing, milvus-backup passes a backup by: this one it could not restore.
        deque(contents(), maxlen=0)
    else:
        reference = reference_files(
            backup_id=plan.backup_id,
            backup_name=plan.backup_name,
            milvus_version=plan.source.milvus_version,
            databases=plan.databases,
            flush_all=plan.flush_all,
            rbac=rbac,
            collections=contents(),
        )
    for name, body in reference.items():
        store.put(bucket, layout.meta(name), body, lock=lock)
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
        failures=tuple(failures),
        # An export has those of its collections from the original already.
        warnings=(*plan.warnings, *(told for each in captured if not plan.export for told in _warnings(each))),
        rbac=_write_rbac(destination, layout, rbac, lock) if rbac else None,
        object_count=(object_count := sum(entry.object_count for entry in entries)),
        size_bytes=(size_bytes := sum(entry.size_bytes for entry in entries)),
        export_of=plan.export.origin if plan.export else None,
        copied_object_count=object_count - len(shared_sizes) if plan.is_incremental else None,
        copied_size_bytes=size_bytes - sum(shared_sizes) if plan.is_incremental else None,
        lock=lock,
        files=tuple(digest(f"meta/{name}", body) for name, body in sorted(reference.items())),
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


def failed(failures: Sequence[CollectionFailure], hint: str = "") -> VaultError:
    """Return the error for a backup that is not published: the collections' own where all failed alike.

    Args:
        failures: Why each failed.
        hint: What to do about all of them, if that is one thing.
    """
    again = "Start the backup again with the same input once the cause is gone: it copies only what is missing."
    listed = first_of([f"{f.name}: {f.error}: {f.message}" for f in failures], separator="; ")
    names = {failure.error for failure in failures}
    leaf = leaf_named(names.pop()) if len(names) == 1 else BackupFailedError
    return leaf(
        f"nothing is published, since {len(failures)} collection(s) failed: {listed}",
        hint=f"{hint} {again}" if hint else again,
    )


def incomplete(name: CollectionName, found: CopyCheck | None) -> CollectionFailure:
    """Return why a collection is not in a backup of which not all objects were copied, by what the last round found."""
    text = "its objects kept vanishing while they were copied"
    if found and found.refusal:
        text = f"S3 refused to copy objects: {found.refusal.error}: {found.refusal.message}"
    return CollectionFailure(name=name, error="CopyIncompleteError", message=text)


def _collect(
    run: Workspace, plan: BackupPlan, attempt: str, last_round: int
) -> tuple[list[CapturedCollection], list[CollectionFailure]]:
    """Return what was captured, and what was not and why. Raises where there is nothing to publish."""
    check_owner(run, attempt)
    found = None if plan.request.meta_only else read_copy_check(run, attempt, last_round)
    captured: list[CapturedCollection] = []
    failures: list[CollectionFailure] = []
    hints: list[str] = []
    refused = found.refusal.hint if found and found.refusal else ""
    for index, name in enumerate(plan.collections):
        snapshot = run.read(snapshot_name(attempt, index), Snapshot)
        if snapshot.failure or not snapshot.document:
            failures.append(snapshot.failure or incomplete(name, found))
            hints.append(snapshot.hint if snapshot.failure else refused)
        elif snapshot.verdict is Verdict.MISCOUNTED:
            # No restore would take it: the rows that are imported are counted.
            text = snapshot.document.moment_doubt
            failures.append(CollectionFailure(name=name, error=SegmentTornError.__name__, message=text))
            hints.append("")
        elif found is not None and index in found.again:
            failures.append(incomplete(name, found))
            hints.append(refused)
        else:
            captured.append(CapturedCollection(index, snapshot.document, snapshot.warnings, snapshot.has_target))
    if failures and (not captured or plan.request.on_collection_failure == "fail"):
        raise failed(failures, shared_hint(hints))
    return captured, failures


def _warnings(captured: CapturedCollection) -> Iterator[str]:
    yield from captured.warnings
    document = captured.document
    if document.moment_doubt:
        yield f"The moment of {document.description.name} could not be proven: {document.moment_doubt}"


def _listed(run: Workspace, plan: BackupPlan, attempt: str, collection: CapturedCollection) -> ListedObjects:
    shared: list[ArchivedObject] = []
    if plan.is_incremental:
        shared = list(read_object_list(run.read_bytes(shared_name(attempt, collection.index))))
    return shared, _objects(run, plan, attempt, collection, shared)


def _objects(
    run: Workspace, plan: BackupPlan, attempt: str, collection: CapturedCollection, shared: list[ArchivedObject]
) -> Iterable[ArchivedObject]:
    if plan.request.meta_only:
        return ()
    if not collection.has_target:
        return sorted(shared, key=lambda item: item.stored_key)
    index = collection.index
    verified = read_verified(run, attempt, index)
    items = read_items(run, attempt, index)
    if plan.export:
        originals = read_object_list(run.read_bytes(exported_name(attempt, index)))
        pairs = zip(items, originals, strict=True)
        return (_exported(original, item.key, *verified[item.key]) for item, original in pairs)
    copied = (ArchivedObject(item.key, item.source_key, item.size_bytes, *verified[item.key]) for item in items)
    # In order, so that a sweep of the pool can go through the lists of many backups side by side.
    return sorted((*shared, *copied), key=lambda item: item.stored_key) if plan.is_incremental else copied


def _exported(original: ArchivedObject, key: str, etag: str, checksum: str) -> ArchivedObject:
    """Return the copy of an object of a backup as an export lists it: what it is a log of is told by Milvus' key.

    Raises as `check_checksum` does.
    """
    check_checksum(original, checksum)
    return replace(original, stored_key=key, etag=etag, checksum=checksum or original.checksum)


def check_checksum(original: ArchivedObject, checksum: str) -> None:
    """Raise `BackupDamagedError` where S3 computed another checksum of the copy of an object than was recorded."""
    recorded = original.checksum
    if recorded and checksum and recorded != checksum and are_comparable(recorded, checksum):
        msg = f"{original.stored_key} is not what was backed up: its copy has checksum {checksum} instead of {recorded}"
        raise BackupDamagedError(msg, hint="Bring it back from a copy or an older version of it.")


def _write_collection(
    destination: Workspace,
    layout: BackupLayout,
    document: CollectionDocument,
    objects: bytes,
    lock: ObjectLock | None,
) -> CollectionEntry:
    """Write a collection's description and its object list, and return its entry in the manifest."""
    number = document.description.collection_id
    body = document.model_dump_json().encode()
    destination.store.put(destination.bucket, layout.collection_document(number), body, lock=lock)
    destination.store.put(destination.bucket, layout.object_list(number), objects, lock=lock)
    return entry_of(layout, document, body, objects)


def _write_rbac(destination: Workspace, layout: BackupLayout, rbac: Rbac, lock: ObjectLock | None) -> FileDigest:
    body = rbac.model_dump_json().encode()
    destination.store.put(destination.bucket, layout.rbac, body, lock=lock)
    return digest(layout.rbac.removeprefix(layout.root), body)


def _remove_leftovers(
    run: Workspace, plan: BackupPlan, layout: BackupLayout, captured: list[CapturedCollection]
) -> None:
    """Delete the objects of collections that are not in the backup.

    They failed half way, were left out by another attempt, or were dropped and created again in between, which
    gave them another ID. Nobody would restore them, nor delete them by the backup's lists.
    Raises `BackupExistsError` where they are of a backup that somebody else has published.
    """
    store, bucket = run.store, plan.destination(run).bucket
    if plan.is_incremental:
        # What lies here an earlier attempt copied for a full backup of the name.
        for some in batched(store.list_objects(bucket, layout.binlogs), DELETE_AT_A_TIME, strict=False):
            find_published(run, plan, layout)
            store.delete(bucket, (listed.key for listed in some))
        return
    ids = {str(collection.document.description.collection_id) for collection in captured}
    for kind in (INSERT_LOG, DELTA_LOG):
        for folder in store.list_folders(bucket, f"{layout.binlogs}{kind}/"):
            if folder not in ids:
                find_published(run, plan, layout)
                left = store.list_objects(bucket, f"{layout.binlogs}{kind}/{folder}/")
                store.delete(bucket, (listed.key for listed in left))
