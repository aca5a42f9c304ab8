"""Whole backups of a protocol server, function by function, and what the archives hold."""

from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from mypy_boto3_s3 import S3Client

from milvus_vault.adapters.management import MilvusGarbageCollector
from milvus_vault.adapters.milvus import MilvusDatabase
from milvus_vault.adapters.s3 import S3ObjectStore
from milvus_vault.archive.contents import Archive, ArchivedCollection
from milvus_vault.archive.layout import DELTA_LOG, BackupLayout, parse_log_key
from milvus_vault.archive.manifest import CollectionDocument, Manifest
from milvus_vault.archive.reader import read_archive, read_document, read_manifest, read_objects
from milvus_vault.backup.prepare import prepare_backup
from milvus_vault.backup.proof import MomentProof
from milvus_vault.backup.publish import publish_backup
from milvus_vault.backup.snapshot import SnapshotBatch
from milvus_vault.backup.working_files import BackupPlan
from milvus_vault.catalogue import Catalogue
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.pacer import Pacer
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.verify import verify_copy
from milvus_vault.model.collections import ALL_PARTITIONS, SegmentLevel
from milvus_vault.model.names import attempt_of, backup_run
from milvus_vault.model.requests import BackupRequest
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.milvus_server.objects import Objects, S3Objects
from tests.support.milvus_server.segment_files import by_field, read_deletes, read_rows
from tests.support.milvus_server.server import MilvusServer

PREFIX = "backups"
BATCH = BatchLimits(max_objects=100, max_bytes=10**9)

_ROUNDS = 5
_numbers = count()


class Alone:
    """Step Functions where nothing else runs."""

    def status(self, execution_arn: str) -> str:
        """Say that every execution has failed."""
        return "FAILED" if execution_arn else "GONE"


@dataclass(frozen=True)
class Backups:
    """Backs a server up into a bucket of its own, as the state machine does."""

    server: MilvusServer
    database: MilvusDatabase
    s3: S3Client
    bucket: str = field(default_factory=lambda: f"backups-{next(_numbers)}")
    before_copies: Callable[[], None] = lambda: None
    """What happens between the listing and the copying of each round."""

    def __post_init__(self) -> None:
        """Make the bucket."""
        self.s3.create_bucket(Bucket=self.bucket)

    @property
    def store(self) -> S3ObjectStore:
        """S3 as the functions see it."""
        return S3ObjectStore(self.s3, self.s3, ThreadPoolExecutor(4))

    @property
    def storage(self) -> MilvusStorage:
        """Where the server keeps its data."""
        return MilvusStorage(self.server.bucket, self.server.root_path)

    def layout(self, name: str) -> BackupLayout:
        """Return where a backup lies."""
        return BackupLayout(PREFIX, name)

    def prepare(self, name: str, **request: Any) -> tuple[Workspace, BackupPlan]:
        """Return the working files and the plan of a new execution."""
        run = Workspace(self.store, self.bucket, PREFIX, backup_run(name))
        plan = prepare_backup(
            run,
            BackupRequest.model_validate({"backup_name": name, **request}),
            layout=self.layout(name),
            database=self.database,
            executions=Alone(),
            storage=self.storage,
            garbage_collector=MilvusGarbageCollector(self.server.management_uri),
            execution_arn=f"arn:aws:states:eu-west-1:123456789012:execution:backup:{name}-{next(_numbers)}",
            started_at=datetime.now(UTC),
            was_listed=lambda: Catalogue(self.store, self.bucket, PREFIX).remembered(name) is not None,
        )
        assert plan is not None
        return run, plan

    def take(self, name: str, **request: Any) -> Manifest:
        """Make a backup, and return its manifest."""
        return self.finish(*self.prepare(name, **request))

    def finish(self, run: Workspace, plan: BackupPlan) -> Manifest:
        """Do what comes after PrepareBackup."""
        attempt, layout = attempt_of(plan.execution_arn), self.layout(plan.backup_name)
        for number in range(1, _ROUNDS + 1):
            batch = SnapshotBatch(
                run=run,
                plan=plan,
                layout=layout,
                database=self.database,
                storage=self.storage,
                attempt=attempt,
                round=number,
                threads=4,
            )
            for index in range(plan.batch_count):
                batch.take(index)
            self.before_copies()
            if plan.request.meta_only or self._copy(run, attempt, number):
                break
        manifest = publish_backup(
            run, plan, layout, attempt, number, finished_at=datetime.now(UTC), render_report=lambda _: b"report"
        )
        assert manifest is not None
        return manifest

    def _copy(self, run: Workspace, attempt: str, number: int) -> bool:
        plan_copy(run, attempt, number, BATCH)
        for name in list(run.names(f"copy/{attempt}/r{number}/batch-")):
            copy_batch(run, name, threads=4, deadline_seconds_left=lambda: 600.0, pacer=Pacer())
        proof = MomentProof(run, attempt, self.server.bucket)

        def doubtful(lacking: Container[int]) -> tuple[int, ...]:
            again = proof.doubtful(lacking)
            return () if number == _ROUNDS else again

        return not verify_copy(run, attempt, number, doubtful=doubtful).again

    def archive(self, name: str) -> Archive:
        """Read a backup."""
        return read_archive(self.store, self.bucket, self.layout(name))

    def document(self, name: str, number: int = 0) -> CollectionDocument:
        """Return what a backup says of a collection in full."""
        manifest = read_manifest(self.store, self.bucket, self.layout(name))
        assert manifest is not None
        entry = manifest.collections[number].document
        return CollectionDocument.model_validate_json(read_document(self.store, self.bucket, self.layout(name), entry))

    def rows(self, name: str, collection: str) -> list[tuple[Any, ...]]:
        """Return the live rows of an archived collection: all user fields, in the order of the keys."""
        (found,) = (item for item in self.archive(name).collections if str(item.name) == collection)
        objects = S3Objects(self.s3.meta.endpoint_url, self.bucket, access_key="test", secret_key="test")
        return sorted(self._rows(name, found, objects), key=str)

    def _rows(self, name: str, collection: ArchivedCollection, objects: Objects) -> list[tuple[Any, ...]]:
        inserts: dict[int, list[str]] = {}
        deletes: dict[int, list[str]] = {}
        for item in read_objects(self.store, self.bucket, self.layout(name), collection):
            key = parse_log_key(item.source_key)
            assert key is not None
            kind = deletes if key.kind == DELTA_LOG else inserts
            kind.setdefault(key.segment_id, []).append(item.stored_key)
        key_field = next(f.field_id for f in collection.layout.collection_schema.fields if f.is_primary_key)
        level_zero = [segment for segment in collection.segments if segment.level is SegmentLevel.L0]
        rows: list[tuple[Any, ...]] = []
        for segment in collection.segments:
            if segment.level is SegmentLevel.L0 or segment.segment_id not in inserts:
                continue
            concerning = [segment.segment_id] + [
                s.segment_id for s in level_zero if s.partition_id in {ALL_PARTITIONS, segment.partition_id}
            ]
            gone: dict[Any, Any] = {}
            for number in concerning:
                for deleted, timestamp in read_deletes(objects, deletes.get(number, [])):
                    gone[deleted] = max(timestamp, gone.get(deleted, 0))
            columns = read_rows(objects, by_field(inserts[segment.segment_id]))
            for row, (value, written) in enumerate(zip(columns[key_field], columns[1], strict=True)):
                if written >= gone.get(value, 0):
                    rows.append(tuple(values[row] for number, values in sorted(columns.items()) if number > 1))
        return rows

    def live_rows(self, collection: str) -> list[tuple[Any, ...]]:
        """Return the live rows of the server's collection, in the same form."""
        database, _, name = collection.partition(".")
        columns = self.server.live_rows(database, name)
        fields = [values for number, values in sorted(columns.items()) if number > 1]
        return sorted(zip(*fields, strict=True), key=str)
