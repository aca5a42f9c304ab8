"""Backups and restores to report on."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from milvus_vault.archive.manifest import CollectionEntry, CollectionFailure, FileDigest, Manifest, Source
from milvus_vault.model.collections import CollectionName
from milvus_vault.restore.working_files import RestoredCollection, RestoreReport

LOCATION = "s3://backups/team/nightly/"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:vault-restore:run-1"
BEGUN = datetime(2026, 3, 1, 2, 0, 5, tzinfo=UTC)

_DIGEST = FileDigest(key="meta/vault/x", size_bytes=1, sha256="0")


def entry(name: str, size_bytes: int = 0, rows: int = 0, live: int | None = None, database: str = "db") -> Any:
    """Return a collection of two segments and three objects."""
    return CollectionEntry(
        name=CollectionName(database=database, name=name),
        collection_id=1,
        segment_count=2,
        row_count=rows,
        live_row_count=live,
        object_count=3,
        size_bytes=size_bytes,
        document=_DIGEST,
        objects=_DIGEST,
    )


def manifest(entries: Sequence[CollectionEntry], **others: Any) -> Manifest:
    """Return a backup that took 90 seconds."""
    values = {
        "backup_name": "nightly",
        "backup_id": "7d865e95",
        "created_by": "milvus-vault 0.2.0",
        "execution_arn": "arn:aws:states:eu-west-1:123456789012:execution:vault-backup:run-1",
        "started_at": BEGUN,
        "finished_at": BEGUN + timedelta(seconds=90),
        "source": Source(milvus_version="v2.3.5", bucket="milvus", root_path="files"),
        "databases": ("db",),
        "collections": tuple(entries),
        "object_count": sum(item.object_count for item in entries),
        "size_bytes": sum(item.size_bytes for item in entries),
    }
    return Manifest.model_validate(values | others)


def failure(name: str, error: str = "SourceChangedError", message: str = "it changed") -> CollectionFailure:
    """Return a collection that is not in a backup."""
    return CollectionFailure(name=CollectionName(database="db", name=name), error=error, message=message)


def restored(
    name: str, rows: int = 0, warnings: tuple[str, ...] = (), imported: int | None = None, **others: Any
) -> RestoredCollection:
    """Return a collection that was restored with a suffix."""
    source, target = (CollectionName(database="db", name=text) for text in (name, f"{name}_new"))
    return RestoredCollection(
        source=source, target=target, status="restored", row_count=rows, warnings=warnings,
        imported_row_count=rows if imported is None else imported, **others,
    )  # fmt: skip


def not_restored(name: str, error: str, message: str, hint: str = "") -> RestoredCollection:
    """Return a collection that was not."""
    return restored(name).model_copy(update={"status": "failed", "error": error, "message": message, "hint": hint})


def restore_report(collections: Sequence[RestoredCollection], **others: Any) -> RestoreReport:
    """Return a restore that took an hour."""
    values = {
        "backup_name": "nightly",
        "status": "complete",
        "started_at": BEGUN,
        "finished_at": BEGUN + timedelta(hours=1),
        "backup_version": "v2.3.5",
        "server_version": "v2.3.9",
        "content_checked": True,
        "is_staged": True,
        "collections": tuple(collections),
    }
    return RestoreReport.model_validate(values | others)
