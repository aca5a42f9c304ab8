"""Tombstones: a backup that has one is being deleted.

A prune writes it before it deletes anything of the backup, and a reader of the backup looks for it. Each
writes its own sign first and then looks for the other's, so that at least one of them sees the other.

A reader keeps away from a backup with any tombstone. A prune deletes only by a tombstone that was sealed after
it was known that nobody needs the backup: one that cannot be read, or says less, proves no deletion.
"""

from milvus_vault.archive.layout import CATALOGUE_FOLDER, join
from milvus_vault.archive.sealing import is_sealed, unseal
from milvus_vault.errors import BackupNotFoundError, ObjectNotFoundError
from milvus_vault.model.base import Model
from milvus_vault.model.times import Time
from milvus_vault.ports import ObjectStore


class Tombstone(Model):
    """Who began to delete a backup."""

    backup_name: str
    execution_arn: str
    since: Time
    is_decided: bool = False
    """Whether nobody needed the backup once this was there, so that its marker goes next, and all else after it."""


def tombstone_key(prefix: str, backup_name: str) -> str:
    """Return the key of a backup's tombstone."""
    return join(prefix, CATALOGUE_FOLDER, "deleting", f"{backup_name}.json")


def is_being_deleted(store: ObjectStore, bucket: str, prefix: str, backup_name: str) -> bool:
    """Return whether a backup has a tombstone."""
    key = tombstone_key(prefix, backup_name)
    return any(listed.key == key for listed in store.list_objects(bucket, key))


def has_begun(store: ObjectStore, bucket: str, prefix: str, backup_name: str) -> bool:
    """Return whether a prune is known to have started deleting a backup: without a marker, the rest is rubbish."""
    try:
        body = store.get(bucket, tombstone_key(prefix, backup_name))
        found = Tombstone.model_validate_json(unseal(body)) if is_sealed(body) else None
    except (ObjectNotFoundError, ValueError):
        return False
    return found is not None and found.backup_name == backup_name and found.is_decided


def check_not_being_deleted(store: ObjectStore, bucket: str, prefix: str, backup_name: str) -> None:
    """Raise `BackupNotFoundError` for a backup that is being deleted."""
    if is_being_deleted(store, bucket, prefix, backup_name):
        msg = f"backup '{backup_name}' is being deleted"
        raise BackupNotFoundError(msg, hint="Use another backup.")
