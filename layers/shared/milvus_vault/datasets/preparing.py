"""PrepareExport, where rows are written as Parquet: what is to be written, and once that is done, the document.

It is called again after WriteRows was given the batches, as PrepareRestore is in a content check.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.contents import Archive, ArchivedCollection, list_bytes
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.manifest import Manifest, write_object_list
from milvus_vault.archive.object_table import ObjectTable
from milvus_vault.archive.reader import read_archive, read_manifest, stored_objects
from milvus_vault.archive.remains import check_stays, marker_etag
from milvus_vault.archive.segment_logs import level_zero_of
from milvus_vault.backup.claiming import take_claim
from milvus_vault.backup.export import DamagedContents, contents_damaged, doubted
from milvus_vault.backup.places import Place
from milvus_vault.backup.selection import select_collections
from milvus_vault.claims import CLAIM, RUNNING, Claims, check_owner
from milvus_vault.copying.batches import BatchLimits, cut_batches
from milvus_vault.copying.working_files import raise_refusal
from milvus_vault.datasets.working_files import (
    PLAN,
    Batch,
    Cut,
    Dataset,
    DatasetCollection,
    DatasetFile,
    DatasetLayout,
    DatasetPlan,
    DatasetSource,
    PlannedFile,
    Share,
    WrittenFile,
    WrittenName,
    batch_name,
    batches_name,
    by_collection,
    cut_name,
    error_name,
    files_of,
    list_written,
    source_name,
    write_batches,
)
from milvus_vault.errors import (
    BackupNotExportableError,
    DatasetExistsError,
    DatasetIncompleteError,
    ObjectNotFoundError,
    VaultError,
)
from milvus_vault.model.collections import ALL_PARTITIONS, SegmentLevel
from milvus_vault.model.messages_rows import DatasetResult
from milvus_vault.model.names import attempt_of, export_run, short_hash
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.readable import first_of
from milvus_vault.model.requests import ExportRequest
from milvus_vault.parallel import LISTS_AT_A_TIME_BYTES, SMALL_REQUESTS_AT_A_TIME, do_each, each
from milvus_vault.ports import Executions, ObjectStore
from milvus_vault.workspace import Workspace

# What readers of Parquet like, and a function of two processors nearly writes in some 20 s.
FILE_LIMITS = BatchLimits(max_objects=2**63, max_bytes=512 * 1024**2)

# Small files of many partitions together: a function each would take longer to start than to write.
BATCH_LIMITS = BatchLimits(max_objects=100, max_bytes=1024**3)

# Batches are given to WriteRows that often: a function may be killed for reasons of its own.
MAX_WRITES = 3


@dataclass(frozen=True, slots=True)
class Unwritten:
    """Batches are to be given to WriteRows."""

    batches_key: str
    """Key of a JSON array of `{"batch": <name>}`, the items of the distributed Map."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment with rows."""

    segment_id: int
    size_bytes: int
    object_count: int = 1


@dataclass(frozen=True, slots=True)
class _File:
    """A file, as batches are cut of it."""

    planned: PlannedFile
    object_count: int = 1

    @property
    def size_bytes(self) -> int:
        """Return the bytes of its logs."""
        return self.planned.size_bytes


@dataclass(frozen=True, slots=True)
class DatasetPreparation:
    """Everything that PrepareExport works with."""

    run: Workspace
    request: ExportRequest
    executions: Executions
    execution_arn: str
    started_at: datetime
    damaged_contents: DamagedContents
    place: Place
    """Below which it is written: that of the deployment's own backups, or another one."""
    write_count: int = 0
    """How often this execution gave the batches to WriteRows."""

    @property
    def _attempt(self) -> str:
        return attempt_of(self.execution_arn)

    @property
    def _store(self) -> ObjectStore:
        return self.run.store

    @property
    def _layout(self) -> DatasetLayout:
        return DatasetLayout(self.place.bucket, self.place.prefix, self.request.export_name)

    @property
    def _original(self) -> BackupLayout:
        return BackupLayout(self.run.prefix, self.request.backup_name)

    def _claims(self, bucket: str) -> Claims:
        return Claims(self._store, self.executions, bucket, execution_arn=self.execution_arn, run=self.run.run)

    def prepare(self) -> DatasetResult | Unwritten:
        """Return what was written, or that WriteRows is to write first. Safe to repeat.

        Raises:
            BackupNotFoundError: There is no such backup.
            BackupDamagedError: Objects of a collection are missing, others, or known to be damaged.
            BackupNotExportableError: It has metadata alone.
            BackupInProgressError: Another execution writes a dataset of this name there.
            DatasetExistsError: The name is taken there.
            CollectionNotFoundError: It lacks a collection that was asked for.
            DatabaseNotFoundError: It has nothing of the database.
            DatasetIncompleteError: WriteRows ended again and again before it had written all.
            VaultError: The lasting failure for which a batch gave up.
        """
        claims, there = self._claims(self.run.bucket), self._claims(self._layout.bucket)
        self._store.check_bucket(self._layout.bucket)
        if found := self._find_published(claims):
            return found
        if self.write_count:
            plan = self.run.read(PLAN, DatasetPlan)
            check_owner(self.run, self._attempt)
            return self._conclude(plan)
        etag = marker_etag(self._store, self.run.bucket, self._original)
        manifest = read_exportable_rows(self._store, self.run.bucket, self._original)
        archive = read_archive(self._store, self.run.bucket, self._original)
        chosen = self._chosen(archive)
        what = f"dataset '{self.request.export_name}'"
        self._check_is_free(there)
        take_claim(claims, self.run.key(CLAIM), what)
        try:
            take_claim(there, self._layout.claim, what)
            if self._find_document() is not None:
                raise self._name_taken()
            claims.take_own(self._reading.key(CLAIM))
            check_stays(self._store, self.run.bucket, self._original, etag)
            plan = self._plan(manifest, archive, chosen, etag)
        except VaultError as err:
            there.give_back()
            # After a failure that passes the next call goes on: no prune is to delete the original until then.
            if not err.retryable:
                claims.give_back()
            raise
        return self._conclude(plan)

    @property
    def _reading(self) -> Workspace:
        """Return the run whose claim keeps a prune from the original."""
        return replace(self.run, run=export_run(self.request.backup_name, f"{self._layout.bucket}/{self._layout.root}"))

    def _find_document(self) -> Dataset | None:
        try:
            return Dataset.model_validate_json(self._store.get(self._layout.bucket, self._layout.document))
        except ObjectNotFoundError:
            return None
        except ValueError as err:
            raise self._name_taken() from err

    def _name_taken(self) -> DatasetExistsError:
        return _name_taken(self._layout)

    def _find_published(self, claims: Claims) -> DatasetResult | None:
        """Return what an execution with the same request wrote that died then, or this one; None where nothing is.

        Raises `DatasetExistsError` for any other dataset of this name.
        """
        document = self._find_document()
        if document is None:
            return None
        found = claims.holder(self.run.key(CLAIM))
        plan = self.run.find(PLAN, DatasetPlan) if found and claims.is_mine_or_died(*found) else None
        if plan is None or plan.request != self.request:
            raise self._name_taken()
        take_claim(claims, self.run.key(CLAIM), f"dataset '{document.name}'")
        self._store.delete(self._layout.bucket, [self._layout.claim])
        return self._result(document)

    def _check_is_free(self, there: Claims) -> None:
        """Raise `DatasetExistsError` where something lies in the folder that no execution of this run has left."""
        found = there.holder(self._layout.claim)
        # Who holds it is refused when it is taken.
        if found is not None and (found[0].run == self.run.run or found[1] in RUNNING):
            return
        if any(self._store.list_objects(self._layout.bucket, self._layout.root)):
            msg = f"something lies in {self._layout.location} already, which is no whole dataset"
            raise DatasetExistsError(msg, hint="Choose another name, or delete that folder if nobody needs it.")

    def _chosen(self, archive: Archive) -> list[ArchivedCollection]:
        by_name = {collection.name: collection for collection in archive.collections}
        names: dict[str, list[str]] = {database: [] for database in archive.databases}
        for name in by_name:
            names.setdefault(name.database, []).append(name.name)
        selected = select_collections(
            self.request.collections,
            sorted(names),
            lambda database: names[database],
            where=f"backup '{self.request.backup_name}'",
        )
        return [by_name[name] for name in selected]

    def _plan(
        self, manifest: Manifest | None, archive: Archive, chosen: Sequence[ArchivedCollection], etag: str | None
    ) -> DatasetPlan:
        finished_at = manifest.finished_at if manifest else None
        damaged = dict(self.damaged_contents(self.request.backup_name, finished_at))
        if manifest:
            damaged |= doubted(self._store, self.run.bucket, self._original, manifest)
        shares: dict[int, Share] = {}

        def capture(index: int) -> None:
            shares[index] = self._capture(index, chosen[index], damaged)

        do_each(
            capture,
            range(len(chosen)),
            threads=SMALL_REQUESTS_AT_A_TIME,
            weight=lambda index: list_bytes(chosen[index]),
            max_weight=LISTS_AT_A_TIME_BYTES,
        )
        # Of all that makes a file what it is.
        identity = short_hash(f"{etag} {FILE_LIMITS} {[str(collection.name) for collection in chosen]}", 16)
        plan = DatasetPlan(
            request=self.request,
            execution_arn=self.execution_arn,
            backup_id=manifest.backup_id if manifest else "",
            bucket=self._layout.bucket,
            prefix=self._layout.prefix,
            written=f"rows/written-{identity}/",
            collections=tuple(collection.name for collection in chosen),
            shares=tuple(shares[index] for index in range(len(chosen))),
            warnings=archive.warnings,
        )
        check_owner(self.run, self._attempt)
        self.run.write(PLAN, plan)
        return plan

    def _capture(self, index: int, collection: ArchivedCollection, damaged: Mapping[str, str]) -> Share:
        """Check a collection, and write down what of it each batch writes."""
        place = (self._store, self.run.bucket, self._original)
        is_level_zero = level_zero_of(collection.segments)
        level_zero: defaultdict[int, list[ArchivedObject]] = defaultdict(list)
        sizes: Counter[int] = Counter()

        def part_of(item: ArchivedObject) -> str:
            key = log_of(item)
            if is_level_zero(key):
                level_zero[key.partition_id].append(item)
                return ""
            sizes[key.segment_id] += item.size_bytes
            return str(key.segment_id)

        objects = ObjectTable(stored_objects(*place, collection), part_of)
        raise_if_damaged(collection, check_objects(*place, collection, objects))
        if known := {item.stored_key: damaged[item.stored_key] for item in objects if item.stored_key in damaged}:
            raise contents_damaged(self.request.backup_name, known)
        # A list of objects may be long, and each batch has its part of it.
        source = replace(collection, listed_objects=(), other_etags={})
        self.run.write(source_name(self._attempt, index), DatasetSource(collection=source))
        files = [_File(found) for found in _files(collection, sizes)]
        batches: list[Batch] = []
        for number, together in enumerate(cut_batches(files, BATCH_LIMITS)):
            planned = sorted((file.planned for file in together), key=lambda file: file.number)
            batch = Batch(index=index, number=number, files=tuple(planned))
            partitions = {file.partition_id for file in planned} | {ALL_PARTITIONS}
            logs = [item for partition in sorted(partitions) for item in level_zero[partition]]
            logs += [item for file in planned for segment in file.segments for item in objects.of(str(segment))]
            name = batch_name(self._attempt, batch)
            self.run.write_bytes(f"{name}.jsonl", write_object_list(logs))
            self.run.write(f"{name}.json", batch)
            batches.append(batch)
        objects.close()
        self.run.write(cut_name(self._attempt, index), Cut(batches=tuple(batches)))
        return Share(len(files), sum(file.size_bytes for file in files))

    def _conclude(self, plan: DatasetPlan) -> DatasetResult | Unwritten:
        """Write the document where all is written, else the list of batches that are not."""
        written = list_written(self.run, plan.written)
        shares = by_collection(written)
        if any(shares.get(index) != share for index, share in enumerate(plan.shares)):
            return self._unwritten(plan, written)
        listed = {
            found.key: found.size_bytes for found in self._store.list_objects(plan.layout.bucket, plan.layout.root)
        }
        collections = tuple(each(lambda index: self._described(plan, index), range(len(plan.collections))))
        expected = {plan.layout.root + file.path: file.size_bytes for found in collections for file in found.files}
        if lost := [key for key, size_bytes in expected.items() if listed.get(key) != size_bytes]:
            # Somebody deleted or replaced it: it is written again.
            gone, cuts = set(lost), self._cuts(plan)
            self.run.delete(
                WrittenName.of(index, file).below(plan.written)
                for index, name in enumerate(plan.collections)
                for file in files_of(cuts[index])
                if plan.layout.file(name, file.number) in gone
            )
            return self._unwritten(plan, list_written(self.run, plan.written))
        check_owner(self.run, self._attempt)
        # What an execution left here that was of another backup of the name.
        self._store.delete(plan.layout.bucket, [key for key in listed if key not in {plan.layout.claim, *expected}])
        document = Dataset(
            name=self.request.export_name,
            backup_name=self.request.backup_name,
            backup_id=plan.backup_id,
            written_at=self.started_at,
            row_count=sum(found.row_count for found in collections),
            size_bytes=sum(found.size_bytes for found in collections),
            collections=collections,
            warnings=(*plan.warnings, *_left_out(collections)),
        )
        body = document.model_dump_json(indent=1).encode()
        if not self._store.put_if_absent(plan.layout.bucket, plan.layout.document, body):
            raise self._name_taken()
        self._store.delete(plan.layout.bucket, [plan.layout.claim])
        return self._result(document)

    def _unwritten(self, plan: DatasetPlan, written: Container[WrittenName]) -> Unwritten:
        """Write the list of the batches with files that are not written.

        Raises what one of them gave up for, and `DatasetIncompleteError` where they were given too often.
        """
        missing = [
            batch
            for index, cut in enumerate(self._cuts(plan))
            for batch in cut.batches
            if any(WrittenName.of(index, file) not in written for file in batch.files)
        ]
        if self.write_count:
            raise_refusal(self.run, (error_name(batch_name(self._attempt, batch)) for batch in missing))
            if self.write_count >= MAX_WRITES:
                msg = f"{len(missing)} batches of dataset '{self.request.export_name}' were not written"
                raise DatasetIncompleteError(
                    msg, hint="WriteRows ended before it could say why: its log has the reason. Start the export again."
                )
        write_batches(self.run, self._attempt, missing)
        return Unwritten(self.run.key(batches_name(self._attempt)))

    def _cuts(self, plan: DatasetPlan) -> list[Cut]:
        return list(
            each(lambda index: self.run.read(cut_name(self._attempt, index), Cut), range(len(plan.collections)))
        )

    def _described(self, plan: DatasetPlan, index: int) -> DatasetCollection:
        name = plan.collections[index]
        source = self.run.read(source_name(self._attempt, index), DatasetSource).collection
        cut = self.run.read(cut_name(self._attempt, index), Cut)
        left_out: dict[str, str] = {}
        files = []
        for file in sorted(files_of(cut), key=lambda file: file.number):
            found = self.run.read(WrittenName.of(index, file).below(plan.written), WrittenFile)
            left_out |= found.left_out
            files.append(
                DatasetFile(
                    path=plan.layout.file(name, file.number).removeprefix(plan.layout.root),
                    partition=file.partition,
                    segments=file.segments,
                    row_count=found.row_count,
                    size_bytes=found.size_bytes,
                )
            )
        return DatasetCollection(
            name=name,
            folder=plan.layout.folder(name),
            moment=source.moment,
            row_count=sum(file.row_count for file in files),
            size_bytes=sum(file.size_bytes for file in files),
            left_out=left_out,
            files=tuple(files),
        )

    def _result(self, document: Dataset) -> DatasetResult:
        return DatasetResult(
            backup_name=document.backup_name,
            export_name=document.name,
            location=self._layout.location,
            collection_count=len(document.collections),
            object_count=sum(len(found.files) for found in document.collections),
            row_count=document.row_count,
            size_bytes=document.size_bytes,
            warnings=document.warnings,
        )


def _name_taken(layout: DatasetLayout) -> DatasetExistsError:
    return DatasetExistsError(
        f"a dataset '{layout.name}' exists already: {layout.location}",
        hint="It stays as it is. Choose another name, or delete that folder if nobody needs it.",
    )


def check_dataset_name(run: Workspace, layout: DatasetLayout, request: ExportRequest) -> None:
    """Raise `DatasetExistsError` where a dataset is there that no export with the same request has written.

    `run` is the one of that dataset. Two requests at most, and no claim is taken: the run looks again.
    """
    if not any(run.store.list_objects(layout.bucket, layout.document)):
        return
    plan = run.find(PLAN, DatasetPlan)
    if plan is None or plan.request != request:
        raise _name_taken(layout)


def read_exportable_rows(store: ObjectStore, bucket: str, layout: BackupLayout) -> Manifest | None:
    """Return the manifest of a backup whose rows can be exported; None for one of milvus-backup.

    Raises:
        BackupNotFoundError: There is no commit marker, and none was lost.
        BackupDamagedError: Marker or manifest is missing, or is not the one that was written.
        BackupFormatError: A newer release wrote the backup.
        BackupNotExportableError: It has metadata alone.
    """
    manifest = read_manifest(store, bucket, layout)
    if manifest is not None and manifest.meta_only:
        msg = f"backup '{layout.name}' has metadata alone, and no rows"
        raise BackupNotExportableError(msg, hint="Export another backup.")
    return manifest


def _files(collection: ArchivedCollection, sizes: Mapping[int, int]) -> Iterator[PlannedFile]:
    """Yield the files of a collection, in the order of rows; of one without segments a file without rows."""
    number = 0
    for partition in collection.partitions:
        numbers = sorted(found.segment_id for found in partition.segments if found.level is not SegmentLevel.L0)
        segments = (_Segment(found, sizes.get(found, 0)) for found in numbers)
        for together in cut_batches(segments, FILE_LIMITS):
            yield PlannedFile(
                number=number,
                partition_id=partition.partition_id,
                partition=partition.name,
                segments=tuple(sorted(found.segment_id for found in together)),
                size_bytes=sum(found.size_bytes for found in together),
            )
            number += 1
    if not number:
        yield PlannedFile(number=0, partition_id=0, partition="", segments=(), size_bytes=0)


def _left_out(collections: Iterable[DatasetCollection]) -> Iterator[str]:
    for found in collections:
        if found.left_out:
            fields = first_of([f"{name} ({kind})" for name, kind in found.left_out.items()])
            yield f"{found.name} is without fields whose types are not read: {fields}"
