"""Read a backup that milvus-backup made.

`full_meta.json` holds everything, and says the same as the other files where these are there. Where it is missing, they
hold everything together, except the L0 segments of whole collections: without them deleted rows would live again, so
those are looked up by listing.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress

from milvus_vault.archive.contents import Archive
from milvus_vault.archive.layout import BackupLayout, parse_log_key
from milvus_vault.archive.reference_agreement import disagreement, named_twice
from milvus_vault.archive.reference_messages import (
    BackupMessage,
    BinlogMessage,
    CollectionsMessage,
    FieldBinlogMessage,
    Kept,
    Level,
    Logs,
    PartitionMessage,
    PartitionsMessage,
    SegmentMessage,
    SegmentsMessage,
    read_message,
)
from milvus_vault.archive.reference_rbac import translate_rbac
from milvus_vault.archive.reference_translate import (
    losses,
    translate_collection,
    translate_database,
)
from milvus_vault.archive.reference_writer import COLLECTION_META, FULL_META, PARTITION_META, SEGMENT_META
from milvus_vault.errors import BackupDamagedError, BackupFormatError, ObjectNotFoundError
from milvus_vault.model.collections import ALL_PARTITIONS, DEFAULT_DATABASE
from milvus_vault.model.versions import parse_version
from milvus_vault.ports import ObjectStore

# The small ones first.
_LEVELS: tuple[tuple[type[CollectionsMessage | PartitionsMessage | SegmentsMessage], str], ...] = (
    (CollectionsMessage, COLLECTION_META),
    (PartitionsMessage, PARTITION_META),
    (SegmentsMessage, SEGMENT_META),
)


def read_reference_archive(store: ObjectStore, bucket: str, layout: BackupLayout, marker: bytes) -> Archive:
    """Return a backup of milvus-backup, whose `backup_meta.json` is `marker`.

    Raises:
        BackupFormatError: The backup is not one of copied binlogs.
        BackupDamagedError: A metadata file is missing, or is not what it should be.
    """
    warnings = []
    backup = read_full_message(store, bucket, layout, marker)
    if backup is None:
        backup = _read_levels(store, bucket, layout, marker)
        known = "users and rights, properties and keys of databases, up to where all was flushed"
        warnings = [f"{layout.meta(FULL_META)} is missing, with what it alone knows: {known}"]
    if not backup.collection_backups and any(store.list_objects(bucket, layout.binlogs)):
        msg = f"the metadata of backup '{layout.name}' names no collection, and there are objects in {layout.binlogs}"
        raise BackupDamagedError(msg, hint="Restore the metadata from a copy, or use another backup.")
    if twice := named_twice(backup):
        msg = f"the metadata of backup '{layout.name}' names {twice} twice"
        raise BackupDamagedError(msg, hint="Restore the metadata from a copy, or use another backup.")
    warnings += [
        f"database {database.db_name} is encrypted; Milvus needs its key to import from this backup"
        for database in backup.database_backups
        if database.ezk
    ]
    warnings += [warning for collection in backup.collection_backups for warning in losses(collection)]
    collections = tuple(translate_collection(layout, collection) for collection in backup.collection_backups)
    return Archive(
        name=layout.name,
        milvus_version=parse_version(backup.milvus_version),
        origin="milvus_backup",
        has_checksums=False,
        # milvus-backup does not record it: without any segment there is only metadata.
        meta_only=not any(collection.segments for collection in collections),
        databases=tuple(
            dict.fromkeys(
                [
                    *(database.db_name or DEFAULT_DATABASE for database in backup.database_backups),
                    *(collection.name.database for collection in collections),
                ]
            )
        ),
        database_descriptions=tuple(translate_database(database) for database in backup.database_backups),
        collections=collections,
        warnings=tuple(warnings),
        rbac=translate_rbac(backup.rbac_meta) if backup.rbac_meta else None,
    )


def read_full_message(
    store: ObjectStore, bucket: str, layout: BackupLayout, marker: bytes | None
) -> BackupMessage | None:
    """Return what `full_meta.json` says of a backup with this marker, or of one without; None where it is not there.

    Raises:
        BackupFormatError: The backup is not one of copied binlogs.
        BackupDamagedError: A file that is there cannot be read, or says something else than the others.
    """
    summary = _parse(BackupMessage, layout.marker, [marker]) if marker is not None else None
    if summary is not None:
        _check_format(layout, summary)
    try:
        full = _read(store, bucket, BackupMessage, layout.meta(FULL_META))
    except ObjectNotFoundError:
        return None
    _check_format(layout, full)
    if summary is not None:
        _check_agreement(layout, full, layout.marker, summary)
    _check_databases(layout, full)
    # One after the other, so that no two of them are held at a time.
    for model, file_name in _LEVELS:
        key = layout.meta(file_name)
        with suppress(ObjectNotFoundError):
            _check_agreement(layout, full, key, _read(store, bucket, model, key))
    return full


def _check_agreement(layout: BackupLayout, full: BackupMessage, key: str, level: Level) -> None:
    if where := disagreement(full, level):
        msg = f"{layout.meta(FULL_META)} and {key} say different things of {where}"
        hint = f"Bring the one that is wrong back from a copy. {FULL_META} has all that the other has: "
        hint += "where it is right, " + (f"remove {key}." if key != layout.marker else "repair the backup.")
        raise BackupDamagedError(msg, hint=hint)


def _check_databases(layout: BackupLayout, full: BackupMessage) -> None:
    """Raise `BackupDamagedError` where a collection is in no database; releases since 0.5.4 name each."""
    named = {database.db_name or DEFAULT_DATABASE for database in full.database_backups}
    for collection in full.collection_backups if named else ():
        database = collection.db_name or DEFAULT_DATABASE
        if database not in named:
            msg = f"{layout.meta(FULL_META)} has no database {database}, in which collection "
            msg += f"{collection.collection_name} is: database_backups"
            raise BackupDamagedError(msg, hint="Restore this object from a copy, or use another backup.")


def _read[T: Level](store: ObjectStore, bucket: str, model: type[T], key: str) -> T:
    return _parse(model, key, store.chunks(bucket, key))


def _parse[T: Level](model: type[T], key: str, pieces: Iterable[bytes]) -> T:
    try:
        return read_message(model, pieces)[0]
    except ValueError as err:
        msg = f"{key} is not metadata of milvus-backup: {err}"
        raise BackupDamagedError(msg, hint="Restore this object from a copy, or use another backup.") from err


def _check_format(layout: BackupLayout, backup: BackupMessage) -> None:
    if backup.format:
        msg = f"backup '{layout.name}' is of milvus-backup's format '{backup.format}', not of copied binlogs"
        raise BackupFormatError(msg, hint="Restore it with milvus-backup.")


def _read_levels(store: ObjectStore, bucket: str, layout: BackupLayout, marker: bytes) -> BackupMessage:
    def read[T: Level](model: type[T], file_name: str) -> T:
        key = layout.meta(file_name)
        try:
            return _read(store, bucket, model, key)
        except ObjectNotFoundError as err:
            msg = f"backup '{layout.name}' has neither {layout.meta(FULL_META)} nor {key}"
            raise BackupDamagedError(msg, hint="Restore one of them from a copy, or use another backup.") from err

    collections = read(CollectionsMessage, COLLECTION_META).infos
    segments: defaultdict[tuple[int, int], list[SegmentMessage]] = defaultdict(list)
    for segment in read(SegmentsMessage, SEGMENT_META).infos:
        segments[segment.collection_id, segment.partition_id].append(segment)
    partitions: defaultdict[int, list[PartitionMessage]] = defaultdict(list)
    ids = {collection.collection_id for collection in collections}
    for partition in read(PartitionsMessage, PARTITION_META).infos:
        if partition.collection_id not in ids:
            msg = f"{layout.meta(PARTITION_META)} has partition {partition.partition_name} of collection"
            msg += f" {partition.collection_id}, which {layout.meta(COLLECTION_META)} does not know"
            raise BackupDamagedError(msg, hint="Restore the metadata from a copy, or use another backup.")
        found = segments.pop((partition.collection_id, partition.partition_id), [])
        partitions[partition.collection_id].append(partition.model_copy(update={"segment_backups": found}))
    if segments:
        collection_id, partition_id = next(iter(segments))
        msg = f"{layout.meta(SEGMENT_META)} has segments of partition {partition_id} of collection {collection_id}"
        msg += f", which {layout.meta(PARTITION_META)} does not know"
        raise BackupDamagedError(msg, hint="Restore the metadata from a copy, or use another backup.")
    return _parse(BackupMessage, layout.marker, [marker]).model_copy(
        update={
            "collection_backups": [
                collection.model_copy(
                    update={
                        "partition_backups": partitions[collection.collection_id],
                        "l0_segments": list(_list_l0_segments(store, bucket, layout, collection.collection_id)),
                    }
                )
                for collection in collections
            ]
        }
    )


def _list_l0_segments(
    store: ObjectStore, bucket: str, layout: BackupLayout, collection_id: int
) -> Iterator[SegmentMessage]:
    folder = f"{layout.collection_folders(collection_id)[1]}{ALL_PARTITIONS}/"
    logs: defaultdict[int, list[BinlogMessage]] = defaultdict(list)
    for listed in store.list_objects(bucket, folder):
        # Objects of all partitions have no group folder: their keys are as in Milvus' bucket.
        key = parse_log_key(listed.key)
        if key is not None:
            log_path = listed.key.removeprefix(layout.binlogs)
            logs[key.segment_id].append(BinlogMessage(log_path=log_path, log_size=listed.size_bytes, log_id=key.log_id))
    kept = Kept()
    for segment_id in sorted(logs):
        yield SegmentMessage(
            segment_id=segment_id,
            collection_id=collection_id,
            partition_id=ALL_PARTITIONS,
            deltalogs=Logs([FieldBinlogMessage(binlogs=logs[segment_id])], kept),
            is_l0=True,
        )
