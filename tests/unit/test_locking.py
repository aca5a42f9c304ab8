"""Object Lock: what is locked, until when, by which requests, and what is refused."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest, write_object_list
from milvus_vault.archive.reader import read_manifest
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.backup import locking
from milvus_vault.backup.prepare import prepare_backup
from milvus_vault.backup.publish import lock_captured, publish_backup
from milvus_vault.backup.working_files import LOCKED, BackupPlan, Snapshot, shared_name, snapshot_name
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.copying.working_files import CopyCheck, CopyTarget, write_target, write_verified
from milvus_vault.errors import (
    BackupLockedError,
    BucketNotLockableError,
    LockRefusedError,
    SourceChangedError,
    StorageThrottledError,
)
from milvus_vault.model.locks import LockTerms, ObjectLock
from milvus_vault.model.names import backup_run
from milvus_vault.model.objects import CopiedObject, CopyItem
from milvus_vault.model.readable import how_verified
from milvus_vault.model.requests import BackupRequest, ExportRequest
from milvus_vault.pool.users import PoolUse
from milvus_vault.ports import VectorDatabase
from milvus_vault.source import MilvusStorage
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, DATABASES, PREFIX, Contents, sample_contents, write_backup
from tests.unit.retention.test_prune import NIGHTLY, NOW, add, pruner
from tests.unit.test_claims import FakeExecutions
from tests.unit.test_export import SOURCE, Export, pooled_key, stored
from tests.unit.test_publish import CHANGED
from tests.unit.verifying.logs import COLLECTION, backup, verify
from tests.unit.verifying.logs import NOW as VERIFIED_AT

ATTEMPT = "0123abcd"
BEGUN = datetime(2126, 3, 1, 2, 0, 0, 500_000, tzinfo=UTC)
TERMS = LockTerms(days=30)
LOCK = TERMS.from_time(BEGUN, is_shared=False)


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with Object Lock."""
    return lockable()


def lockable() -> InMemoryObjectStore:
    """Return a store whose buckets have Object Lock."""
    store = InMemoryObjectStore(BUCKET, "milvus")
    store.settings = replace(store.settings, has_object_lock=True)
    return store


def locks(store: InMemoryObjectStore) -> dict[str, ObjectLock | None]:
    """Return the lock of each object, by its key."""
    return {key: found.lock for key, found in store.buckets[BUCKET].items()}


class Night:
    """The end of one run that backs up, when all is copied and verified."""

    def __init__(
        self,
        store: InMemoryObjectStore,
        name: str = "monday",
        *,
        terms: LockTerms | None = TERMS,
        mode: str = "full",
        begun: datetime = BEGUN,
        is_shared: bool = False,
        bases: Sequence[str] = (),
        failed: Sequence[int] = (),
        on_failure: str = "publish_partial",
    ) -> None:
        """Write the working files."""
        self.store, self.layout = store, BackupLayout(PREFIX, name)
        self.run = Workspace(store, BUCKET, PREFIX, backup_run(name))
        self.contents = self._contents(mode)
        is_incremental = mode == "incremental"
        for index, (document, objects) in enumerate(self.contents):
            snapshot = Snapshot(round=1, failure=CHANGED) if index in failed else Snapshot(round=1, document=document)
            self.run.write(snapshot_name(ATTEMPT, index), snapshot.model_copy(update={"has_target": not is_shared}))
            shared = objects if is_shared else []
            if is_incremental:
                self.run.write_bytes(shared_name(ATTEMPT, index), write_object_list(shared))
            if not is_shared:
                folders = self.layout.collection_folders(document.description.collection_id)
                items = [CopyItem(item.source_key, item.stored_key, item.size_bytes, "e") for item in objects]
                write_target(self.run, ATTEMPT, CopyTarget(index=index, name="any", folders=folders), items)
                verified = [CopiedObject(item.stored_key, item.etag, item.checksum) for item in objects]
                write_verified(self.run, ATTEMPT, index, verified)
                for item in objects:
                    store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
        check = CopyCheck(
            complete=(0, 1), missing_source=(), incomplete=(), object_count=0, size_bytes=0, deleted_count=0
        )
        self.run.write(f"copy/{ATTEMPT}/r1/verification.json", check)
        request = {"mode": mode, "lock": terms, "on_collection_failure": on_failure}
        self.plan = BackupPlan(
            request=BackupRequest.model_validate(request),
            backup_name=name,
            backup_id="run-1",
            execution_arn="arn:aws:states:eu-west-1:123456789012:execution:backup:run-1",
            started_at=begun,
            source=SOURCE,
            databases=DATABASES,
            collections=tuple(document.description.name for document, _ in self.contents),
            lock=terms.from_time(begun, is_shared=is_incremental) if terms else None,
            bases=tuple(bases),
        )
        if is_incremental:
            PoolUse(self.run, self.plan.execution_arn).begin()

    def _contents(self, mode: str) -> Contents:
        contents = sample_contents(self.layout)
        if mode == "incremental":
            # The same wherever it is backed up, as with a Milvus that has not changed.
            return stored(sample_contents(BackupLayout(PREFIX, "any")), pooled_key)
        return contents

    @property
    def keys(self) -> set[str]:
        """Return the keys of its objects."""
        return {item.stored_key for _, objects in self.contents for item in objects}

    def lock(self, seconds_left: Callable[[], float] = lambda: 900.0) -> bool:
        """Lock its objects."""
        return lock_captured(self.run, self.plan, ATTEMPT, 1, seconds_left)

    def publish(self) -> Manifest:
        """Write the documents and the marker."""
        manifest = publish_backup(
            self.run, self.plan, self.layout, ATTEMPT, 1, finished_at=BEGUN, render_report=lambda _: b"report"
        )
        assert manifest is not None
        return manifest


class TestTerms:
    """When a lock ends."""

    def test_it_lasts_so_many_days_from_the_beginning_to_the_second(self) -> None:
        assert ObjectLock(mode="governance", until=datetime(2126, 3, 31, 2, 0, 1, tzinfo=UTC)) == LOCK

    @given(
        st.integers(1, 36_500),
        st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - made aware below
        st.booleans(),
    )
    def test_it_is_never_shorter_and_where_objects_are_shared_at_most_a_quarter_longer(
        self, days: int, begun: datetime, is_shared: bool
    ) -> None:
        at = begun.replace(tzinfo=UTC)
        until = LockTerms(days=days).from_time(at, is_shared=is_shared).until
        longer = until - at - timedelta(days=days)
        longest = timedelta(days=max(1, days // 4)) if is_shared else timedelta(seconds=1)
        assert timedelta(0) <= longer < longest
        assert until.microsecond == 0

    def test_nights_of_one_period_have_one_end(self) -> None:
        ends = {TERMS.from_time(BEGUN + timedelta(days=night), is_shared=True).until for night in range(28)}
        # 30 days have periods of 7.
        assert len(ends) in {4, 5}

    @pytest.mark.parametrize(
        ("one", "other", "covers"),
        [
            (("governance", 2), ("governance", 1), True),
            (("governance", 1), ("governance", 1), True),
            (("governance", 1), ("governance", 2), False),
            (("compliance", 1), ("governance", 1), True),
            (("governance", 2), ("compliance", 1), False),
        ],
    )
    def test_one_covers_what_is_neither_longer_nor_stricter(
        self, one: tuple[str, int], other: tuple[str, int], *, covers: bool
    ) -> None:
        found, asked = (
            ObjectLock.model_validate({"mode": mode, "until": BEGUN + timedelta(days=days)})
            for mode, days in (one, other)
        )
        assert found.covers(asked) is covers

    @pytest.mark.parametrize(
        "wrong", [{"days": 0}, {"days": -1}, {"days": 36_501}, {"mode": "forever", "days": 1}, {"mode": "governance"}]
    )
    def test_what_is_no_lock_is_refused_by_its_field(self, wrong: dict[str, object]) -> None:
        for request in (BackupRequest, ExportRequest):
            given = {"lock": wrong, "backup_name": "a", **({"export_name": "b"} if request is ExportRequest else {})}
            with pytest.raises(ValidationError, match=r"lock\."):
                request.model_validate(given)


def test_a_dataset_is_not_locked() -> None:
    with pytest.raises(ValidationError, match="`lock` is of backups alone"):
        ExportRequest(backup_name="a", export_name="b", format="parquet", lock=TERMS)


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_all_that_a_backup_is_made_of_is_locked_and_nothing_else(store: InMemoryObjectStore, mode: str) -> None:
    night = Night(store, mode=mode)
    assert night.lock()
    manifest = night.publish()

    lock = night.plan.lock
    assert lock is not None
    assert manifest == read_manifest(store, BUCKET, night.layout)
    assert manifest.lock == lock
    assert summary_of(manifest).lock == lock
    assert manifest.format_version == 3
    found = locks(store)
    of_it = {key for key in found if key.startswith(night.layout.root)} | night.keys
    assert len(of_it) > len(night.keys) + 5
    assert {found[key] for key in of_it} == {lock}
    assert {found[key] for key in found.keys() - of_it} == {None}


def test_a_backup_without_a_lock_asks_for_none(store: InMemoryObjectStore) -> None:
    night = Night(store, terms=None)
    assert night.lock()
    manifest = night.publish()
    assert (manifest.lock, manifest.format_version, store.requests["lock"]) == (None, 2, 0)
    assert b'"lock"' not in store.get(BUCKET, night.layout.manifest) + store.get(BUCKET, night.layout.marker)
    assert set(locks(store).values()) == {None}


def test_objects_are_locked_before_the_marker_is_there(store: InMemoryObjectStore) -> None:
    night = Night(store)
    assert night.lock()
    assert {locks(store)[key] for key in night.keys} == {LOCK}
    assert night.layout.marker not in store.buckets[BUCKET]


def test_nothing_is_locked_of_a_collection_that_is_left_out(store: InMemoryObjectStore) -> None:
    night = Night(store, failed=[0])
    assert night.lock()
    night.publish()
    lost = {item.stored_key for item in night.contents[0][1]}
    assert not lost & {key for key, lock in locks(store).items() if lock}


def test_nothing_is_locked_of_a_backup_that_is_not_published(store: InMemoryObjectStore) -> None:
    night = Night(store, failed=[0], on_failure="fail")
    with pytest.raises(SourceChangedError):
        night.lock()
    assert set(locks(store).values()) == {None}


def test_where_time_runs_short_the_next_call_goes_on(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_BATCH", 2)
    night = Night(store)
    calls = 0
    while not night.lock(iter([900.0, 900.0, 0.0]).__next__):
        calls += 1
    assert calls > 1
    assert store.requests["lock"] == len(night.keys)
    assert {locks(store)[key] for key in night.keys} == {LOCK}
    night.publish()
    assert LOCKED not in set(night.run.names())


def test_after_a_refusal_of_s3_the_next_call_repeats_little(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locking, "_BATCH", 1)
    night = Night(store)
    failing = sorted(night.keys)[-1]

    def refuse(operation: str, _bucket: str, key: str) -> None:
        if (operation, key) == ("lock", failing):
            raise StorageThrottledError(key)

    store.before = refuse
    with pytest.raises(StorageThrottledError):
        night.lock()
    store.before = lambda *_: None
    before = store.requests["lock"]
    assert before
    assert night.lock()
    assert store.requests["lock"] == len(night.keys)


class TestShared:
    """Objects that other backups share."""

    def night(self, store: InMemoryObjectStore, name: str, day: int, terms: LockTerms = TERMS) -> Night:
        """Publish the first backup, or lock one that shares all with it, so many days later."""
        is_first = name == "first"
        begun = datetime(2126, 1, 1, tzinfo=UTC) + timedelta(days=day)
        night = Night(
            store,
            name,
            mode="incremental",
            begun=begun,
            terms=terms,
            is_shared=not is_first,
            bases=() if is_first else ("first",),
        )
        assert night.lock()
        if is_first:
            night.publish()
        return night

    def test_no_request_is_made_for_what_a_base_has_locked_as_long(self, store: InMemoryObjectStore) -> None:
        first = self.night(store, "first", 0)
        store.requests.clear()
        assert first.plan.lock is not None
        days = range(1, 20)
        other = next(d for d in days if TERMS.from_time(_day(d), is_shared=True).until > first.plan.lock.until)
        for day in range(other):
            self.night(store, f"other_{day}", day)
        assert store.requests["lock"] == 0

        second = self.night(store, "last", other)
        assert store.requests["lock"] == len(second.keys)
        assert {locks(store)[key] for key in second.keys} == {second.plan.lock}

    @pytest.mark.parametrize("lost", ["marker", "manifest", "list"])
    def test_of_a_base_that_cannot_be_read_nothing_is_believed(self, store: InMemoryObjectStore, lost: str) -> None:
        first = self.night(store, "first", 0)
        number = first.contents[0][0].description.collection_id
        layout = first.layout
        key = {"marker": layout.marker, "manifest": layout.manifest, "list": layout.object_list(number)}[lost]
        store.delete(BUCKET, [key])
        store.requests.clear()
        other = self.night(store, "other", 0)
        expected = len(first.contents[0][1]) if lost == "list" else len(other.keys)
        assert store.requests["lock"] == expected

    def test_a_base_without_a_lock_says_nothing(self, store: InMemoryObjectStore) -> None:
        Night(store, "first", mode="incremental", terms=None).publish()
        other = self.night(store, "other", 0)
        assert {locks(store)[key] for key in other.keys} == {other.plan.lock}

    def test_a_shorter_lock_changes_none_that_is_longer(self, store: InMemoryObjectStore) -> None:
        first = self.night(store, "first", 0, LockTerms(days=300, mode="compliance"))
        other = self.night(store, "other", 0, LockTerms(days=3))
        assert {locks(store)[key] for key in other.keys} == {first.plan.lock}

    def test_compliance_is_not_to_be_had_of_what_is_locked_in_governance(self, store: InMemoryObjectStore) -> None:
        self.night(store, "first", 0)
        with pytest.raises(LockRefusedError, match="governance"):
            self.night(store, "other", 0, LockTerms(days=3, mode="compliance"))

    def test_what_was_copied_anew_to_where_a_base_has_it_is_locked_anew(self, store: InMemoryObjectStore) -> None:
        first = self.night(store, "first", 0)
        healed = sorted(first.keys)[0]
        store.put(BUCKET, healed, b"healed")
        again = Night(store, "other", mode="incremental", begun=first.plan.started_at, bases=("first",))
        assert again.lock()
        assert locks(store)[healed] == again.plan.lock


def _day(day: int) -> datetime:
    return datetime(2126, 1, 1, tzinfo=UTC) + timedelta(days=day)


class TestRefused:
    """What cannot be locked is refused before anything is made."""

    def test_a_backup_to_a_bucket_without_object_lock(self) -> None:
        store = InMemoryObjectStore(BUCKET)
        run = Workspace(store, BUCKET, PREFIX, "backup-night")
        with pytest.raises(BucketNotLockableError, match=BUCKET) as caught:
            prepare_backup(
                run,
                BackupRequest(lock=TERMS),
                layout=BackupLayout(PREFIX, "night"),
                database=cast("VectorDatabase", object()),
                executions=FakeExecutions(),
                storage=MilvusStorage("milvus", "files"),
                garbage_collector=None,
                execution_arn="first",
                started_at=BEGUN,
                was_listed=lambda: False,
            )
        assert "Object Lock" in caught.value.hint
        assert not store.buckets[BUCKET]

    def test_an_export_to_a_bucket_without_object_lock(self, store: InMemoryObjectStore) -> None:
        night = Night(store, "night", mode="incremental", terms=None)
        Catalogue(store, BUCKET, PREFIX).publish(summary_of(night.publish()))
        store.settings = replace(store.settings, has_object_lock=False)
        before = dict(store.buckets[BUCKET])
        request = ExportRequest(backup_name="night", export_name="for_them", lock=TERMS)
        with pytest.raises(BucketNotLockableError):
            Export(store, request=request).prepare()
        assert store.buckets[BUCKET] == before


def test_an_export_is_locked_where_it_is_asked_for_whatever_its_original_is(store: InMemoryObjectStore) -> None:
    night = Night(store, "night", mode="incremental", terms=None)
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(night.publish()))
    request = ExportRequest(backup_name="night", export_name="for_them", lock=LockTerms(days=7, mode="compliance"))

    manifest = Export(store, request=request).succeed()

    assert manifest.lock == ObjectLock(mode="compliance", until=datetime(2026, 11, 29, 12, tzinfo=UTC))
    found = locks(store)
    assert {found[key] for key in found if key.startswith(f"{PREFIX}/for_them/")} == {manifest.lock}
    assert {found[key] for key in night.keys} == {None}


class TestKept:
    """A locked backup is not deleted before its lock ends, and all say until when."""

    @pytest.fixture
    def nightly(self, store: InMemoryObjectStore) -> InMemoryObjectStore:
        """Two backups that a policy does not keep, of which one is locked."""
        add(store, "new", 1)
        for name, lock in (("free", None), ("locked", ObjectLock(mode="governance", until=NOW + timedelta(days=5)))):
            layout = BackupLayout(PREFIX, name)
            manifest = write_backup(
                store, layout, sample_contents(layout), started_at=NOW - timedelta(days=9), schedule=NIGHTLY, lock=lock
            )
            Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
        return store

    def test_a_policy_keeps_it_and_says_until_when(self, nightly: InMemoryObjectStore) -> None:
        plan = pruner(nightly).plan()
        reasons = {decision.name: decision.reason for decision in plan.decisions}
        assert reasons["locked"] == "kept: it is locked until 2026-11-27 12:00 UTC"
        assert reasons["free"].startswith("deleted: ")
        assert [deletion.name for deletion in plan.deletions] == ["free"]

    @pytest.mark.parametrize("damaged", [False, True])
    def test_by_name_it_is_refused_before_anything_is_deleted(
        self, nightly: InMemoryObjectStore, *, damaged: bool
    ) -> None:
        if damaged:
            nightly.delete(BUCKET, [BackupLayout(PREFIX, "locked").manifest])
        before = set(nightly.buckets[BUCKET])
        with pytest.raises(BackupLockedError, match="until 2026-11-27 12:00:00 UTC, in governance mode"):
            pruner(nightly).plan(backup_names=["free", "locked"])
        assert {key for key in before if "/.runs/" not in key} <= set(nightly.buckets[BUCKET])

    def test_one_that_was_locked_since_it_was_decided_on_is_skipped(self, nightly: InMemoryObjectStore) -> None:
        layout = BackupLayout(PREFIX, "free")
        prune = pruner(nightly)
        plan = prune.plan()
        assert [deletion.name for deletion in plan.deletions] == ["free"]
        lock = ObjectLock(mode="compliance", until=NOW + timedelta(days=1))
        marker = nightly.buckets[BUCKET][layout.marker]
        write_backup(
            nightly, layout, sample_contents(layout), started_at=NOW - timedelta(days=9), schedule=NIGHTLY, lock=lock
        )
        # As if the marker had not changed, which would be another reason.
        nightly.buckets[BUCKET][layout.marker] = replace(nightly.buckets[BUCKET][layout.marker], etag=marker.etag)
        assert prune.delete()
        assert prune.outcome() == ("skipped", "BackupLockedError")
        assert layout.marker in nightly.buckets[BUCKET]

    def test_when_its_lock_has_ended_it_goes_as_any_other(self, nightly: InMemoryObjectStore) -> None:
        layout = BackupLayout(PREFIX, "locked")
        ended = ObjectLock(mode="compliance", until=NOW - timedelta(seconds=1))
        write_backup(
            nightly, layout, sample_contents(layout), started_at=NOW - timedelta(days=9), schedule=NIGHTLY, lock=ended
        )
        assert {deletion.name for deletion in pruner(nightly).plan().deletions} == {"free", "locked"}


class TestVerified:
    """`checksum` and `deep` prove the lock of each object that they look at."""

    LOCK = ObjectLock(mode="governance", until=VERIFIED_AT + timedelta(days=5))

    @pytest.fixture
    def keys(self, store: InMemoryObjectStore) -> list[str]:
        """The objects of a backup, which are all locked."""
        return self.written(store, self.LOCK)

    def written(self, store: InMemoryObjectStore, lock: ObjectLock) -> list[str]:
        """Write a backup that is recorded as locked, with all that it is made of, and return its objects."""
        store.clock = lambda: VERIFIED_AT
        keys = backup(store)
        manifest = read_manifest(store, BUCKET, BackupLayout(PREFIX, "books"))
        assert manifest is not None
        body = manifest.model_copy(update={"lock": lock, "format_version": 3}).model_dump_json().encode()
        layout = BackupLayout(PREFIX, "books")
        store.put(BUCKET, layout.manifest, body)
        store.put(BUCKET, layout.marker, marker_file(Manifest.model_validate_json(body), body))
        for key in list(store.buckets[BUCKET]):
            store.lock(BUCKET, key, lock)
        store.requests.clear()
        return sorted(keys.values())

    def test_a_quick_one_looks_at_none_and_says_so(self, store: InMemoryObjectStore, keys: list[str]) -> None:
        store.buckets[BUCKET][keys[0]] = replace(store.buckets[BUCKET][keys[0]], lock=None)
        found = verify(store)
        assert (found.status, found.locked_count, store.requests["lock_of"]) == ("intact", 0, 0)

    @pytest.mark.parametrize("level", ["checksum", "deep"])
    def test_the_others_prove_all(self, store: InMemoryObjectStore, keys: list[str], level: str) -> None:
        found = verify(store, level=level)
        assert (found.status, found.locked_count) == ("intact", len(keys)), found.cause
        assert f"{len(keys)} locks proven" in how_verified(found.model_dump())

    @pytest.mark.parametrize("level", ["checksum", "deep"])
    @pytest.mark.parametrize(
        ("lock", "words"),
        [
            (None, "it is not locked, and was recorded as locked until 2026-11"),
            (ObjectLock(mode="governance", until=VERIFIED_AT + timedelta(days=4)), "its lock ends at .*, earlier than"),
        ],
    )
    def test_a_lock_that_is_gone_or_ends_earlier_is_found_by_name(
        self, store: InMemoryObjectStore, keys: list[str], level: str, lock: ObjectLock | None, words: str
    ) -> None:
        store.buckets[BUCKET][keys[3]] = replace(store.buckets[BUCKET][keys[3]], lock=lock)
        found = verify(store, level=level)
        assert (found.status, found.locked_count, found.problem_count) == ("damaged", len(keys) - 1, 1)
        assert keys[3] in found.cause
        assert re.search(words, found.cause)
        # No content is damaged: the next backup may share it.
        assert Catalogue(store, BUCKET, PREFIX).damaged_contents("books", VERIFIED_AT - timedelta(days=99)) == {}

    def test_governance_is_not_compliance(self, store: InMemoryObjectStore) -> None:
        keys = self.written(store, ObjectLock(mode="compliance", until=self.LOCK.until))
        store.buckets[BUCKET][keys[0]] = replace(store.buckets[BUCKET][keys[0]], lock=self.LOCK)
        assert (
            "it is locked in governance mode, and was recorded as locked in compliance"
            in verify(store, level="checksum").cause
        )

    @pytest.mark.usefixtures("keys")
    @pytest.mark.parametrize("document", ["marker", "manifest", "list"])
    def test_documents_are_looked_at_as_well(self, store: InMemoryObjectStore, document: str) -> None:
        layout = BackupLayout(PREFIX, "books")
        key = {"marker": layout.marker, "manifest": layout.manifest, "list": layout.object_list(COLLECTION)}[document]
        store.buckets[BUCKET][key] = replace(store.buckets[BUCKET][key], lock=None)
        assert f"{key}: it is not locked" in verify(store, level="checksum").cause

    def test_when_it_has_ended_nothing_is_looked_at(self, store: InMemoryObjectStore) -> None:
        self.written(store, ObjectLock(mode="governance", until=VERIFIED_AT + timedelta(seconds=1)))
        store.clock = lambda: VERIFIED_AT + timedelta(days=1)
        ended = ObjectLock(mode="governance", until=VERIFIED_AT)
        self.written(store, ended)
        found = verify(store, level="checksum")
        assert (found.status, found.locked_count, store.requests["lock_of"]) == ("intact", 0, 0)

    def test_a_copy_that_was_made_on_the_last_day_of_a_lock_has_none(self, store: InMemoryObjectStore) -> None:
        keys = self.written(store, ObjectLock(mode="governance", until=VERIFIED_AT + timedelta(hours=24)))
        kept = dict(store.buckets[BUCKET])
        store.buckets[BUCKET] = {key: replace(one, lock=None) for key, one in kept.items()}
        found = verify(store, level="checksum")
        assert (found.status, found.locked_count) == ("intact", 0), found.cause
        # Where its marker or its manifest is locked all is: it is no such copy.
        layout = BackupLayout(PREFIX, "books")
        for number, without in enumerate(([keys[0]], [keys[0], layout.marker], [keys[0], layout.manifest])):
            store.buckets[BUCKET] = kept | {key: replace(kept[key], lock=None) for key in without}
            assert f"{keys[0]}: it is not locked" in verify(store, run=f"verify-{number + 2}", level="checksum").cause

    def test_a_marker_that_is_made_anew_for_a_copy_without_locks_has_none(self, store: InMemoryObjectStore) -> None:
        self.written(store, ObjectLock(mode="governance", until=VERIFIED_AT + timedelta(hours=24)))
        layout = BackupLayout(PREFIX, "books")
        store.buckets[BUCKET] = {key: replace(one, lock=None) for key, one in store.buckets[BUCKET].items()}
        store.delete(BUCKET, [layout.marker])
        assert verify(store, run="verify-2", repair=True).mended
        assert locks(store)[layout.marker] is None
        assert verify(store, run="verify-3", level="checksum").status == "intact"

    @pytest.mark.usefixtures("keys")
    def test_a_manifest_that_is_made_anew_says_it_and_is_locked(self, store: InMemoryObjectStore) -> None:
        layout = BackupLayout(PREFIX, "books")
        store.delete(BUCKET, [layout.manifest])
        found = verify(store, run="verify-2", repair=True)
        assert found.mended
        manifest = read_manifest(store, BUCKET, layout)
        assert manifest is not None
        assert manifest.lock == self.LOCK
        assert {locks(store)[key] for key in (layout.manifest, layout.marker)} == {self.LOCK}
