"""What is left of a backup that has lost its marker.

PublishBackup writes these files right before the marker, so a folder that has one of them was a backup, or was
about to become one. Nobody sweeps it, and no other backup is made in its place: `repair` makes the marker anew.
"""

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reference_writer import COLLECTION_META, FULL_META, PARTITION_META, SEGMENT_META
from milvus_vault.archive.tombstones import check_not_being_deleted, has_begun, is_being_deleted
from milvus_vault.errors import BackupNotFoundError, ObjectArchivedError, ObjectNotFoundError
from milvus_vault.ports import ObjectStore


def was_published(store: ObjectStore, bucket: str, layout: BackupLayout) -> bool:
    """Return whether a folder has what is written right before a marker: our manifest, or milvus-backup's files.

    Not that of a backup with a tombstone, from which readers keep away.
    """
    return _has_files(store, bucket, layout) and not is_being_deleted(store, bucket, layout.prefix, layout.name)


def has_lost_its_marker(store: ObjectStore, bucket: str, layout: BackupLayout) -> bool:
    """Return whether a folder without a marker was a backup, and no prune is known to have started deleting it.

    For those who remove what is no backup: neither a listing nor just any tombstone proves that a backup is gone.
    """
    is_backup = _has_files(store, bucket, layout) or is_there(store, bucket, layout.manifest)
    return is_backup and not has_begun(store, bucket, layout.prefix, layout.name)


def marker_etag(store: ObjectStore, bucket: str, layout: BackupLayout) -> str | None:
    """Return the ETag of a backup's marker as it is now; None where there is none."""
    try:
        return store.get_with_etag(bucket, layout.marker)[1]
    except ObjectNotFoundError:
        return None


def check_stays(store: ObjectStore, bucket: str, layout: BackupLayout, etag: str | None) -> None:
    """Return if nobody began to delete a backup, or made it anew, since its marker had this ETag.

    For a run that has just claimed it to read it: a prune writes its tombstone before it looks for claims, and deletes
    the marker afterwards, so that of the two, if they begin together, at least one sees the other.

    Raises `BackupNotFoundError` where it has a tombstone, and where its marker is gone or another one.
    """
    check_not_being_deleted(store, bucket, layout.prefix, layout.name)
    if marker_etag(store, bucket, layout) != etag:
        raise deleted_meanwhile(layout.name)


def deleted_meanwhile(name: str) -> BackupNotFoundError:
    """Return the error for a backup that was there when a run began to read it."""
    return BackupNotFoundError(
        f"backup '{name}' was deleted, or made anew, since this run began", hint="Use another backup."
    )


def is_there(store: ObjectStore, bucket: str, key: str) -> bool:
    """Return whether there is an object, by asking for it: a listing may leave one out."""
    try:
        store.get(bucket, key)
    except ObjectNotFoundError:
        return False
    except ObjectArchivedError:
        return True
    return True


def _has_files(store: ObjectStore, bucket: str, layout: BackupLayout) -> bool:
    names = (FULL_META, COLLECTION_META, PARTITION_META, SEGMENT_META)
    keys = {layout.manifest, *(layout.meta(name) for name in names)}
    # All at once: of a new name that is one request. A backup that was stopped while it was published has two documents
    # of each collection there, so of 16,000 collections it is 32.
    return any(listed.key in keys for listed in store.list_objects(bucket, layout.meta("")))
