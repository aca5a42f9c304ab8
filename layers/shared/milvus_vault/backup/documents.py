"""The working files of a backup run, by their names in its workspace."""

from datetime import datetime

from milvus_vault.archive.manifest import CollectionDocument, CollectionFailure, Source
from milvus_vault.model.base import Model
from milvus_vault.model.collections import CollectionName, DatabaseDescription
from milvus_vault.model.flushes import FlushAllPoint
from milvus_vault.model.names import COLLECTIONS_PER_BATCH
from milvus_vault.model.requests import BackupRequest

PLAN = "backup.json"

RBAC = "rbac.json"
"""The server's users and rights, where the request asks for them. Deleted when they are in the backup."""


class BackupPlan(Model):
    """What one execution backs up. Written once by PrepareBackup, read by all later tasks."""

    request: BackupRequest
    backup_name: str
    backup_id: str
    execution_arn: str
    started_at: datetime
    source: Source
    databases: tuple[DatabaseDescription, ...]
    collections: tuple[CollectionName, ...]
    """Their positions here are the indexes by which all other files name them."""
    flush_all: FlushAllPoint | None = None
    """The one flush of all collections, where the server has it; else each is flushed by itself."""
    warnings: tuple[str, ...] = ()

    @property
    def batch_count(self) -> int:
        """Return how many SnapshotBatch invocations one round takes."""
        return -(-len(self.collections) // COLLECTIONS_PER_BATCH)


class Snapshot(Model):
    """A collection as one round found it, or why it could not be read."""

    round: int
    document: CollectionDocument | None = None
    failure: CollectionFailure | None = None


def snapshot_folder(attempt: str) -> str:
    """Return the folder of an execution's snapshots; no other execution writes there."""
    return f"collections/{attempt}/"


def snapshot_name(attempt: str, index: int) -> str:
    """Return the name of a collection's snapshot."""
    return f"{snapshot_folder(attempt)}{index}.json"
