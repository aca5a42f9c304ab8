"""SnapshotBatch: flush collections and record what they are made of, up to one point in time."""

from dataclasses import dataclass

from milvus_vault.archive.layout import DELTA_LOG, BackupLayout, parse_log_key
from milvus_vault.archive.manifest import CollectionDocument, CollectionFailure
from milvus_vault.backup.documents import BackupPlan, Snapshot, snapshot_name
from milvus_vault.backup.segments import capture_objects
from milvus_vault.copying.documents import CopyTarget, drop_target, write_target
from milvus_vault.copying.verify import read_verification
from milvus_vault.errors import MilvusPermissionError, MilvusRequestError, VaultError
from milvus_vault.model.collections import CollectionDescription, CollectionName, LoadState
from milvus_vault.model.flushes import FlushPoint
from milvus_vault.model.names import COLLECTIONS_PER_BATCH
from milvus_vault.model.objects import CopyItem, ListedObject
from milvus_vault.parallel import for_each
from milvus_vault.ports import VectorDatabase
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace

# A Lambda function runs for at most 900 s; the rest is for describing, listing and writing.
FLUSH_TIMEOUT_SECONDS = 600.0

_TIMESTAMP_BITS = 18  # of a hybrid timestamp are logical; above are milliseconds


@dataclass(frozen=True, slots=True)
class SnapshotBatch:
    """One invocation's work: the collections of one batch, in one round of one execution."""

    run: Workspace
    plan: BackupPlan
    layout: BackupLayout
    database: VectorDatabase
    storage: MilvusStorage
    attempt: str
    round: int
    threads: int

    def take(self, batch: int) -> int:
        """Snapshot the collections of a batch that this round asks for, and return how many there were.

        One that fails is recorded as failed. Done again, it skips what this round did already.
        """
        first = batch * COLLECTIONS_PER_BATCH
        wanted = list(range(first, min(first + COLLECTIONS_PER_BATCH, len(self.plan.collections))))
        if self.round > 1:
            again = read_verification(self.run, self.attempt, self.round - 1).again
            wanted = [index for index in wanted if index in again]
        for_each(wanted, self._snapshot, threads=self.threads, on_failure=self._record_failure)
        return len(wanted)

    def _snapshot(self, index: int) -> None:
        done = self.run.find(snapshot_name(self.attempt, index), Snapshot)
        if done and done.round == self.round:
            return
        name = self.plan.collections[index]
        document, objects = self._capture(name)
        items = [
            CopyItem(source_key=o.key, key=self._stored_key(o), size_bytes=o.size_bytes, source_etag=o.etag)
            for o in objects
        ]
        folders = self.layout.collection_folders(document.description.collection_id)
        write_target(self.run, self.attempt, CopyTarget(index=index, name=str(name), folders=folders), items)
        # Last: it is what says that the collection is done.
        self.run.write(snapshot_name(self.attempt, index), Snapshot(round=self.round, document=document))

    def _record_failure(self, index: int, error: VaultError) -> None:
        failure = CollectionFailure(
            name=self.plan.collections[index], error=type(error).__name__, message=error.message
        )
        drop_target(self.run, self.attempt, index)
        self.run.write(snapshot_name(self.attempt, index), Snapshot(round=self.round, failure=failure))

    def _capture(self, name: CollectionName) -> tuple[CollectionDocument, tuple[ListedObject, ...]]:
        request = self.plan.request
        description = self.database.describe_collection(name.database, name.name)
        if request.meta_only:
            return CollectionDocument(description=description, segments=()), ()
        before = self._live_rows(description)
        point = self._flush(description)
        captured = capture_objects(self.database, self.run.store, self.storage, name, description.collection_id)
        # A partition that came since the first look has segments; one that went took its rows with it.
        description = self.database.describe_collection(name.database, name.name)
        captured = captured.within({partition.partition_id for partition in description.partitions})
        self.storage.check_readable(name, captured.objects)
        # Only a number that did not move while the rows were captured says what was captured. Rows that came between
        # the flush of all collections and the first look are in it, and not in the backup.
        is_still = point.timestamp and before is not None and before == self._live_rows(description)
        if self.plan.flush_all is not None and captured.undeleted_row_count != before:
            is_still = False
        document = CollectionDocument(
            description=description,
            segments=captured.segments,
            flush_timestamp=point.timestamp,
            flushed_at_seconds=(point.timestamp >> _TIMESTAMP_BITS) // 1000,
            channel_checkpoints=point.checkpoints,
            live_row_count=before if is_still else None,
        )
        return document, captured.objects

    def _flush(self, description: CollectionDescription) -> FlushPoint:
        """Flush a collection, unless it is not wanted or PrepareBackup has flushed all of them at once."""
        if self.plan.request.skip_flush:
            return FlushPoint()
        if self.plan.flush_all is not None:
            return self.plan.flush_all.of(description.virtual_channels)
        name = description.name
        return self.database.flush(name.database, name.name, timeout_seconds=FLUSH_TIMEOUT_SECONDS)

    def _live_rows(self, description: CollectionDescription) -> int | None:
        """Return the number of live rows, where the server can tell: in a collection loaded as a whole."""
        if description.load_state is not LoadState.LOADED or not all(p.is_loaded for p in description.partitions):
            return None
        try:
            return self.database.count_rows(description.name.database, description.name.name)
        except (MilvusRequestError, MilvusPermissionError):
            # Released since, a query node is down, or the user may not query: a backup can do without the number.
            return None

    def _stored_key(self, listed: ListedObject) -> str:
        key = parse_log_key(listed.key)
        if key is None:
            msg = f"not a log of Milvus: {listed.key}"
            raise ValueError(msg)
        ids = (key.collection_id, key.partition_id, key.segment_id, key.segment_id)
        if key.kind == DELTA_LOG:
            return self.layout.delta_log(*ids, key.log_id)
        return self.layout.insert_log(*ids, key.field_id, key.log_id)
