"""What the catalogue says of a backup: from our manifest, or from the metadata of another tool's backup."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from milvus_vault.archive.contents import Archive, ArchivedCollection
from milvus_vault.archive.layout import BackupLayout, milvus_location
from milvus_vault.archive.manifest import Manifest
from milvus_vault.archive.reader import read_archive, read_manifest, read_objects
from milvus_vault.archive.reference_messages import BackupMessage, parse_message
from milvus_vault.errors import BackupDamagedError
from milvus_vault.model.hybrid import as_datetime_or_none
from milvus_vault.model.names import execution_name, run_id
from milvus_vault.model.resources import BackedUpCollection, Backup, BackupSummary, FailedCollection
from milvus_vault.model.times import EPOCH, check_time
from milvus_vault.model.words import wrong_fields
from milvus_vault.ports import ObjectStore


@contextmanager
def of_a_backup(name: str) -> Iterator[None]:
    """Raise `BackupDamagedError` where what a backup's metadata says adds up to what no backup can be."""
    try:
        yield
    except ValidationError as err:
        wrong = "; ".join(f"{path} {words}" for path, words in wrong_fields(err))
        msg = f"the metadata of backup '{name}' says what no backup can be: {wrong}"
        raise BackupDamagedError(msg, hint="Restore its metadata from a copy, or use another backup.") from err


def summary_of(manifest: Manifest) -> BackupSummary:
    """Return the summary of a backup of ours. Raises `BackupDamagedError` where its numbers add up to none."""
    with of_a_backup(manifest.backup_name):
        return _summary_of(manifest)


def _summary_of(manifest: Manifest) -> BackupSummary:
    return BackupSummary(
        name=manifest.backup_name,
        status="partial" if manifest.is_partial else "complete",
        created_at=manifest.started_at,
        finished_at=manifest.finished_at,
        size_bytes=manifest.size_bytes,
        object_count=manifest.object_count,
        collection_count=len(manifest.collections),
        row_count=sum(entry.row_count for entry in manifest.collections),
        milvus_version=manifest.source.milvus_version,
        source=milvus_location(manifest.source.bucket, manifest.source.root_path),
        meta_only=manifest.meta_only,
        schedule=manifest.schedule.name if manifest.schedule else None,
        expires_at=manifest.expires_at,
        lock=manifest.lock,
        holds_secrets=manifest.holds_secrets,
        mode="incremental" if manifest.is_incremental else "full",
        copied_object_count=manifest.copied_object_count,
        copied_size_bytes=manifest.copied_size_bytes,
    )


@dataclass(frozen=True, slots=True)
class OpenedBackup:
    """A backup of which all was read that is needed to describe it."""

    description: Backup
    """In full, except its hold, its verification and its report."""
    metadata: Manifest | Archive
    """Our manifest, or what another tool recorded. Its collections are those of the description, in the same order."""


def open_backup(store: ObjectStore, bucket: str, layout: BackupLayout) -> OpenedBackup:
    """Read and return a backup.

    Raises:
        BackupNotFoundError: There is no commit marker.
        BackupDamagedError: Its metadata is missing or damaged.
        BackupFormatError: It is in a format that cannot be read.
    """
    manifest = read_manifest(store, bucket, layout)
    location = f"s3://{bucket}/{layout.root}"
    with of_a_backup(layout.name):
        if manifest:
            return OpenedBackup(_of_manifest(manifest, layout, location), manifest)
        archive = read_archive(store, bucket, layout)
        return OpenedBackup(_of_another_tool(store, bucket, layout, location, archive), archive)


def describe(store: ObjectStore, bucket: str, layout: BackupLayout) -> Backup:
    """Return a backup in full, except its hold, its verification and its report. Raises as `open_backup`."""
    return open_backup(store, bucket, layout).description


def _of_manifest(manifest: Manifest, layout: BackupLayout, location: str) -> Backup:
    return Backup(
        # A folder that somebody copied to another name is a backup of that name.
        **summary_of(manifest).model_copy(update={"name": layout.name}).model_dump(),
        location=location,
        moment=as_datetime_or_none(manifest.moment),
        databases=manifest.selected_databases,
        run=_run_of(manifest),
        export_of=manifest.export_of.backup_name if manifest.export_of else None,
        collections=tuple(
            BackedUpCollection(
                database=entry.name.database,
                name=entry.name.name,
                row_count=entry.row_count,
                live_row_count=entry.live_row_count,
                segment_count=entry.segment_count,
                object_count=entry.object_count,
                size_bytes=entry.size_bytes,
                moment=as_datetime_or_none(entry.moment),
            )
            for entry in manifest.collections
        ),
        failures=tuple(
            FailedCollection(
                database=failure.name.database, name=failure.name.name, error=failure.error, message=failure.message
            )
            for failure in manifest.failures
        ),
        warnings=manifest.warnings,
        retention=manifest.schedule.retention if manifest.schedule else None,
    )


def _run_of(manifest: Manifest) -> str | None:
    kind = "export" if manifest.export_of else "backup"
    return run_id(kind, execution_name(manifest.execution_arn)) if manifest.execution_arn else None


def _of_another_tool(store: ObjectStore, bucket: str, layout: BackupLayout, location: str, archive: Archive) -> Backup:
    collections = tuple(_collection(store, bucket, layout, collection) for collection in archive.collections)
    created_at, finished_at = _times(store, bucket, layout)
    return Backup(
        name=layout.name,
        status="complete",
        created_at=created_at,
        finished_at=finished_at,
        size_bytes=sum(collection.size_bytes for collection in collections),
        object_count=sum(collection.object_count for collection in collections),
        collection_count=len(collections),
        row_count=sum(collection.row_count for collection in collections),
        milvus_version=str(archive.milvus_version),
        meta_only=archive.meta_only,
        holds_secrets=archive.rbac is not None,
        origin=_origin(archive),
        location=location,
        databases=archive.databases,
        collections=collections,
        warnings=archive.warnings,
    )


def _origin(archive: Archive) -> str:
    return archive.origin.replace("_", "-")


def _collection(
    store: ObjectStore, bucket: str, layout: BackupLayout, collection: ArchivedCollection
) -> BackedUpCollection:
    objects = read_objects(store, bucket, layout, collection)
    return BackedUpCollection(
        database=collection.name.database,
        name=collection.name.name,
        row_count=collection.row_count,
        live_row_count=collection.live_row_count,
        segment_count=len(collection.segments),
        object_count=len(objects),
        size_bytes=sum(item.size_bytes for item in objects),
    )


def _times(store: ObjectStore, bucket: str, layout: BackupLayout) -> tuple[datetime, datetime | None]:
    """Return when a backup of another tool was begun and finished; old releases do not say: then its marker's time.

    Raises `BackupDamagedError` for a number that is no time.
    """
    try:
        said = parse_message(BackupMessage, store.get(bucket, layout.marker))
    except ValueError:
        said = BackupMessage()
    finished_at = _moment(layout, said.end_time) if said.end_time else None
    if said.start_time:
        return _moment(layout, said.start_time), finished_at
    return _written_at(store, bucket, layout.marker), finished_at


def _moment(layout: BackupLayout, milliseconds: int) -> datetime:
    try:
        moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
        return check_time(max(moment, EPOCH))
    except (ValueError, OverflowError, OSError) as err:
        msg = f"{layout.marker} says that the backup was made {milliseconds} ms after 1970, which is no time"
        raise BackupDamagedError(msg, hint="Correct the number in the marker; all else may be as it was.") from err


def _written_at(store: ObjectStore, bucket: str, prefix: str) -> datetime:
    return next((o.modified_at for o in store.list_objects(bucket, prefix) if o.modified_at), EPOCH)


def damaged_summary(store: ObjectStore, bucket: str, layout: BackupLayout, damage: str) -> BackupSummary:
    """Return what a list shows of a folder that is a backup and cannot be read: when it was written, and the damage."""
    return BackupSummary(
        name=layout.name,
        status="damaged",
        created_at=_written_at(store, bucket, layout.root),
        finished_at=None,
        size_bytes=0,
        object_count=0,
        collection_count=0,
        row_count=0,
        milvus_version="",
        origin="",
        damage=damage,
    )
