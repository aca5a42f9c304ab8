"""A copy of a backup in another place: the same backup there, of which only what is not there yet is copied."""

import itertools
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, override

import pytest
from pydantic import ValidationError

from milvus_vault.archive.check import check_objects
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.pool import PoolLayout, parse_pooled_key
from milvus_vault.archive.reader import read_archive, read_manifest, read_objects
from milvus_vault.backup.claiming import give_back_elsewhere
from milvus_vault.backup.copies import CopyPreparation, PlaceNotes, check_copy_stays, lock_copied, publish_copy
from milvus_vault.backup.places import ExportPlaces, Place
from milvus_vault.backup.working_files import PLAN, BackupPlan
from milvus_vault.catalogue import Catalogue
from milvus_vault.claims import CLAIM
from milvus_vault.errors import (
    BackupDamagedError,
    BackupExistsError,
    BackupInProgressError,
    BackupInUseError,
    BackupNotExportableError,
    BackupNotFoundError,
    BucketNotLockableError,
    CopyInProgressError,
    InvalidRequestError,
    RunTakenOverError,
)
from milvus_vault.model.locks import ObjectLock
from milvus_vault.model.names import attempt_of
from milvus_vault.model.requests import ExportPlace, ExportRequest
from milvus_vault.model.resources import BackupCopy
from milvus_vault.pool.condemned import Condemned
from milvus_vault.pool.users import PoolUser
from milvus_vault.retention.pool_sweep import PoolSweep
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.dying import KilledError, dying
from tests.support.memory_store import InMemoryObjectStore
from tests.support.short_pages import SortedStore, shorten
from tests.unit.archive.samples import BUCKET, PREFIX, golden_store, sample_contents, write_backup
from tests.unit.refusals_elsewhere import ARCHIVE, RefusedElsewhere
from tests.unit.test_claims import FakeExecutions
from tests.unit.test_export import (
    EXPORTED_AT,
    LOST,
    ORIGINAL,
    Export,
    note_damaged_contents,
    pooled_key,
    prune,
    stored,
    write,
)

THERE = Place(bucket=ARCHIVE, prefix="exports/team")
LAYOUT = BackupLayout(THERE.prefix, "night")
NIGHT = ExportRequest(backup_name="night", export_name="night", is_copy=True, to=ExportPlace())


@dataclass
class Copy(Export):
    """One execution of the export machine that copies a backup."""

    request: ExportRequest = NIGHT
    place: Place | None = THERE
    copied: tuple[int, int] = field(default=(0, 0))
    """Objects and bytes that it copied."""

    @override
    def prepare(self) -> BackupPlan | None:
        catalogue = Catalogue(self.store, BUCKET, PREFIX)
        return CopyPreparation(
            run=self.run,
            request=self.request,
            executions=self.executions,
            execution_arn=self.arn,
            started_at=EXPORTED_AT,
            was_listed=lambda: False,
            damaged_contents=catalogue.damaged_contents,
            place=self.place,
            notes=PlaceNotes(self.destination),
        ).prepare()

    @override
    def publish(self) -> Any:
        plan = self.run.read(PLAN, BackupPlan)
        assert lock_copied(self.run, plan, self.attempt, 1, lambda: 900.0)
        made = publish_copy(self.run, plan, self.attempt, 1)
        give_back_elsewhere(self.destination, {self.attempt, attempt_of(plan.execution_arn)})
        location = f"{THERE.folder}/{plan.backup_name}/"
        Catalogue(self.store, BUCKET, PREFIX).note_copy(
            plan.backup_name, BackupCopy(location=location, copied_at=EXPORTED_AT, run="export-1")
        )
        self.copied = (made.object_count, made.size_bytes)
        return made.manifest


@pytest.fixture(params=["incremental", "full"])
def mode(request: pytest.FixtureRequest) -> str:
    """Of the backup that is copied."""
    found: str = request.param
    return found


@pytest.fixture
def store(mode: str) -> InMemoryObjectStore:
    """A bucket with a backup, and an empty one."""
    return filled(mode)


def filled(mode: str = "incremental", **changes: Any) -> InMemoryObjectStore:
    """Return a bucket with a backup, and an empty one."""
    found = InMemoryObjectStore(BUCKET, ARCHIVE)
    write(found, mode, **changes)
    return found


def write_next(store: InMemoryObjectStore) -> BackupLayout:
    """Write a later incremental backup that shares all objects but one with the first, and return where."""
    layout = BackupLayout(PREFIX, "next")
    contents = stored(sample_contents(layout), pooled_key)
    document, objects = contents[0]
    new = [item._replace(source_key=item.source_key + "7") if n == 0 else item for n, item in enumerate(objects)]
    contents[0] = stored([(document, new)], pooled_key)[0]
    write_backup(store, layout, contents, mode="incremental", format_version=3)
    return layout


def copy_of_next(store: InMemoryObjectStore, first: str = "SUCCEEDED") -> Copy:
    """Return a copy of that backup; `first` is the status of the execution before it."""
    request = NIGHT.model_copy(update={"backup_name": "next", "export_name": "next"})
    return Copy(store, arn="second", request=request, executions=FakeExecutions(first=first))


def below(store: InMemoryObjectStore, folder: str) -> dict[str, bytes]:
    """Return what lies below a folder of the archive, by keys below it."""
    found = store.buckets[ARCHIVE].items()
    return {key.removeprefix(folder): one.body for key, one in found if key.startswith(folder)}


def check_whole(store: InMemoryObjectStore, layout: BackupLayout = LAYOUT) -> int:
    """Check that a deployment in the place finds the backup whole, and return how many objects it has."""
    object_count = 0
    for collection in read_archive(store, ARCHIVE, layout).collections:
        objects = read_objects(store, ARCHIVE, layout, collection)
        found = check_objects(store, ARCHIVE, layout, collection, objects)
        assert (found.is_damaged, found.extra) == (False, [])
        object_count += len(objects)
    return object_count


def test_it_has_the_documents_of_the_original_byte_by_byte(store: InMemoryObjectStore) -> None:
    original = {
        key.removeprefix(ORIGINAL.root): one.body
        for key, one in store.buckets[BUCKET].items()
        if key.startswith(ORIGINAL.root) and "/binlogs/" not in key
    }
    manifest = Copy(store).succeed()
    assert {key: body for key, body in below(store, LAYOUT.root).items() if "binlogs/" not in key} == original
    assert read_manifest(store, ARCHIVE, LAYOUT) == manifest == read_manifest(store, BUCKET, ORIGINAL)
    assert check_whole(store) == manifest.object_count


def test_what_is_there_of_a_collection_with_many_objects_is_listed_in_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SortedStore(BUCKET, ARCHIVE)
    write(store, "incremental")
    Copy(store).succeed()
    write_next(store)
    shorten(monkeypatch)

    copy = copy_of_next(store)
    copy.succeed()

    assert copy.copied[0] == 1
    assert len([key for key in store.cuts if key.startswith(f"{THERE.prefix}/.pool/")]) > 1


def test_its_objects_lie_at_the_same_keys_below_the_prefix(store: InMemoryObjectStore, mode: str) -> None:
    folder = {"incremental": PoolLayout(PREFIX).root, "full": ORIGINAL.binlogs}[mode]
    objects = {key.removeprefix(folder): one.body for key, one in store.buckets[BUCKET].items() if folder in key}
    Copy(store).succeed()
    there = {"incremental": PoolLayout(THERE.prefix).root, "full": LAYOUT.binlogs}[mode]
    assert below(store, there) == objects


def test_nothing_else_is_left_there(store: InMemoryObjectStore) -> None:
    Copy(store).succeed()
    left = {key for key in below(store, "") if not key.startswith((LAYOUT.root, PoolLayout(THERE.prefix).root))}
    assert left == set()
    assert not [key for key in below(store, "") if "/.users/" in key]


def test_the_catalogue_knows_it_until_the_original_is_deleted(store: InMemoryObjectStore) -> None:
    Copy(store).succeed()
    catalogue = Catalogue(store, BUCKET, PREFIX)
    (copy,) = catalogue.get("night").copies
    assert (copy.location, copy.copied_at) == ("s3://archive/exports/team/night/", EXPORTED_AT)
    catalogue.forget_traces("night")
    assert catalogue.copies("night") == ()
    assert check_whole(store) > 0


def test_a_deployment_there_lists_it(store: InMemoryObjectStore, mode: str) -> None:
    Copy(store).succeed()
    (listed,) = Catalogue(store, ARCHIVE, THERE.prefix).list(10, None).items
    assert (listed.name, listed.mode, listed.status) == ("night", mode, "complete")


class TestIncremental:
    """Of an incremental backup only what is not in the pool there is copied."""

    def test_the_next_copies_what_is_new(self) -> None:
        store = filled()
        Copy(store).succeed()
        layout = write_next(store)
        second = copy_of_next(store)
        manifest = second.succeed()
        assert (second.copied[0], manifest.object_count) == (1, check_whole(store, BackupLayout(THERE.prefix, "next")))
        assert layout.name == manifest.backup_name

    def test_again_it_copies_nothing(self) -> None:
        store = filled()
        Copy(store).succeed()
        again = Copy(store, arn="second", executions=FakeExecutions(first="SUCCEEDED"))
        again.succeed()
        assert again.copied == (0, 0)

    def test_again_it_brings_back_what_was_lost_or_changed_there(self, store: InMemoryObjectStore) -> None:
        Copy(store).succeed()
        objects = [key for key in below(store, "") if parse_pooled_key(key) or "/binlogs/" in key]
        store.delete(ARCHIVE, objects[:1])
        store.put(ARCHIVE, objects[1], b"rotten")
        Copy(store, arn="second", executions=FakeExecutions(first="SUCCEEDED")).succeed()
        assert check_whole(store) > 0

    def test_what_a_sweep_there_has_condemned_is_not_shared(self) -> None:
        store = filled()
        Copy(store).succeed()
        key = next(found for found in store.buckets[ARCHIVE] if parse_pooled_key(found))
        pooled = parse_pooled_key(key)
        assert pooled is not None
        layout = PoolLayout(THERE.prefix)
        condemned = Condemned(turn="1", keys=(pooled.below,), sizes=(1,))
        store.put(ARCHIVE, layout.condemned(pooled.group), condemned.model_dump_json().encode())
        with pytest.raises(BackupInProgressError, match="being deleted from the pool there"):
            Copy(store, arn="second", executions=FakeExecutions(first="SUCCEEDED")).prepare()

    def test_a_sweep_there_waits_for_it(self) -> None:
        store = filled()
        copy = Copy(store)
        copy.prepare()
        copy.copy()
        sweep(store)
        copy.publish()
        sweep(store)
        assert check_whole(store) > 0

    @pytest.mark.parametrize("request_number", range(0, 120, 2))
    def test_a_sweep_there_that_comes_at_any_request_costs_it_nothing(self, request_number: int) -> None:
        store = filled()
        Copy(store).succeed()
        # Deleted there, so that its objects wait for a sweep.
        store.delete(ARCHIVE, [f"{LAYOUT.root}{key}" for key in below(store, LAYOUT.root)])
        copy, ahead = Copy(store, arn="second", executions=FakeExecutions(first="SUCCEEDED")), [request_number]

        def come(*_: str) -> None:
            ahead[0] -= 1
            if ahead[0] < 0:
                store.before = lambda *_: None
                sweep(store)

        store.before = come
        with suppress(BackupInProgressError):
            copy.succeed()
        store.before = lambda *_: None
        sweep(store)
        if LAYOUT.marker in store.buckets[ARCHIVE]:
            assert check_whole(store) > 0

    def test_a_sweep_there_that_stopped_on_its_way_keeps_it_waiting_and_no_longer(self) -> None:
        store = filled()
        Copy(store).succeed()
        store.delete(ARCHIVE, [f"{LAYOUT.root}{key}" for key in below(store, LAYOUT.root)])

        def die(operation: str, bucket: str, key: str) -> None:
            if (operation, bucket) == ("delete", ARCHIVE) and parse_pooled_key(key):
                raise KilledError

        store.before = die
        with pytest.raises(KilledError):
            sweep(store)
        store.before = lambda *_: None
        second = Copy(store, arn="second", executions=FakeExecutions(first="SUCCEEDED"))
        with pytest.raises(BackupInProgressError, match="being deleted from the pool there"):
            second.succeed()
        store.delete(ARCHIVE, [key for key in store.buckets[ARCHIVE] if "/.condemned/" in key])
        second.succeed()
        assert second.copied[0] == 0
        assert check_whole(store) > 0

    def test_one_that_was_taken_for_dead_there_is_not_published(self) -> None:
        store = filled()
        copy = Copy(store)
        copy.prepare()
        copy.copy()
        (note,) = (key for key in store.buckets[ARCHIVE] if "/.users/" in key)
        user = PoolUser(run="backup-night", execution_arn="first", state="void")
        store.put(ARCHIVE, note, user.model_dump_json().encode())
        with pytest.raises(RunTakenOverError, match="was taken for dead"):
            copy.publish()
        assert LAYOUT.marker not in store.buckets[ARCHIVE]


class TestOtherEtags:
    """Under a key of its own in the place each write has another ETag, which only notes there tell."""

    @staticmethod
    def salted(mode: str = "incremental") -> InMemoryObjectStore:
        """Return a bucket with two backups that share objects, and an empty one where each write has another ETag."""
        store = filled(mode)
        if mode == "incremental":
            write_next(store)
        store._salts = (f"{number}-".encode() for number in itertools.count())
        return store

    def test_what_was_copied_is_known_again(self, mode: str) -> None:
        store = self.salted(mode)
        first = Copy(store)
        manifest = first.succeed()
        assert first.copied[0] == manifest.object_count == check_whole(store)
        assert LAYOUT.other_etags in store.buckets[ARCHIVE]
        # Also where nothing is left here that remembers it.
        store.delete(BUCKET, [key for key in store.buckets[BUCKET] if "/.runs/export-" in key])
        again = Copy(store, arn="second", executions=FakeExecutions(first="SUCCEEDED"))
        again.prepare()
        assert again.copy() == 0
        assert check_whole(store) == manifest.object_count
        again.publish()
        assert check_whole(store) == manifest.object_count

    def test_what_a_copy_has_noted_counts_when_its_original_is_deleted(self) -> None:
        store = self.salted()
        Copy(store).succeed()
        Catalogue(store, BUCKET, PREFIX).forget_traces("night")
        second = copy_of_next(store)
        second.succeed()
        assert second.copied[0] == 1
        assert check_whole(store) == check_whole(store, BackupLayout(THERE.prefix, "next"))

    def test_of_two_copies_at_once_one_waits_for_the_other(self) -> None:
        store = self.salted()
        first, second = Copy(store), copy_of_next(store, "RUNNING")
        first.prepare()
        with pytest.raises(CopyInProgressError, match="execution first copies to s3://archive/exports/team since"):
            second.prepare()
        # It waits for up to a day, with the backup that it is to copy.
        with pytest.raises(BackupInUseError, match="second"):
            Catalogue(store, BUCKET, PREFIX).check_deletable("next", FakeExecutions())
        first.copy()
        first.publish()
        second.executions = FakeExecutions(first="SUCCEEDED")
        second.succeed()
        assert second.copied[0] == 1
        assert check_whole(store) == check_whole(store, BackupLayout(THERE.prefix, "next"))


def sweep(store: InMemoryObjectStore) -> None:
    """Sweep the pool of the place, by a deployment that may not ask about others' executions."""
    PoolSweep(
        run=Workspace(store, ARCHIVE, THERE.prefix, "prune-1"),
        executions=FakeExecutions(first="UNKNOWN", second="UNKNOWN"),
        execution_arn="prune",
        grace=timedelta(),
        seconds_left=lambda: 900.0,
    ).sweep()


class TestRefusals(RefusedElsewhere):
    """Of a copy."""

    @override
    def execution(self, store: InMemoryObjectStore, **more: Any) -> Copy:
        return Copy(store, **more)

    def test_another_backup_of_the_name(self, store: InMemoryObjectStore) -> None:
        store.put(ARCHIVE, LAYOUT.marker, b"{}")
        self.refused(store, BackupExistsError, "another backup 'night' lies in s3://archive/exports/team/night/")

    def test_a_damaged_backup(self, store: InMemoryObjectStore) -> None:
        store.delete(BUCKET, [next(key for key in store.buckets[BUCKET] if "/.pool/" in key or "/binlogs/" in key)])
        # That it uses the pool there is noted before it is looked at what it has, as by a backup.
        with pytest.raises(BackupDamagedError, match="missing"):
            Copy(store).prepare()
        assert [key for key in store.buckets[ARCHIVE] if not key.startswith(PoolLayout(THERE.prefix).users)] == []

    def test_one_with_contents_that_are_known_to_be_damaged(self, store: InMemoryObjectStore) -> None:
        note_damaged_contents(store, "night", EXPORTED_AT)
        self.refused(store, BackupDamagedError, "is not copied, since contents")

    def test_one_that_is_gone(self, store: InMemoryObjectStore) -> None:
        request = NIGHT.model_copy(update={"backup_name": "gone", "export_name": "gone"})
        self.refused(store, BackupNotFoundError, "gone", request=request)

    def test_one_of_milvus_backup(self) -> None:
        store = golden_store("golden_057")
        store.buckets[ARCHIVE] = {}
        request = NIGHT.model_copy(update={"backup_name": "golden_057", "export_name": "standalone_057"})
        self.refused(store, BackupNotExportableError, "milvus-backup", request=request)


def test_a_partial_backup_is_copied_as_it_is() -> None:
    store = filled("full", failures=(LOST,))
    assert Copy(store).succeed().is_partial


def test_one_without_rows_has_documents_alone() -> None:
    store = filled("full", meta_only=True)
    copy = Copy(store)
    copy.prepare()
    copy.publish()
    assert read_manifest(store, ARCHIVE, LAYOUT) == read_manifest(store, BUCKET, ORIGINAL)


class TestLocked:
    """A copy of a locked backup is locked as that is, since its manifest and its verifications say so."""

    LOCK = ObjectLock(mode="governance", until=EXPORTED_AT + timedelta(days=30))

    def locked(self, mode: str, *, bucket_can: bool = True) -> InMemoryObjectStore:
        """Return a bucket with a locked backup, and an empty one."""
        store = filled(mode, lock=self.LOCK, **({} if mode == "incremental" else {"format_version": 3}))
        store.settings = replace(store.settings, has_object_lock=bucket_can)
        store.clock = lambda: EXPORTED_AT
        return store

    def test_all_that_it_lists_and_its_documents_are_locked_before_its_marker_is_there(self, mode: str) -> None:
        store, locked_before_the_marker = self.locked(mode), set[str]()

        def look(operation: str, bucket: str, key: str) -> None:
            if (operation, bucket, key) == ("put", ARCHIVE, LAYOUT.marker):
                locked_before_the_marker.update(key for key, one in store.buckets[ARCHIVE].items() if one.lock)

        store.before = look
        Copy(store).succeed()
        locked = {key: one.lock for key, one in store.buckets[ARCHIVE].items() if "/.runs/" not in key}
        assert set(locked.values()) == {self.LOCK}
        assert locked.keys() - locked_before_the_marker == {LAYOUT.marker}
        assert not [key for key, one in store.buckets[ARCHIVE].items() if "/.runs/" in key and one.lock]

    def test_a_copy_that_was_there_already_is_locked_once_its_original_is(self, mode: str) -> None:
        store = self.locked(mode)
        Copy(store).succeed()
        for key, one in store.buckets[ARCHIVE].items():
            store.buckets[ARCHIVE][key] = replace(one, lock=None)
        Copy(store, arn="second", executions=FakeExecutions(first="SUCCEEDED")).succeed()
        assert {one.lock for key, one in store.buckets[ARCHIVE].items() if "/.runs/" not in key} == {self.LOCK}

    def test_a_bucket_that_can_lock_nothing_is_refused_before_anything_is_made(self, mode: str) -> None:
        store = self.locked(mode, bucket_can=False)
        with pytest.raises(BucketNotLockableError, match="backup 'night' is locked, and so is its copy"):
            Copy(store).prepare()
        assert store.buckets[ARCHIVE] == {}

    def test_a_lock_that_is_over_needs_none(self, mode: str) -> None:
        store = filled(mode, lock=self.LOCK.model_copy(update={"until": EXPORTED_AT}))
        Copy(store).succeed()
        assert not [key for key, one in store.buckets[ARCHIVE].items() if one.lock]


class TestKilled:
    """A killed copy goes on with the same request."""

    def again(self, store: InMemoryObjectStore) -> Copy:
        return Copy(store, arn="second", executions=FakeExecutions(first="ABORTED"))

    def test_what_is_copied_stays_copied(self, store: InMemoryObjectStore) -> None:
        first = Copy(store)
        first.prepare()
        assert first.copy() > 0
        second = self.again(store)
        second.prepare()
        assert second.copy() == 0
        second.publish()
        assert check_whole(store) > 0

    @pytest.mark.parametrize("request_number", range(0, 150, 3))
    def test_at_any_request_the_next_one_goes_on(self, store: InMemoryObjectStore, request_number: int) -> None:
        with dying(store, request_number):
            Copy(store).succeed()
        self.again(store).succeed()
        assert check_whole(store) > 0
        assert not [key for key in store.buckets[ARCHIVE] if key.endswith(CLAIM)]

    def test_what_another_has_made_there_meanwhile_is_not_touched(self, store: InMemoryObjectStore) -> None:
        copy = Copy(store)
        copy.prepare()
        copy.copy()
        store.put(ARCHIVE, LAYOUT.marker, b"{}")
        with pytest.raises(BackupExistsError):
            check_copy_stays(copy.run, copy.run.read(PLAN, BackupPlan))
        with pytest.raises(BackupExistsError):
            copy.publish()
        assert (store.get(ARCHIVE, LAYOUT.marker), LAYOUT.manifest in store.buckets[ARCHIVE]) == (b"{}", False)

    def test_a_marker_that_comes_at_the_last_moment_is_not_replaced(self, store: InMemoryObjectStore) -> None:
        copy = Copy(store)
        copy.prepare()
        copy.copy()

        def come(operation: str, bucket: str, key: str) -> None:
            if (operation, bucket, key) == ("put", ARCHIVE, LAYOUT.marker):
                store.before = lambda *_: None
                store.put(ARCHIVE, LAYOUT.marker, b"{}")

        store.before = come
        with pytest.raises(BackupExistsError):
            copy.publish()
        assert store.get(ARCHIVE, LAYOUT.marker) == b"{}"

    def test_an_original_that_was_made_anew_meanwhile_is_not_published(self, store: InMemoryObjectStore) -> None:
        copy = Copy(store)
        copy.prepare()
        copy.copy()
        plan = copy.run.read(PLAN, BackupPlan)
        assert plan.export is not None
        other = plan.export.model_copy(update={"marker_sha256": "0" * 64})
        copy.run.write(PLAN, plan.model_copy(update={"export": other}))
        with pytest.raises(BackupNotFoundError, match="was deleted, or made anew, since this run began"):
            copy.publish()

    def test_a_prune_leaves_a_backup_that_is_copied(self, store: InMemoryObjectStore) -> None:
        assert Copy(store).prepare() is not None
        assert prune(store, FakeExecutions()) == "skipped"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"export_name": "night"}, "not copied onto itself"),
        ({"export_name": "other", "to": {}}, "a copy has the name of the backup"),
    ],
)
def test_a_request_that_makes_no_copy_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExportRequest(backup_name="night", is_copy=True, **fields)


@pytest.mark.parametrize(("bucket", "expected"), [("archive", "archive"), ("", BUCKET)])
def test_it_goes_to_the_other_bucket_where_there_is_one(bucket: str, expected: str) -> None:
    own = Place(bucket=BUCKET, prefix=PREFIX)
    places = ExportPlaces(own, MilvusStorage("milvus", "files"), "staging", bucket, "exports")
    found = places.find(NIGHT)
    assert found is not None
    assert (found.bucket, found.prefix) == (expected, "exports")
    itself = NIGHT.model_copy(update={"to": ExportPlace(bucket=BUCKET, prefix=PREFIX)})
    with pytest.raises(InvalidRequestError):
        places.find(itself)
