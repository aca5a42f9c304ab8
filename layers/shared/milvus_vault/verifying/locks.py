"""Whether what a backup is made of is locked as it was recorded."""

from collections.abc import Iterator
from datetime import datetime

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest
from milvus_vault.claims import LONGEST_EXECUTION
from milvus_vault.errors import ObjectNotFoundError
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.times import utc_second
from milvus_vault.parallel import each
from milvus_vault.ports import ObjectStore


def lock_problem(found: ObjectLock | None, recorded: ObjectLock) -> str:
    """Return what is wrong with the lock of an object; empty where it is as good as was recorded."""
    if found is None:
        return f"it is not locked, and was recorded as locked until {utc_second(recorded.until)}"
    if found.covers(recorded):
        return ""
    if found.until < recorded.until:
        return f"its lock ends at {utc_second(found.until)}, earlier than recorded: {utc_second(recorded.until)}"
    return f"it is locked in {found.mode} mode, and was recorded as locked in {recorded.mode} mode"


def lock_to_prove(
    store: ObjectStore, bucket: str, layout: BackupLayout, lock: ObjectLock | None, now: datetime
) -> ObjectLock | None:
    """Return how what a backup is made of must be locked by now; None where no lock is looked at.

    After its end S3 keeps nothing by it, and what was copied since has none. Nor has a copy that was made when the lock
    ended within the time that an execution may take: neither its marker nor its manifest is locked then.
    """
    if lock is None or not lock.lasts_at(now):
        return None
    if lock.lasts_at(now + LONGEST_EXECUTION):
        return lock
    try:
        return lock if any(store.lock_of(bucket, key) for key in (layout.marker, layout.manifest)) else None
    except ObjectNotFoundError:
        return lock  # who reads the marker tells of it


def unlocked_documents(
    store: ObjectStore, bucket: str, layout: BackupLayout, manifest: Manifest, lock: ObjectLock
) -> Iterator[str]:
    """Yield what is wrong with the locks of a backup's documents, marker and manifest included; a request for each."""
    entries = (digest for entry in manifest.collections for digest in (entry.document, entry.objects))
    documents = [layout.root + digest.key for digest in (*manifest.documents, *entries)]

    def problem(key: str) -> str:
        try:
            return lock_problem(store.lock_of(bucket, key), lock)
        except ObjectNotFoundError:
            # Who compares the documents with their digests tells of it.
            return ""

    keys = [layout.marker, layout.manifest, *documents]
    for key, wrong in zip(keys, each(problem, keys), strict=True):
        if wrong:
            yield f"{key}: {wrong}"
