"""An export: a full backup that is copied from another one, and told apart from it by nothing but where it lies."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest

from milvus_vault.archive.check import check_objects
from milvus_vault.archive.layout import BackupLayout, log_of
from milvus_vault.archive.manifest import CollectionFailure, Manifest, Source
from milvus_vault.archive.pool import PooledKey, PoolLayout, content_of, group_of
from milvus_vault.archive.reader import find_manifest, read_archive, read_manifest, read_objects
from milvus_vault.archive.reference_reader import read_reference_archive
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.backup.claiming import give_back_elsewhere
from milvus_vault.backup.export import ExportPreparation, read_exportable
from milvus_vault.backup.places import Place
from milvus_vault.backup.publish import find_published, lock_captured, publish_backup
from milvus_vault.backup.working_files import PLAN, RBAC, BackupPlan, exported_name
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import describe, summary_of
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.claims import CLAIM
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.copying.engine import copy_batch
from milvus_vault.copying.plan import plan_copy
from milvus_vault.copying.verify import raise_if_source_is_gone, verify_copy
from milvus_vault.errors import (
    BackupDamagedError,
    BackupExistsError,
    BackupFormatError,
    BackupInProgressError,
    BackupInUseError,
    BackupNotExportableError,
    BackupNotFoundError,
    ObjectArchivedError,
    VaultError,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.hybrid import from_milliseconds
from milvus_vault.model.names import attempt_of, backup_run, export_elsewhere_run
from milvus_vault.model.objects import ListedObject
from milvus_vault.model.requests import ExportRequest, PruneRequest
from milvus_vault.model.resources import Verification
from milvus_vault.retention.delete import BackupDeletion
from milvus_vault.retention.working_files import Deletion, Outcome, PrunePlan, outcome_name
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive import samples
from tests.unit.archive.samples import (
    BUCKET,
    FLUSH_ALL,
    PREFIX,
    Contents,
    golden_store,
    sample_contents,
    write_backup,
)
from tests.unit.test_claims import FakeExecutions

ORIGINAL, EXPORT = BackupLayout(PREFIX, "night"), BackupLayout(PREFIX, "for_them")
REQUEST = ExportRequest(backup_name="night", export_name="for_them")
EXPORTED_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
MOMENT = from_milliseconds(1_795_361_683_000)
SOURCE = Source(milvus_version="v2.5.20", bucket="milvus", root_path="files")
LOST = CollectionFailure(
    name=CollectionName(database="books", name="lost"), error="MilvusUnavailableError", message="not ready"
)


def stored(contents: Contents, key_of: Callable[[int, ListedObject], str]) -> Contents:
    """Return contents whose objects lie where a function of their collection says, with what S3 says of them there."""
    found: Contents = []
    for document, objects in contents:
        number = document.description.collection_id
        listed = []
        for item in objects:
            etag = hashlib.md5(b"." * item.size_bytes).hexdigest()  # noqa: S324
            key = key_of(number, ListedObject(item.source_key, item.size_bytes, etag))
            listed.append(item._replace(stored_key=key, etag=etag, checksum=f"MD5:{etag}"))
        found.append((document.model_copy(update={"moment": MOMENT}), sorted(listed, key=lambda one: one.stored_key)))
    return found


def pooled_key(collection_id: int, listed: ListedObject) -> str:
    """Return where an incremental backup has an object."""
    group = group_of(SOURCE.bucket, SOURCE.root_path, collection_id)
    return PoolLayout(PREFIX).key(PooledKey(group, 7, content_of(SOURCE.bucket, listed), "1a2b3c4d"))


def write(store: InMemoryObjectStore, mode: str = "incremental", **changes: Any) -> Manifest:
    """Write the backup that is exported."""
    contents = sample_contents(ORIGINAL)
    keys = {item.source_key: item.stored_key for _, objects in contents for item in objects}
    if mode == "incremental":
        contents = stored(contents, pooled_key)
        changes |= {"format_version": 3, "copied_object_count": 1, "copied_size_bytes": 40}
    else:
        contents = stored(contents, lambda _, listed: keys[listed.key])
    manifest = write_backup(store, ORIGINAL, contents, mode=mode, moment=MOMENT, **changes)
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
    return manifest


def note_damaged_contents(
    store: InMemoryObjectStore,
    name: str,
    verified_at: datetime,
    damaged: Mapping[str, str] = MappingProxyType({"backups/log7": "log 7 is another one"}),
) -> None:
    """Write down that the last verification, at any level, knows of damaged contents."""
    found = Verification(
        level="quick", object_count=9, size_bytes=90, content_checked=False, verified_at=verified_at, status="damaged",
        run="verify-1", damaged_contents=dict(damaged),
    )  # fmt: skip
    store.put(BUCKET, CatalogueKeys(PREFIX).verification(name), seal(found))


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with an incremental backup."""
    found = InMemoryObjectStore(BUCKET)
    write(found)
    return found


@dataclass
class Export:
    """One execution of the export machine."""

    store: InMemoryObjectStore
    arn: str = "first"
    executions: FakeExecutions = field(default_factory=FakeExecutions)
    request: ExportRequest = REQUEST
    place: Place | None = None

    @property
    def run(self) -> Workspace:
        """The working files."""
        name = self.request.export_name
        run = export_elsewhere_run(self.place.bucket, self.place.prefix, name) if self.place else backup_run(name)
        return Workspace(self.store, BUCKET, PREFIX, run)

    @property
    def destination(self) -> Workspace:
        """The run of the name in the place where the export is written."""
        return self.place.run_of(self.run, self.request.export_name) if self.place else self.run

    @property
    def attempt(self) -> str:
        """What its files are named by."""
        return attempt_of(self.arn)

    def prepare(self) -> BackupPlan | None:
        """Run PrepareExport."""
        catalogue = Catalogue(self.store, BUCKET, PREFIX)
        return ExportPreparation(
            run=self.run,
            request=self.request,
            executions=self.executions,
            execution_arn=self.arn,
            started_at=EXPORTED_AT,
            was_listed=lambda: catalogue.remembered(self.request.export_name) is not None,
            damaged_contents=catalogue.damaged_contents,
            place=self.place,
        ).prepare()

    def copy(self) -> int:
        """Run the states that copy, and return how many objects were copied."""
        plan = plan_copy(self.run, self.attempt, 1, BatchLimits(max_objects=5, max_bytes=10_000))
        for number in range(plan.batch_count):
            name = f"copy/{self.attempt}/r1/batch-{number}.jsonl"
            copy_batch(self.run, name, threads=2, deadline_seconds_left=lambda: 900.0)
        raise_if_source_is_gone(verify_copy(self.run, self.attempt, 1))
        return plan.object_count

    def publish(self) -> Manifest:
        """Run PublishBackup."""
        plan = self.run.read(PLAN, BackupPlan)
        destination = plan.destination(self.run)
        layout = BackupLayout(destination.prefix, plan.backup_name)
        manifest = find_published(self.run, plan, layout)
        assert manifest or lock_captured(self.run, plan, self.attempt, 1, lambda: 900.0)
        manifest = manifest or publish_backup(
            self.run,
            plan,
            layout,
            self.attempt,
            1,
            finished_at=datetime(2027, 1, 1, tzinfo=UTC),
            render_report=lambda _: b"report",
        )
        assert manifest is not None
        if destination == self.run:
            Catalogue(self.store, BUCKET, PREFIX).publish(summary_of(manifest))
        else:
            give_back_elsewhere(destination, {self.attempt, attempt_of(plan.execution_arn)})
        return manifest

    def succeed(self) -> Manifest:
        """Run the machine."""
        if self.prepare() is not None:
            self.copy()
        return self.publish()


def bodies(store: InMemoryObjectStore, layout: BackupLayout) -> dict[str, bytes]:
    """Return all objects of a backup, by keys relative to its folder."""
    objects = store.buckets[BUCKET]
    return {key.removeprefix(layout.root): o.body for key, o in objects.items() if key.startswith(layout.root)}


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_an_export_is_the_full_backup_that_would_have_been_made_then(mode: str) -> None:
    store = InMemoryObjectStore(BUCKET)
    original = write(store, mode)

    manifest = Export(store).succeed()

    assert read_manifest(store, BUCKET, EXPORT) == manifest
    changed = {name for name in Manifest.model_fields if getattr(manifest, name) != getattr(original, name)}
    assert changed - {"mode", "copied_object_count", "copied_size_bytes", "format_version"} == {
        "backup_name",
        "backup_id",
        "execution_arn",
        "collections",
        "export_of",
        "files",
        "warnings",
    }
    assert manifest.warnings == tuple(f"Of the original, 'night': {warning}" for warning in original.warnings)
    assert (manifest.mode, manifest.copied_object_count, manifest.schedule) == ("full", None, None)
    assert manifest.export_of is not None
    assert (manifest.export_of.backup_name, manifest.export_of.exported_at) == ("night", EXPORTED_AT)
    assert (manifest.moment, manifest.flush_all) == (MOMENT, FLUSH_ALL)
    assert [(entry.name, entry.document, entry.object_count, entry.group) for entry in manifest.collections] == [
        (entry.name, entry.document, entry.object_count, "") for entry in original.collections
    ]


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_its_objects_lie_where_milvus_backup_looks_and_are_told_as_those_of_the_original(mode: str) -> None:
    store = InMemoryObjectStore(BUCKET)
    write(store, mode)

    Export(store).succeed()

    ours, original = (read_archive(store, BUCKET, layout) for layout in (EXPORT, ORIGINAL))
    theirs = read_reference_archive(store, BUCKET, EXPORT, store.get(BUCKET, EXPORT.marker))
    assert [replace(one, object_list=None) for one in ours.collections] == [
        replace(one, object_list=None) for one in original.collections
    ]
    assert ours.rbac == samples.RBAC
    for exported, told, before in zip(ours.collections, theirs.collections, original.collections, strict=True):
        objects = read_objects(store, BUCKET, EXPORT, exported)
        assert {item.stored_key: log_of(item) for item in objects} == {
            EXPORT.log(log_of(o)): log_of(o) for o in objects
        }
        assert {item._replace(stored_key="") for item in objects} == {
            item._replace(stored_key="") for item in read_objects(store, BUCKET, ORIGINAL, before)
        }
        assert not check_objects(store, BUCKET, EXPORT, exported, objects).is_damaged
        assert {(o.stored_key, o.size_bytes) for o in told.listed_objects} == {
            (o.stored_key, o.size_bytes) for o in objects
        }


def test_logs_are_listed_as_milvus_has_them_and_not_as_the_pool_does(store: InMemoryObjectStore) -> None:
    Export(store).succeed()
    (collection, _) = read_archive(store, BUCKET, EXPORT).collections
    keys = [item.source_key for item in read_objects(store, BUCKET, EXPORT, collection)]
    assert keys == sorted(keys)


def test_the_catalogue_tells_of_what_it_is_an_export(store: InMemoryObjectStore) -> None:
    Export(store, arn="arn:aws:states:eu-west-1:1:execution:vault-export:e-1").succeed()
    told = describe(store, BUCKET, EXPORT)
    assert (told.export_of, told.run, told.mode) == ("night", "export-e-1", "full")
    assert describe(store, BUCKET, ORIGINAL).export_of is None


def test_warnings_are_told_as_those_of_the_original_also_by_an_export_of_the_export() -> None:
    store = InMemoryObjectStore(BUCKET)
    contents = [
        (document.model_copy(update={"moment_doubt": "rows were late"}), objects)
        for document, objects in sample_contents(ORIGINAL)
    ]
    write_backup(store, ORIGINAL, contents, warnings=("1 object(s) are copied anew",), meta_only=True)
    for arn, name, export_name in (("first", "night", "for_them"), ("second", "for_them", "again")):
        export = Export(store, arn, request=ExportRequest(backup_name=name, export_name=export_name))
        export.prepare()
        assert export.publish().warnings == ("Of the original, 'night': 1 object(s) are copied anew",)


def test_metadata_without_rows_is_exported_without_copies() -> None:
    store = InMemoryObjectStore(BUCKET)
    contents: Contents = [(document, []) for document, _ in sample_contents(ORIGINAL)]
    write_backup(store, ORIGINAL, contents, meta_only=True)

    export = Export(store)
    assert export.prepare() is not None
    manifest = export.publish()

    assert (manifest.meta_only, manifest.object_count, len(manifest.collections)) == (True, 0, 2)
    assert not [key for key in bodies(store, EXPORT) if key.startswith("binlogs/")]


class TestRefusals:
    """Everything that is wrong is told before anything is copied or claimed."""

    def refused(self, store: InMemoryObjectStore, error: type[VaultError], text: str, **more: Any) -> None:
        before = {key for key in store.buckets[BUCKET] if "/.runs/" not in key}
        with pytest.raises(error, match=text):
            Export(store, **more).prepare()
        assert {key for key in store.buckets[BUCKET] if "/.runs/" not in key} == before
        assert not [key for key in store.buckets[BUCKET] if key.endswith(CLAIM)]

    def test_a_backup_that_is_not_there(self) -> None:
        self.refused(InMemoryObjectStore(BUCKET), BackupNotFoundError, "night")

    def test_one_that_is_being_deleted(self, store: InMemoryObjectStore) -> None:
        store.put(BUCKET, tombstone_key(PREFIX, "night"), b"{}")
        self.refused(store, BackupNotFoundError, "is being deleted")

    def test_a_partial_one(self) -> None:
        store = InMemoryObjectStore(BUCKET)
        write(store, failures=(LOST,))
        self.refused(
            store, BackupNotExportableError, r"'night' lacks 1 collection\(s\), and is not exported: books\.lost"
        )

    def test_one_of_milvus_backup(self) -> None:
        request = ExportRequest(backup_name="golden_057", export_name="for_them")
        self.refused(golden_store("golden_057"), BackupNotExportableError, "one of milvus-backup", request=request)

    def test_one_of_a_newer_release(self) -> None:
        store = InMemoryObjectStore(BUCKET)
        write_backup(store, ORIGINAL, sample_contents(ORIGINAL), format_version=99)
        self.refused(store, BackupFormatError, "format version 99")

    def test_a_document_that_is_damaged(self, store: InMemoryObjectStore) -> None:
        key = next(key for key in store.buckets[BUCKET] if "/meta/vault/objects/" in key)
        store.put(BUCKET, key, b"[]")
        self.refused(store, BackupDamagedError, "objects/")

    @pytest.mark.parametrize("change", ["missing", "changed", "of another size"])
    def test_an_object_that_is_damaged(self, store: InMemoryObjectStore, change: str) -> None:
        key = next(key for key in store.buckets[BUCKET] if "/.pool/" in key)
        size = len(store.get(BUCKET, key))
        if change == "missing":
            store.delete(BUCKET, [key])
        else:
            store.put(BUCKET, key, b"x" * (size if change == "changed" else size + 1))
        self.refused(store, BackupDamagedError, change)

    @pytest.mark.parametrize("age", [timedelta(seconds=1), timedelta(seconds=-1)], ids=["its own", "of an older one"])
    def test_contents_that_a_verification_found_damaged(self, store: InMemoryObjectStore, age: timedelta) -> None:
        finished_at = read_exportable(store, BUCKET, ORIGINAL, lambda *_: {}).finished_at
        note_damaged_contents(store, "night", finished_at + age)
        if age > timedelta(0):
            self.refused(
                store,
                BackupDamagedError,
                r"'night' is not exported, since contents of 1 object\(s\) are damaged: log 7 is",
            )
        else:
            Export(store).succeed()

    def test_an_object_that_is_archived(self, store: InMemoryObjectStore) -> None:
        store.archived.add(next(key for key in store.buckets[BUCKET] if "/.pool/" in key))
        self.refused(store, ObjectArchivedError, "archived")

    def test_a_name_that_is_taken(self, store: InMemoryObjectStore) -> None:
        # Of a partial one what it lacks is not told: nothing of that is to be backed up under another name.
        write_backup(store, EXPORT, sample_contents(EXPORT), failures=(LOST,))
        hint = "Hint: It stays as it is. Choose another name for the export."
        self.refused(store, BackupExistsError, f"'for_them' exists already\n{hint}")

    def test_a_name_whose_backup_has_lost_its_marker(self, store: InMemoryObjectStore) -> None:
        write_backup(store, EXPORT, sample_contents(EXPORT))
        store.delete(BUCKET, [EXPORT.marker])
        self.refused(store, BackupExistsError, "lost its marker")

    def test_its_own_name(self) -> None:
        with pytest.raises(ValueError, match="the name of the backup itself"):
            ExportRequest(backup_name="night", export_name="night")

    def test_a_name_that_somebody_works_on(self, store: InMemoryObjectStore) -> None:
        assert Export(store, arn="other").prepare() is not None
        with pytest.raises(BackupInProgressError, match="execution other is working on backup 'for_them'"):
            Export(store).prepare()


def test_an_object_that_vanishes_while_it_is_copied_is_damage(store: InMemoryObjectStore) -> None:
    export = Export(store)
    export.prepare()
    store.delete(BUCKET, [next(key for key in store.buckets[BUCKET] if "/.pool/" in key)])
    with pytest.raises(BackupDamagedError, match="vanished"):
        export.copy()
    assert find_manifest(store, BUCKET, EXPORT) is None


def test_a_copy_with_another_checksum_than_was_recorded_is_not_published(store: InMemoryObjectStore) -> None:
    export = Export(store)
    export.prepare()
    name = exported_name(export.attempt, 0)
    export.run.write_bytes(name, export.run.read_bytes(name).replace(b'"MD5:', b'"MD5:0'))
    export.copy()
    with pytest.raises(BackupDamagedError, match="is not what was backed up: its copy has checksum MD5"):
        export.publish()
    assert find_manifest(store, BUCKET, EXPORT) is None


class TestKilled:
    """A killed export goes on with the same request."""

    def died(self, arn: str = "first") -> FakeExecutions:
        return FakeExecutions(**{arn: "ABORTED"})

    def test_what_is_copied_stays_copied(self, store: InMemoryObjectStore) -> None:
        first = Export(store)
        first.prepare()
        assert first.copy() > 0

        second = Export(store, arn="second", executions=self.died())
        second.prepare()
        assert second.copy() == 0
        assert second.publish().execution_arn == "second"

    def test_after_its_marker_it_is_found_published(self, store: InMemoryObjectStore) -> None:
        manifest = Export(store).succeed()
        second = Export(store, arn="second", executions=self.died())
        assert second.prepare() is None
        assert second.publish() == manifest

    def test_another_request_for_the_name_finds_it_taken(self, store: InMemoryObjectStore) -> None:
        Export(store).succeed()
        write_backup(store, BackupLayout(PREFIX, "day"), sample_contents(BackupLayout(PREFIX, "day")))
        request = ExportRequest(backup_name="day", export_name="for_them")
        with pytest.raises(BackupExistsError, match="'for_them' exists already"):
            Export(store, arn="second", executions=self.died(), request=request).prepare()

    def test_one_whose_original_is_gone_by_now_says_so(self, store: InMemoryObjectStore) -> None:
        Export(store).prepare()
        assert prune(store, self.died()) == "deleted"
        with pytest.raises(BackupNotFoundError):
            Export(store, arn="second", executions=self.died()).prepare()

    def test_a_task_that_is_repeated_looks_at_no_collection_twice(self, store: InMemoryObjectStore) -> None:
        export = Export(store)
        export.prepare()
        store.delete(BUCKET, [next(key for key in store.buckets[BUCKET] if "/.pool/" in key)])
        assert export.prepare() is not None


def prune(store: InMemoryObjectStore, executions: FakeExecutions) -> str:
    """Delete the original, and return what became of it."""
    run = Workspace(store, BUCKET, PREFIX, "prune-1")
    plan = PrunePlan(
        request=PruneRequest(backup_names=("night",)),
        execution_arn="prune",
        started_at=EXPORTED_AT,
        decisions=(),
        deletions=(Deletion(name="night", size_bytes=0, marker_etag=store.get_with_etag(BUCKET, ORIGINAL.marker)[1]),),
    )
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: EXPORTED_AT)
    BackupDeletion(run, plan, 0, catalogue, executions, EXPORTED_AT, lambda: 900.0).delete()
    return run.read(outcome_name(0), Outcome).status


def test_a_prune_leaves_a_backup_that_is_exported(store: InMemoryObjectStore) -> None:
    Export(store).prepare()

    assert prune(store, FakeExecutions()) == "skipped"
    with pytest.raises(BackupInUseError, match="is being read by execution first"):
        Catalogue(store, BUCKET, PREFIX).check_deletable("night", FakeExecutions())
    assert Export(store).succeed().object_count > 0
    Catalogue(store, BUCKET, PREFIX).check_deletable("night", FakeExecutions(first="SUCCEEDED"))


@pytest.mark.parametrize("request_number", range(40))
def test_a_prune_that_comes_at_any_request_of_an_export_deletes_nothing_that_the_export_goes_on_to_read(
    store: InMemoryObjectStore, request_number: int
) -> None:
    ahead, outcomes = [request_number], list[str]()

    def before(_operation: str, _bucket: str, _key: str) -> None:
        ahead[0] -= 1
        if ahead[0] < 0:
            store.before = lambda *_: None
            outcomes.append(prune(store, FakeExecutions()))

    store.before = before
    try:
        Export(store).prepare()
    except (BackupNotFoundError, BackupDamagedError):
        # The prune was in time: it may not have withdrawn as well, unless both have seen each other.
        assert outcomes
    else:
        assert outcomes in ([], ["skipped"])
        assert ORIGINAL.marker in store.buckets[BUCKET]


@pytest.mark.parametrize("request_number", range(30))
def test_an_export_that_comes_at_any_request_of_a_prune_is_refused_or_keeps_its_backup(
    store: InMemoryObjectStore, request_number: int
) -> None:
    ahead, refused = [request_number], list[bool]()

    def before(_operation: str, _bucket: str, _key: str) -> None:
        ahead[0] -= 1
        if ahead[0] >= 0:
            return
        store.before = lambda *_: None
        try:
            Export(store).prepare()
        except (BackupNotFoundError, BackupDamagedError):
            refused.append(True)
        else:
            refused.append(False)

    store.before = before
    outcome = prune(store, FakeExecutions())

    if refused == [False]:
        assert outcome == "skipped"
        Export(store).copy()
        assert Export(store).publish().object_count > 0
    else:
        assert refused in ([], [True])


def test_secrets_are_with_the_export_and_nowhere_else(store: InMemoryObjectStore) -> None:
    export = Export(store)
    export.succeed()
    assert read_archive(store, BUCKET, EXPORT).rbac == samples.RBAC
    assert not [key for key in store.buckets[BUCKET] if key.endswith(f"{export.run.folder}{RBAC}")]
