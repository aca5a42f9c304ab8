"""What a sweep may touch: nothing of a backup, of a running execution, or of anybody else; and what it does remove."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import Tombstone
from milvus_vault.backup.places import Place
from milvus_vault.backup.working_files import ExportDestination
from milvus_vault.claims import Claim
from milvus_vault.errors import BucketNotFoundError, StorageAccessDeniedError, StorageUnavailableError, VaultError
from milvus_vault.model.names import export_elsewhere_run
from milvus_vault.model.objects import ListedObject, UnfinishedUpload
from milvus_vault.retention.sweep import RECORDS, Sweep
from milvus_vault.retention.working_files import Swept
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.test_claims import FakeExecutions

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OLD, FRESH, ANCIENT = NOW - timedelta(days=8), NOW - timedelta(days=6), NOW - timedelta(days=91)
BACKUPS, MILVUS = "backups", "milvus"
ORPHAN_NOTE = "team/.catalogue/orphans/books.json"
STATUSES = {"ran": "RUNNING", "unknown": "UNKNOWN", "dead": "ABORTED", "done": "SUCCEEDED", "gone": "GONE"}


@pytest.fixture
def store() -> InMemoryObjectStore:
    """Two empty buckets."""
    return InMemoryObjectStore(BACKUPS, MILVUS)


def put(store: InMemoryObjectStore, bucket: str, key: str, at: datetime = OLD, body: bytes = b"{}") -> None:
    """Write an object at a time."""
    store.clock = lambda: at
    store.put(bucket, key, body)
    store.clock = lambda: NOW


def put_claim(store: InMemoryObjectStore, bucket: str, key: str, arn: str, run: str, at: datetime = OLD) -> None:
    """Write the claim of an execution."""
    put(store, bucket, key, at, Claim(execution_arn=arn, run=run, claimed_at=at).model_dump_json().encode())


def put_run(store: InMemoryObjectStore, run: str, arn: str, at: datetime = OLD) -> None:
    """Write a run with a claim and another working file."""
    put_claim(store, BACKUPS, f"team/.runs/{run}/claim.json", arn, run, at)
    put(store, BACKUPS, f"team/.runs/{run}/plan.json", at)


def sweep(store: InMemoryObjectStore, prefix: str = "team", seconds_left: float = 900.0) -> tuple[Swept, bool]:
    """Sweep with a grace of a week."""
    return Sweep(
        store=store,
        executions=FakeExecutions(**STATUSES),
        bucket=BACKUPS,
        prefix=prefix,
        milvus_bucket=MILVUS,
        staging_prefix="staging",
        run="prune-me",
        execution_arn="me",
        now=NOW,
        grace=timedelta(days=7),
        seconds_left=lambda: seconds_left,
    ).sweep()


def tombstone(name: str) -> bytes:
    """Return the tombstone of a backup whose marker a prune has deleted."""
    return seal(Tombstone(backup_name=name, execution_arn="done", since=OLD, is_decided=True))


def keys(store: InMemoryObjectStore) -> set[str]:
    """Return all keys in both buckets."""
    return {f"{bucket}:{key}" for bucket, objects in store.buckets.items() for key in objects}


@pytest.mark.parametrize("kind", ["backup", "restore", "verify", "prune", "export", "drill"])
@pytest.mark.parametrize("arn", ["dead", "done", "gone"])
def test_working_files_of_an_ended_run_go_when_they_are_old(store: InMemoryObjectStore, kind: str, arn: str) -> None:
    put_run(store, f"{kind}-books", arn)
    swept, is_all = sweep(store)
    assert keys(store) == set()
    assert (swept.runs, swept.object_count, is_all) == ((f"{kind}-books",), 1, True)


@pytest.mark.parametrize("arn", ["ran", "unknown"])
def test_a_run_that_may_be_running_is_left_alone_with_all_that_is_its_own(store: InMemoryObjectStore, arn: str) -> None:
    put_run(store, "backup-books", arn)
    put_run(store, "restore-books-1", arn)
    put(store, BACKUPS, "team/books/binlogs/insert_log/1/2/3/4/5")
    put(store, MILVUS, "staging/restore-books-1/1")
    put_claim(store, MILVUS, "staging/claims/1/default/books.json", arn, "restore-books-1")
    before = keys(store)
    assert sweep(store)[0] == Swept()
    assert keys(store) == before


def test_a_run_of_which_anything_is_fresh_can_still_be_resumed(store: InMemoryObjectStore) -> None:
    put_run(store, "restore-books-1", "dead")
    put(store, MILVUS, "staging/restore-books-1/1", FRESH)
    put_run(store, "backup-books", "dead")
    put(store, BACKUPS, "team/books/binlogs/1", FRESH)
    put_run(store, "backup-shop", "dead", FRESH)
    before = keys(store)
    sweep(store)
    assert keys(store) == before


def test_a_dead_run_goes_with_its_unfinished_backup_or_its_staged_objects(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, ORPHAN_NOTE)
    put_run(store, "backup-books", "dead")
    put(store, BACKUPS, "team/books/binlogs/insert_log/1/2/3/4/5")
    put(store, BACKUPS, "team/books/meta/vault/collections/1.json")
    put_run(store, "restore-shop-1", "dead")
    put(store, MILVUS, "staging/restore-shop-1/insert_log/1")
    put_claim(store, MILVUS, "staging/claims/1/default/shop.json", "dead", "restore-shop-1")
    sweep(store)
    assert keys(store) == set()


def test_an_unfinished_backup_is_in_quarantine_first_though_its_run_is_there(store: InMemoryObjectStore) -> None:
    put_run(store, "backup-books", "dead")
    put(store, BACKUPS, "team/books/binlogs/insert_log/1/2/3/4/5")
    before = keys(store)
    swept, _ = sweep(store)
    assert keys(store) == {*before, f"backups:{ORPHAN_NOTE}"}
    assert swept.quarantined == ("books",)
    # The next sweeps of the week.
    assert sweep(store)[0] == Swept()
    assert keys(store) == {*before, f"backups:{ORPHAN_NOTE}"}
    put(store, BACKUPS, ORPHAN_NOTE)
    sweep(store)
    assert keys(store) == set()


def test_what_was_written_since_it_was_noted_begins_its_quarantine_anew(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, ORPHAN_NOTE, ANCIENT)
    put(store, BACKUPS, "team/books/binlogs/insert_log/1", OLD)
    assert sweep(store)[0].quarantined == ("books",)
    assert "backups:team/books/binlogs/insert_log/1" in keys(store)


@pytest.mark.parametrize("with_run", [True, False])
@pytest.mark.parametrize("left", ["meta/vault/manifest.json", "meta/full_meta.json", "meta/segment_meta.json"])
def test_a_backup_that_lost_its_marker_is_never_swept(store: InMemoryObjectStore, left: str, *, with_run: bool) -> None:
    put(store, BACKUPS, ORPHAN_NOTE, ANCIENT)
    if with_run:
        put_run(store, "backup-books", "done", ANCIENT)
    parts = {"binlogs/insert_log/1", "meta/vault/collections/1.json", left}
    for part in parts:
        put(store, BACKUPS, f"team/books/{part}", ANCIENT)
    for _ in range(2):
        sweep(store)
        assert {f"backups:team/books/{part}" for part in parts} <= keys(store)


def test_a_hold_stays_though_a_listing_left_out_the_folder_of_its_backup(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, BACKUPS, "team/.catalogue/holds/books.json")
    put(store, BACKUPS, BackupLayout("team", "books").marker)
    monkeypatch.setattr(store, "list_folders", lambda *_: iter(()))
    sweep(store)
    assert "backups:team/.catalogue/holds/books.json" in keys(store)


def test_of_a_published_backup_only_the_working_files_go(store: InMemoryObjectStore) -> None:
    put_run(store, "backup-books", "done")
    for key in (BackupLayout("team", "books").marker, "team/books/binlogs/insert_log/1"):
        put(store, BACKUPS, key)
    sweep(store)
    assert keys(store) == {"backups:team/books/binlogs/insert_log/1", "backups:team/books/meta/backup_meta.json"}


def test_a_backup_that_is_being_deleted_is_left_to_the_prune(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, "team/.catalogue/deleting/books.json", body=tombstone("books"))
    put(store, BACKUPS, "team/books/binlogs/insert_log/1")
    before = keys(store)
    sweep(store)
    assert keys(store) == before


@pytest.mark.parametrize("left_out", ["meta/backup_meta.json", "meta/vault/manifest.json"])
def test_no_backup_is_swept_because_a_listing_left_out_a_key(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    put(store, BACKUPS, ORPHAN_NOTE, ANCIENT)
    parts = {"binlogs/insert_log/1", left_out}
    for part in parts:
        put(store, BACKUPS, f"team/books/{part}", ANCIENT)
    list_objects = store.list_objects

    def lying(bucket: str, prefix: str) -> Iterator[ListedObject]:
        return (listed for listed in list_objects(bucket, prefix) if not listed.key.endswith(left_out))

    monkeypatch.setattr(store, "list_objects", lying)
    sweep(store)
    sweep(store)
    assert {f"backups:team/books/{part}" for part in parts} <= keys(store)


def test_a_folder_without_marker_and_run_goes_but_not_what_is_no_part_of_a_backup(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, ORPHAN_NOTE)
    put(store, BACKUPS, "team/books/binlogs/insert_log/1")
    put(store, BACKUPS, "team/books/notes.txt")
    put(store, BACKUPS, "team/fresh/binlogs/insert_log/1", FRESH)
    swept, _ = sweep(store)
    assert keys(store) == {"backups:team/books/notes.txt", "backups:team/fresh/binlogs/insert_log/1"}
    assert swept.folders == ("s3://backups/team/books/",)


def test_a_backup_whose_marker_was_just_lost_is_noted_and_goes_after_the_grace(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, "team/books/binlogs/insert_log/1", ANCIENT)
    for _ in range(2):
        sweep(store)
        assert keys(store) == {"backups:team/books/binlogs/insert_log/1", f"backups:{ORPHAN_NOTE}"}
    put(store, BACKUPS, ORPHAN_NOTE)
    sweep(store)
    assert keys(store) == set()


def test_a_backup_whose_marker_came_back_is_not_noted_any_more(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, ORPHAN_NOTE)
    put(store, BACKUPS, "team/books/binlogs/insert_log/1")
    put(store, BACKUPS, "team/books/meta/backup_meta.json")
    sweep(store)
    assert keys(store) == {"backups:team/books/binlogs/insert_log/1", "backups:team/books/meta/backup_meta.json"}


def test_a_backup_that_begins_while_it_is_swept_keeps_its_objects(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, ORPHAN_NOTE)
    put(store, BACKUPS, "team/books/binlogs/insert_log/1")
    claim = "team/.runs/backup-books/claim.json"

    def begin(operation: str, _bucket: str, key: str) -> None:
        if operation == "put" and key == claim:
            store.before = lambda *_: None
            put_claim(store, BACKUPS, claim, "ran", "backup-books", NOW)

    store.before = begin
    sweep(store)
    assert "backups:team/books/binlogs/insert_log/1" in keys(store)


def test_staged_objects_of_another_stacks_running_restore_stay(store: InMemoryObjectStore) -> None:
    put(store, MILVUS, "staging/restore-theirs-1/1")
    put(store, MILVUS, "staging/restore-nobodys-1/1")
    put_claim(store, MILVUS, "staging/claims/1/default/theirs.json", "unknown", "restore-theirs-1")
    sweep(store)
    assert keys(store) == {"milvus:staging/restore-theirs-1/1", "milvus:staging/claims/1/default/theirs.json"}


def test_records_go_after_ninety_days(store: InMemoryObjectStore) -> None:
    for kind in RECORDS:
        put(store, BACKUPS, f"team/.runs/{kind}/old.json", ANCIENT)
        put(store, BACKUPS, f"team/.runs/{kind}/new.json", OLD)
    swept, _ = sweep(store)
    assert {key.rpartition("/")[2] for key in keys(store)} == {"new.json"}
    assert swept.record_count == len(RECORDS) == 4


def test_what_the_catalogue_keeps_of_backups_that_are_gone_goes(store: InMemoryObjectStore) -> None:
    put(store, BACKUPS, BackupLayout("team", "here").marker)
    for folder in ("holds", "verifications", "deleting"):
        for name in ("here", "gone"):
            put(store, BACKUPS, f"team/.catalogue/{folder}/{name}.json")
    swept, _ = sweep(store)
    assert {key for key in keys(store) if "gone" in key} == set()
    assert len([key for key in keys(store) if key.endswith("here.json")]) == 3
    assert swept.catalogue_count == 3


def test_unfinished_uploads_go_below_our_prefixes_and_when_they_are_old(store: InMemoryObjectStore) -> None:
    def uploads(*found: tuple[str, datetime]) -> list[UnfinishedUpload]:
        return [UnfinishedUpload(key, key, at) for key, at in found]

    store.uploads[BACKUPS] = uploads(("team/a", OLD), ("team/b", FRESH), ("teams/c", OLD), ("d", OLD))
    store.uploads[MILVUS] = uploads(("staging/a", OLD), ("files/insert_log/b", OLD), ("staging-2/c", OLD))
    swept, _ = sweep(store)
    assert [upload.key for upload in store.uploads[BACKUPS]] == ["team/b", "teams/c", "d"]
    assert [upload.key for upload in store.uploads[MILVUS]] == ["files/insert_log/b", "staging-2/c"]
    assert swept.upload_count == 2


@pytest.mark.parametrize("name", ["meta", "binlogs", "orders"])
def test_a_dataset_is_no_unfinished_backup_whatever_its_name(store: InMemoryObjectStore, name: str) -> None:
    put(store, BACKUPS, f"team/.datasets/{name}/shop.orders/part-000000.parquet")
    before = keys(store)
    assert sweep(store)[0] == Swept()
    assert keys(store) == before


def test_without_a_prefix_no_upload_is_ours(store: InMemoryObjectStore) -> None:
    store.uploads[BACKUPS] = [UnfinishedUpload("a", "a", OLD)]
    sweep(store, prefix="")
    assert len(store.uploads[BACKUPS]) == 1


def test_a_sweep_that_runs_out_of_time_says_so_and_the_next_goes_on(store: InMemoryObjectStore) -> None:
    for number in range(3):
        put_run(store, f"verify-{number}", "done")
    swept, is_all = sweep(store, seconds_left=1.0)
    assert (len(swept.runs), is_all) == (1, False)
    assert sweep(store)[1]
    assert keys(store) == set()


@pytest.mark.parametrize("operation", ["put", "get", "delete", "list_objects", "list_folders"])
def test_a_sweep_that_dies_at_any_request_is_completed_by_the_next(store: InMemoryObjectStore, operation: str) -> None:
    for step in range(100):
        put(store, BACKUPS, ORPHAN_NOTE)
        put_run(store, "backup-books", "dead")
        put(store, BACKUPS, "team/books/binlogs/insert_log/1")
        put_claim(store, MILVUS, "staging/claims/1/default/shop.json", "dead", "restore-shop-1")
        left = [step]

        def die(found: str, _bucket: str, _key: str, left: list[int] = left) -> None:
            if found == operation:
                left[0] -= 1
                if left[0] < 0:
                    msg = "no answer"
                    raise StorageUnavailableError(msg)

        store.before = die
        try:
            sweep(store)
        except StorageUnavailableError:
            store.before = lambda *_: None
        else:
            store.before = lambda *_: None
            break
        # Claims that the dead sweep had taken are fresh, and go with the next one after a week.
        for bucket in (BACKUPS, MILVUS):
            for key, found in list(store.buckets[bucket].items()):
                put(store, bucket, key, OLD, found.body)
        sweep(store)
        assert keys(store) == set()
    assert keys(store) == set()


EXPORT = export_elsewhere_run("archive", "exports", "books")
NOTE_OF_EXPORT = f"team/.catalogue/orphans/{EXPORT}.json"


def put_export(store: InMemoryObjectStore, arn: str = "dead", at: datetime = OLD, *, claimed_by: str = "") -> None:
    """Write what an export to another place leaves that was ended while it copied."""
    store.buckets["archive"] = {}
    put_run(store, EXPORT, arn, at)
    place = ExportDestination(place=Place(bucket="archive", prefix="exports"), backup_name="books")
    put(store, BACKUPS, f"team/.runs/{EXPORT}/destination.json", at, place.model_dump_json().encode())
    put_claim(store, "archive", "exports/.runs/backup-books/claim.json", claimed_by or arn, EXPORT, at)
    put(store, "archive", "exports/books/binlogs/insert_log/1/2/3/4/5", at)
    put(store, "archive", "exports/books/meta/vault/collections/1.json", at)
    put(store, "archive", "exports/shop/binlogs/insert_log/1/2/3/4/5", ANCIENT)


def there(store: InMemoryObjectStore) -> set[str]:
    """Return what is in the other place, without what is somebody else's."""
    return set(store.buckets["archive"]) - {"exports/shop/binlogs/insert_log/1/2/3/4/5"}


class TestExportsToAnotherPlace:
    def test_what_one_left_goes_with_its_claim_and_run_once_it_was_in_quarantine(
        self, store: InMemoryObjectStore
    ) -> None:
        put_export(store)
        upload = UnfinishedUpload(key="exports/books/binlogs/insert_log/1/2/3/4/6", upload_id="1", begun_at=OLD)
        store.uploads["archive"] = [upload]
        before = keys(store)
        noted, _ = sweep(store)
        assert (noted.runs, noted.quarantined) == ((), (EXPORT,))
        assert keys(store) - before == {f"{BACKUPS}:{NOTE_OF_EXPORT}"}
        assert keys(store) >= before
        put(store, BACKUPS, NOTE_OF_EXPORT, OLD)
        swept, is_all = sweep(store)
        assert keys(store) == {"archive:exports/shop/binlogs/insert_log/1/2/3/4/5"}
        assert store.uploads["archive"] == []
        # Its destination and another working file here, and two objects there.
        assert (swept.runs, swept.object_count, swept.upload_count, is_all) == ((EXPORT,), 4, 1, True)

    @pytest.mark.parametrize("arn", ["ran", "unknown"])
    def test_one_that_may_be_running_keeps_all(self, store: InMemoryObjectStore, arn: str) -> None:
        put_export(store, arn)
        before = keys(store)
        assert sweep(store)[0] == Swept()
        assert keys(store) == before

    def test_one_that_is_fresh_can_be_resumed(self, store: InMemoryObjectStore) -> None:
        put_export(store)
        put(store, "archive", "exports/books/binlogs/insert_log/1/2/3/4/5", FRESH)
        before = keys(store)
        assert sweep(store)[0] == Swept()
        assert keys(store) == before

    @pytest.mark.parametrize("claimed_by", ["unknown", "ran"])
    def test_what_another_deployment_makes_under_the_name_stays(
        self, store: InMemoryObjectStore, claimed_by: str
    ) -> None:
        put_export(store, claimed_by=claimed_by)
        before = there(store)
        assert sweep(store)[0].runs == (EXPORT,)
        assert there(store) == before

    def test_without_a_claim_nothing_there_is_known_to_be_of_the_export(self, store: InMemoryObjectStore) -> None:
        put_export(store)
        del store.buckets["archive"]["exports/.runs/backup-books/claim.json"]
        before = there(store)
        assert sweep(store)[0].runs == (EXPORT,)
        assert there(store) == before

    @pytest.mark.parametrize("part", ["meta/backup_meta.json", "meta/vault/manifest.json", "meta/full_meta.json"])
    def test_of_a_backup_nothing_goes_but_the_claim(self, store: InMemoryObjectStore, part: str) -> None:
        put_export(store)
        put(store, "archive", f"exports/books/{part}")
        before = there(store)
        assert sweep(store)[0].runs == (EXPORT,)
        assert before - there(store) == {"exports/.runs/backup-books/claim.json"}

    def test_one_that_is_published_while_it_is_swept_stays(self, store: InMemoryObjectStore) -> None:
        put_export(store)
        put(store, BACKUPS, NOTE_OF_EXPORT, OLD)

        def publish(operation: str, _bucket: str, key: str) -> None:
            if operation == "put" and key.endswith(f"{EXPORT}/claim.json"):
                store.before = lambda *_: None
                put(store, "archive", "exports/books/meta/backup_meta.json", FRESH)

        store.before = publish
        sweep(store)
        assert "exports/books/binlogs/insert_log/1/2/3/4/5" in there(store)

    @pytest.mark.parametrize("error", [StorageAccessDeniedError("denied"), BucketNotFoundError("no bucket")])
    def test_a_place_that_is_out_of_reach_holds_nothing_else_up(
        self, store: InMemoryObjectStore, error: VaultError
    ) -> None:
        put_export(store)
        put_run(store, "restore-books-1", "dead")

        def refuse(_operation: str, bucket: str, _key: str) -> None:
            if bucket == "archive":
                raise error

        store.before = refuse
        swept, is_all = sweep(store)
        assert (swept.runs, swept.left_elsewhere, is_all) == (
            ("restore-books-1",),
            (f"{EXPORT}: {error.message}",),
            True,
        )
        assert f"team/.runs/{EXPORT}/destination.json" in store.buckets[BACKUPS]

    def test_so_does_a_run_of_which_nobody_can_tell_where_it_wrote(self, store: InMemoryObjectStore) -> None:
        put_export(store)
        put(store, BACKUPS, f"team/.runs/{EXPORT}/destination.json", OLD, b"{")
        put_run(store, "restore-books-1", "dead")
        before = there(store)
        swept, is_all = sweep(store)
        assert (swept.runs, is_all, there(store)) == (("restore-books-1",), True, before)
        assert "destination.json" in swept.left_elsewhere[0]


NAMES = st.sampled_from(["a", "b"])
ARNS = st.sampled_from(sorted(STATUSES))
TIMES = st.sampled_from([OLD, FRESH, ANCIENT])


@given(
    runs=st.dictionaries(
        st.tuples(st.sampled_from(["backup-", "restore-", "verify-", "prune-", "other-"]), NAMES),
        st.tuples(ARNS, TIMES),
    ),
    parts=st.dictionaries(
        st.tuples(NAMES, st.sampled_from(["marker", "object", "note", "tombstone", "orphan"])), TIMES
    ),
    staged=st.dictionaries(NAMES, TIMES),
    claims=st.dictionaries(st.tuples(NAMES, NAMES), st.tuples(ARNS, TIMES)),
)
def test_whatever_there_is_the_sweep_keeps_to_its_rules(
    runs: Mapping[tuple[str, str], tuple[str, datetime]],
    parts: Mapping[tuple[str, str], datetime],
    staged: Mapping[str, datetime],
    claims: Mapping[tuple[str, str], tuple[str, datetime]],
) -> None:
    store = InMemoryObjectStore(BACKUPS, MILVUS)
    for (kind, name), (arn, at) in runs.items():
        put_run(store, f"{kind}{name}", arn, at)
    places = {"marker": "{}/meta/backup_meta.json", "object": "{}/binlogs/1", "note": "{}/note"}
    places |= {"tombstone": ".catalogue/deleting/{}.json", "orphan": ".catalogue/orphans/{}.json"}
    for (name, part), at in parts.items():
        put(store, BACKUPS, f"team/{places[part].format(name)}", at, tombstone(name) if part == "tombstone" else b"{}")
    for name, at in staged.items():
        put(store, MILVUS, f"staging/restore-{name}/1", at)
    for (name, target), (arn, at) in claims.items():
        put_claim(store, MILVUS, f"staging/claims/1/{name}/{target}.json", arn, f"restore-{name}", at)
    others = ["backups:elsewhere", "backups:teams/a/binlogs/1", "milvus:files/insert_log/1", "milvus:staging-2/x/1"]
    for other in others:
        bucket, _, key = other.partition(":")
        put(store, bucket, key, ANCIENT)
    before = keys(store)

    sweep(store)

    gone = before - keys(store)
    alive = {f"{kind}{name}" for (kind, name), (arn, _) in runs.items() if STATUSES[arn] in {"RUNNING", "UNKNOWN"}}
    published = {name for name, part in parts if part in {"marker", "tombstone"}}
    running = {f"restore-{name}" for (name, _), (arn, _) in claims.items() if STATUSES[arn] in {"RUNNING", "UNKNOWN"}}
    assert gone & set(others) == set()
    for key in gone:
        assert not any(f"/.runs/{run}/" in key or f"staging/{run}/" in key for run in alive), key
        assert not any(f"team/{name}/" in key for name in published), key
        assert not key.endswith("/note"), key
        assert "/other-" not in key, key
        if "staging/restore-" in key:
            # With a run of its own it goes by that one's claim, else by those of its targets.
            run = key.split("/")[1]
            assert run not in running or ("restore-", run[-1]) in runs, key
