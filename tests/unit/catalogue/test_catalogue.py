"""The catalogue lists with few requests, repairs itself, and never shows what is no backup."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionFailure, Manifest, Source
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.catalogue.entries import CatalogueKeys, EntryKey, read_token, write_token
from milvus_vault.claims import Claims
from milvus_vault.errors import (
    BackupHeldError,
    BackupInUseError,
    BackupNotFoundError,
    InvalidRequestError,
    StorageAccessDeniedError,
    StorageUnavailableError,
)
from milvus_vault.model.collections import CollectionName
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import BackupSummary, Drill, Hold, Verification
from milvus_vault.model.retention import Retention
from milvus_vault.model.schedules import DrillSuccess
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, golden_store, sample_contents, write_backup
from tests.unit.test_claims import FakeExecutions

START = datetime(2026, 11, 1, 3, tzinfo=UTC)
NIGHTLY = ScheduleTag(name="nightly", retention=Retention(keep_last=3))
FAILURE = CollectionFailure(
    name=CollectionName(database="default", name="broken"), error="CopyIncompleteError", message="gone"
)


@pytest.fixture
def store() -> InMemoryObjectStore:
    """An empty backup bucket."""
    return InMemoryObjectStore(BUCKET)


def catalogue(store: InMemoryObjectStore, now: datetime = START) -> Catalogue:
    """Return the catalogue at a time."""
    return Catalogue(store, BUCKET, PREFIX, clock=lambda: now)


def marker(name: str) -> str:
    """Return the key of a backup's marker."""
    return BackupLayout(PREFIX, name).marker


def add(store: InMemoryObjectStore, name: str, day: int = 0, **changes: Any) -> BackupSummary:
    """Write a backup without objects, begun some days after START, and its entry."""
    summary = summary_of(add_without_entry(store, name, day, **changes))
    catalogue(store).publish(summary)
    return summary


def add_without_entry(store: InMemoryObjectStore, name: str, day: int = 0, **changes: Any) -> Manifest:
    """Write a backup without objects, as PublishBackup leaves it when it dies after the marker."""
    started_at = START + timedelta(days=day)
    return write_backup(store, BackupLayout(PREFIX, name), [], started_at=started_at, **changes)


def add_many(store: InMemoryObjectStore, count: int) -> None:
    """Write markers and entries of many backups, an hour apart; those with a higher number are newer."""
    for number in range(count):
        name = f"backup_{number:04}"
        store.put(BUCKET, marker(name), b"{}")
        summary = BackupSummary(
            name=name,
            status="complete",
            created_at=START + timedelta(hours=number),
            finished_at=None,
            size_bytes=1,
            object_count=1,
            collection_count=1,
            row_count=1,
            milvus_version="v2.3.5",
            schedule="nightly" if number % 2 else None,
        )
        catalogue(store).publish(summary)


def names(store: InMemoryObjectStore, schedule: str | None = None) -> list[str]:
    """Return the names on the first page."""
    page = catalogue(store).list(100, None, schedule)
    return [item.name for item in page.items]


def test_the_newest_is_first_however_names_sort(store: InMemoryObjectStore) -> None:
    for name, day in (("b", 1), ("a", 3), ("c", 2)):
        add(store, name, day)
    assert names(store) == ["a", "c", "b"]


def test_an_entry_says_what_the_manifest_says(store: InMemoryObjectStore) -> None:
    expires_at = START + timedelta(days=30)
    add(store, "nightly_1", schedule=NIGHTLY, expires_at=expires_at, failures=(FAILURE,))
    (found,) = catalogue(store).list(1, None).items
    assert (found.status, found.schedule, found.expires_at, found.origin) == (
        "partial",
        "nightly",
        expires_at,
        "milvus-vault",
    )


def test_pages_join_to_the_whole_list_without_repeating(store: InMemoryObjectStore) -> None:
    add_many(store, 25)
    found, token = [], None
    while True:
        page = catalogue(store).list(10, token)
        found += [item.name for item in page.items]
        token = page.next_token
        if token is None:
            break
    assert found == [f"backup_{number:04}" for number in reversed(range(25))]


def test_a_page_goes_on_where_the_last_one_ended_though_backups_came_and_went(store: InMemoryObjectStore) -> None:
    add_many(store, 6)
    first = catalogue(store).list(3, None)
    add(store, "newer", day=30)
    store.delete(BUCKET, [marker("backup_0003"), marker("backup_0001")])
    second = catalogue(store).list(3, first.next_token)
    assert [item.name for item in second.items] == ["backup_0002", "backup_0000"]


def test_a_list_of_a_schedule_has_its_backups_only(store: InMemoryObjectStore) -> None:
    add_many(store, 6)
    assert names(store, schedule="nightly") == ["backup_0005", "backup_0003", "backup_0001"]
    assert names(store, schedule="weekly") == []


def test_a_page_of_a_thousand_backups_takes_seven_listings_and_a_read_for_each_of_the_page(
    store: InMemoryObjectStore,
) -> None:
    add_many(store, 1000)
    store.requests.clear()
    page = catalogue(store).list(20, None)
    assert len(page.items) == 20
    assert store.requests == {"list_objects": 6, "list_folders": 1, "get": 20}


def test_folders_of_running_backups_are_looked_into_once_and_on_the_first_page_only(store: InMemoryObjectStore) -> None:
    add_many(store, 4)
    for number in range(5):
        store.put(BUCKET, f"{BackupLayout(PREFIX, f'running_{number}').binlogs}insert_log/1/2/3/4/5", b".")
    token = catalogue(store).list(2, None).next_token
    store.requests.clear()
    assert names(store)[0] == "backup_0003"
    assert store.requests["get"] == 4 + 5
    store.requests.clear()
    catalogue(store).list(2, token)
    assert store.requests["get"] == 2


def test_a_backup_without_an_entry_is_taken_in_once(store: InMemoryObjectStore) -> None:
    add(store, "known", 2)
    add_without_entry(store, "forgotten", 1, schedule=NIGHTLY)
    assert names(store) == ["known", "forgotten"]
    store.requests.clear()
    assert names(store, schedule="nightly") == ["forgotten"]
    assert store.requests["get"] == 1


@pytest.mark.parametrize("name", ["golden_057", "golden_0516"])
def test_a_backup_of_another_tool_is_taken_in_with_its_sizes(name: str) -> None:
    store = golden_store(name)
    (found,) = catalogue(store).list(10, None).items
    assert (found.name, found.origin, found.status) == (name, "milvus-backup", "complete")
    written_at = store.buckets[BUCKET][marker(name)].modified_at
    assert found.created_at == (datetime.fromtimestamp(1795361685.704, UTC) if name == "golden_057" else written_at)
    detail = catalogue(store).get(name)
    stored = [key for key in store.buckets[BUCKET] if "/binlogs/" in key]
    assert detail.object_count == len(stored)
    assert detail.size_bytes == sum(len(store.buckets[BUCKET][key].body) for key in stored)
    assert detail.row_count == sum(collection.row_count for collection in detail.collections) > 0
    assert detail.model_dump(include=set(BackupSummary.model_fields)) == found.model_dump()
    assert detail.run is None


@pytest.mark.parametrize("prefix", [PREFIX, f"/{PREFIX}/"])
def test_backups_are_the_folders_with_a_marker_whoever_made_them(prefix: str) -> None:
    store = golden_store("golden_0516", "golden_rbac", "golden_meta")
    store.put(BUCKET, f"{PREFIX}/.runs/meta/backup_meta.json", b"{}")
    store.put(BUCKET, f"{PREFIX}-other/b/meta/backup_meta.json", b"{}")
    listed = Catalogue(store, BUCKET, prefix).list(20, None).items
    assert sorted(item.name for item in listed) == ["golden_0516", "golden_meta"]


def test_an_entry_whose_folder_is_gone_is_dropped(store: InMemoryObjectStore) -> None:
    add(store, "deleted")
    store.delete(BUCKET, [key for key in store.buckets[BUCKET] if f"{PREFIX}/deleted/" in key])
    assert names(store) == []
    assert [key for key in store.buckets[BUCKET] if "/.catalogue/" in key] == []


def test_of_two_entries_of_a_name_the_newer_counts(store: InMemoryObjectStore) -> None:
    add(store, "again", 1)
    newer = add(store, "again", 2)
    assert names(store) == ["again"]
    entries = [key for key in store.buckets[BUCKET] if "/.catalogue/backups/" in key]
    assert [key.rpartition("/")[2] for key in entries] == [f"{EntryKey.of(newer).stem}.json"]


def test_a_backup_that_is_being_deleted_is_not_listed_and_not_taken_in_again(store: InMemoryObjectStore) -> None:
    add(store, "with_entry", 1)
    add_without_entry(store, "without_entry", 2)
    for name in ("with_entry", "without_entry"):
        store.put(BUCKET, tombstone_key(PREFIX, name), b"{}")
    assert names(store) == []


def odd_marker(store: InMemoryObjectStore, body: bytes) -> None:
    """Write a folder of another tool's with such a marker."""
    layout = BackupLayout(PREFIX, "bad")
    store.put(BUCKET, layout.marker, body)
    store.put(BUCKET, layout.meta("full_meta.json"), b'{"milvus_version": "v2.3.5"}')


def marker_without_manifest(store: InMemoryObjectStore) -> None:
    """Damage the manifest of a backup without an entry."""
    add_without_entry(store, "bad")
    store.put(BUCKET, BackupLayout(PREFIX, "bad").manifest, b"{}")


def manifest_without_marker(store: InMemoryObjectStore) -> None:
    """Lose the marker of a backup without an entry."""
    add_without_entry(store, "bad")
    store.delete(BUCKET, [marker("bad")])


def archived_marker(store: InMemoryObjectStore) -> None:
    """Let somebody move a marker to Glacier."""
    add_without_entry(store, "bad")
    store.archived.add(marker("bad"))


ODD_FOLDERS: list[tuple[Callable[[InMemoryObjectStore], None], str]] = [
    (marker_without_manifest, "manifest.json has 2 bytes instead of"),
    (manifest_without_marker, "has lost its marker"),
    (archived_marker, "archived"),
    (lambda store: odd_marker(store, b'{"milvus_version": "v2.3.5", "start_time": 9000000000000000}'), "is no time"),
    (lambda store: odd_marker(store, b'{"milvus_version": "v2.3.5", "end_time": -90000000000000000}'), "is no time"),
    (lambda store: odd_marker(store, b'{"start_time": 100000000000000000000}'), "backup_meta.json"),
    (lambda store: odd_marker(store, b"[" * 100_000), "it nests too deeply"),
    (lambda store: odd_marker(store, b'{"vault": ' + b"[" * 100_000), "it nests too deeply"),
    (lambda store: odd_marker(store, b"\xff"), "it is not JSON"),
]


@pytest.mark.parametrize(("make", "reason"), ODD_FOLDERS)
def test_an_odd_folder_is_named_and_does_not_keep_the_others_from_being_listed(
    store: InMemoryObjectStore, make: Callable[[InMemoryObjectStore], None], reason: str
) -> None:
    add(store, "good")
    make(store)
    bad, good = catalogue(store).list(10, None).items
    assert (good.name, good.status, good.damage) == ("good", "complete", "")
    assert (bad.name, bad.status) == ("bad", "damaged")
    assert reason in bad.damage
    first = catalogue(store).list(1, None)
    assert first.items == (bad,)
    assert catalogue(store).list(1, first.next_token).items == (good,)


def verification(status: Literal["intact", "damaged"], *problems: str) -> Verification:
    """Return what a check found, after all backups here were made."""
    return Verification(
        verified_at=START + timedelta(days=9),
        status=status,
        run="verify-1",
        object_count=0,
        size_bytes=0,
        content_checked=True,
        problems=problems,
    )


def test_what_prunes_and_verifications_found_is_listed(store: InMemoryObjectStore) -> None:
    for number in range(4):
        add(store, f"nightly_{number}", number)
    damaged = verification("damaged", "a log is missing")
    keys = CatalogueKeys(PREFIX)
    store.put(BUCKET, keys.verification("nightly_1"), seal(damaged))
    store.put(BUCKET, keys.verification("nightly_2"), seal(damaged.model_copy(update={"status": "intact"})))
    catalogue(store).note_damages({"nightly_3": "its objects are gone"})
    assert {item.name: item.damage for item in catalogue(store).list(10, None).items} == {
        "nightly_0": "",
        "nightly_1": "its verification of 2026-11-10 03:00 UTC found it damaged: a log is missing",
        "nightly_2": "",
        "nightly_3": "its objects are gone",
    }


@pytest.mark.parametrize(("seconds", "is_of_it"), [(-1, False), (0, True), (1, True)])
def test_a_verification_that_is_older_than_the_backup_was_of_another_one(
    store: InMemoryObjectStore, seconds: int, *, is_of_it: bool
) -> None:
    found = verification("damaged", "a log is missing")
    store.put(BUCKET, CatalogueKeys(PREFIX).verification("nightly"), seal(found))
    backup = add(store, "nightly").model_copy(update={"finished_at": found.verified_at - timedelta(seconds=seconds)})
    assert bool(catalogue(store).found_damaged(backup)) is is_of_it


def drill(days: int, status: Literal["proven", "failed"], proven_days: int | None) -> Drill:
    """Return what a drill found that many days after START, and when one last proved the backup."""
    proven_at = None if proven_days is None else START + timedelta(days=proven_days)
    proven_count = 0 if proven_days is None else 2
    return Drill(
        drilled_at=START + timedelta(days=days),
        status=status,
        run="drill-1",
        proven_at=proven_at,
        proven_count=proven_count,
    )


def test_a_list_tells_when_a_backup_was_last_proven_and_the_backup_in_full_how(store: InMemoryObjectStore) -> None:
    found = {"proven": drill(9, "proven", 9), "failed": drill(9, "failed", 8), "never": drill(9, "failed", None)}
    for name in ("undrilled", *found):
        add(store, name)
    for name, one in found.items():
        catalogue(store).note_drill(name, one)

    listed = {item.name: (item.proven_at, item.proven_count) for item in catalogue(store).list(10, None).items}
    verdicts = {item.name: item.drill_status for item in catalogue(store).list(10, None).items}
    assert verdicts == {"undrilled": None, "proven": "proven", "failed": "failed", "never": "failed"}
    assert listed == {"undrilled": (None, 0)} | {name: (one.proven_at, one.proven_count) for name, one in found.items()}
    for name, one in found.items():
        told = catalogue(store).get(name)
        assert (told.drill, told.proven_at, told.proven_count) == (one, one.proven_at, one.proven_count)
        assert told.drill_status == one.status
    assert catalogue(store).get("undrilled").drill is None


def test_a_drill_of_an_older_backup_of_the_name_and_one_that_cannot_be_read_prove_nothing(
    store: InMemoryObjectStore,
) -> None:
    older, _ = (add(store, name) for name in ("older", "damaged"))
    assert older.finished_at is not None
    before = {"drilled_at": older.finished_at - timedelta(seconds=1)}
    catalogue(store).note_drill("older", drill(9, "proven", 9).model_copy(update=before))
    key = CatalogueKeys(PREFIX).drill("damaged")
    store.put(BUCKET, key, seal(drill(9, "proven", 9)).replace(b"proven", b"PROVEN"))
    assert {item.proven_at for item in catalogue(store).list(10, None).items} == {None}
    assert catalogue(store).get("older").drill is None


def test_what_a_drill_found_is_forgotten_with_its_backup(store: InMemoryObjectStore) -> None:
    catalogue(store).note_drill("gone", drill(1, "proven", 1))
    catalogue(store).forget_traces("gone")
    assert catalogue(store).drill_of("gone", None) is None


def test_what_was_told_stays_told_and_what_is_well_again_is_forgotten(store: InMemoryObjectStore) -> None:
    catalogue(store).note_damages({"a": "gone", "b": "gone"})
    (first, _) = catalogue(store).damages()
    catalogue(store).note_damage(first.model_copy(update={"told_at": START}))
    catalogue(store, START + timedelta(days=1)).note_damages({"a": "gone", "c": "gone"})
    assert [(note.name, note.found_at, note.told_at) for note in catalogue(store).damages()] == [
        ("a", START, START),
        ("c", START + timedelta(days=1), None),
    ]


def test_an_entry_that_cannot_be_read_is_made_anew(store: InMemoryObjectStore) -> None:
    summary = add(store, "nightly_1")
    key = next(key for key in store.buckets[BUCKET] if "/.catalogue/backups/" in key)
    store.put(BUCKET, key, b'{"from": "the future"}')
    assert catalogue(store).list(1, None).items == (summary,)


def test_a_store_that_does_not_answer_is_not_taken_for_an_empty_list(store: InMemoryObjectStore) -> None:
    add(store, "good")

    def fail(operation: str, _bucket: str, _key: str) -> None:
        if operation == "get":
            msg = "no answer"
            raise StorageUnavailableError(msg)

    store.before = fail
    with pytest.raises(StorageUnavailableError):
        names(store)


@pytest.mark.parametrize("token", ["", "x", "bm90IGFuIGVudHJ5", "ü", "////", "a" * 5000])
def test_a_text_that_is_no_token_is_refused(store: InMemoryObjectStore, token: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not one of this list"):
        catalogue(store).list(1, token)


def test_a_token_is_safe_in_an_address_and_comes_back() -> None:
    entry = EntryKey("8237654321.odd ? name/ü.nightly")
    token = write_token(entry)
    assert token.replace("-", "").replace("_", "").isalnum()
    assert read_token(token) == entry
    assert (entry.name, entry.schedule) == ("odd ? name/ü", "nightly")


def test_detail_names_collections_failures_run_and_policy(store: InMemoryObjectStore) -> None:
    layout = BackupLayout(PREFIX, "nightly_1")
    write_backup(store, layout, sample_contents(layout), failures=(FAILURE,), schedule=NIGHTLY)
    found = catalogue(store).get("nightly_1")
    assert [(c.database, c.name, c.row_count, c.live_row_count) for c in found.collections] == [
        ("books", "works", 105, 97),
        ("default", "empty", 0, None),
    ]
    assert [failure.error for failure in found.failures] == ["CopyIncompleteError"]
    assert (found.location, found.source) == (f"s3://{BUCKET}/{layout.root}", "s3://milvus/files")
    assert (found.run, found.retention) == ("backup-run-1", NIGHTLY.retention)
    assert (found.hold, found.verification, found.report_url) == (None, None, None)


def test_detail_has_the_last_verification(store: InMemoryObjectStore) -> None:
    add(store, "nightly_1")
    found = verification("intact")
    store.put(BUCKET, f"{PREFIX}/.catalogue/verifications/nightly_1.json", seal(found))
    assert catalogue(store).get("nightly_1").verification == found


@pytest.mark.parametrize("name", ["nothing", ".runs", ".catalogue", "", "a/b"])
def test_what_is_no_backup_is_not_found(store: InMemoryObjectStore, name: str) -> None:
    add(store, "nightly_1")
    with pytest.raises(BackupNotFoundError):
        catalogue(store).get(name)
    with pytest.raises(BackupNotFoundError):
        catalogue(store).place_hold(name, Hold(), "me")
    with pytest.raises(BackupNotFoundError):
        catalogue(store).lift_hold(name)


def test_a_hold_is_kept_shown_and_lifted(store: InMemoryObjectStore) -> None:
    add(store, "nightly_1", 1)
    add(store, "nightly_2", 2)
    placed = catalogue(store).place_hold("nightly_1", Hold(reason="audit"), "arn:aws:iam::1:user/ann")
    assert (placed.reason, placed.by, placed.since, placed.until) == ("audit", "arn:aws:iam::1:user/ann", START, None)
    assert catalogue(store).hold("nightly_1") == placed == catalogue(store).get("nightly_1").hold
    assert [item.is_held for item in catalogue(store).list(10, None).items] == [False, True]
    catalogue(store).lift_hold("nightly_1")
    catalogue(store).lift_hold("nightly_1")
    assert catalogue(store).hold("nightly_1") is None


def test_a_hold_ends_by_itself(store: InMemoryObjectStore) -> None:
    add(store, "nightly_1")
    until = START + timedelta(days=1)
    catalogue(store).place_hold("nightly_1", Hold(until=until), "me")
    assert catalogue(store, until - timedelta(seconds=1)).get("nightly_1").is_held
    assert not catalogue(store, until).get("nightly_1").is_held
    assert [item.is_held for item in catalogue(store, until).list(10, None).items] == [False]


@pytest.mark.parametrize("ended_before", [timedelta(0), timedelta(days=400)])
def test_a_hold_that_has_ended_already_is_refused_and_leaves_an_older_one(
    store: InMemoryObjectStore, ended_before: timedelta
) -> None:
    add(store, "nightly_1")
    older = catalogue(store).place_hold("nightly_1", Hold(reason="audit"), "me")
    until = (START - ended_before).astimezone(timezone(timedelta(hours=5)))
    with pytest.raises(InvalidRequestError, match=f"nightly_1.*{START - ended_before:%Y-%m-%d %H:%M:%S} UTC has ended"):
        catalogue(store).place_hold("nightly_1", Hold(until=until), "me")
    assert catalogue(store).hold("nightly_1") == older


def test_a_hold_that_meets_a_deletion_is_refused_and_leaves_nothing(store: InMemoryObjectStore) -> None:
    add(store, "nightly_1")

    def delete_meanwhile(operation: str, _bucket: str, key: str) -> None:
        if operation == "put" and "/holds/" in key:
            store.before = lambda *_: None
            store.put(BUCKET, tombstone_key(PREFIX, "nightly_1"), b"{}")

    store.before = delete_meanwhile
    with pytest.raises(BackupNotFoundError, match="being deleted"):
        catalogue(store).place_hold("nightly_1", Hold(), "me")
    assert catalogue(store).hold("nightly_1") is None


def test_a_hold_that_meets_a_deletion_leaves_the_one_that_it_was_to_replace(store: InMemoryObjectStore) -> None:
    """The prune withdraws for the older one, or has died at its tombstone: the next one must find a hold as well."""
    add(store, "nightly_1")
    older = catalogue(store).place_hold("nightly_1", Hold(reason="audit"), "me")
    store.put(BUCKET, tombstone_key(PREFIX, "nightly_1"), b"{}")
    with pytest.raises(BackupNotFoundError, match="being deleted"):
        catalogue(store).place_hold("nightly_1", Hold(reason="another audit"), "me")
    assert catalogue(store).hold("nightly_1") == older


def test_a_hold_that_comes_when_the_deletion_is_through_is_refused(store: InMemoryObjectStore) -> None:
    add(store, "nightly_1")

    def delete_meanwhile(operation: str, _bucket: str, key: str) -> None:
        if operation == "put" and "/holds/" in key:
            store.before = lambda *_: None
            store.delete(BUCKET, [key for key in store.buckets[BUCKET] if "nightly_1" in key])

    store.before = delete_meanwhile
    with pytest.raises(BackupNotFoundError, match="nightly_1"):
        catalogue(store).place_hold("nightly_1", Hold(), "me")
    assert catalogue(store).hold("nightly_1") is None


def newest(store: InMemoryObjectStore, *schedules: str) -> dict[str, str]:
    """Return the name of the newest success of each schedule."""
    return {name: found.name for name, found in catalogue(store).newest_complete(schedules).items()}


def test_the_last_success_is_the_newest_complete_backup_of_the_schedule(store: InMemoryObjectStore) -> None:
    add(store, "old", 1, schedule=NIGHTLY)
    add(store, "good", 2, schedule=NIGHTLY)
    add(store, "partial", 3, schedule=NIGHTLY, failures=(FAILURE,))
    add(store, "by_hand", 4)
    store.requests.clear()
    assert newest(store, "nightly") == {"nightly": "good"}
    assert store.requests == {"list_objects": 2, "get": 3}
    assert newest(store, "weekly") == newest(store) == {}


def test_one_look_tells_the_successes_of_all_schedules(store: InMemoryObjectStore) -> None:
    schedules = [f"s{number}" for number in range(10)]
    for day in range(3):
        for name in schedules:
            add(store, f"{name}_{day}", day, schedule=ScheduleTag(name=name))
    store.requests.clear()
    assert newest(store, *schedules, "never") == {name: f"{name}_2" for name in schedules}
    # An entry of each, and whether a verification found it damaged.
    assert store.requests == {"list_objects": 2, "get": 2 * len(schedules)}


def test_a_damaged_backup_is_no_success(store: InMemoryObjectStore) -> None:
    for name, day in (("good", 1), ("noted", 2), ("verified", 3)):
        add(store, name, day, schedule=NIGHTLY)
    catalogue(store).note_damages({"noted": "its objects are gone"})
    store.put(BUCKET, CatalogueKeys(PREFIX).verification("verified"), seal(verification("damaged")))
    assert newest(store, "nightly") == {"nightly": "good"}


def test_the_newest_drill_of_a_schedule_that_succeeded_is_known_whatever_comes_of_its_backup(
    store: InMemoryObjectStore,
) -> None:
    def drill(day: int, schedule: str = "tried") -> DrillSuccess:
        begun = START + timedelta(days=day)
        return DrillSuccess(schedule=schedule, run=f"drill-{day}", begun_at=begun, ended_at=begun)

    for day in (1, 3, 2):
        catalogue(store).note_drill_success(drill(day))
    catalogue(store).note_drill_success(drill(1, "other"))
    assert catalogue(store).drill_successes({"tried", "never"}) == {"tried": drill(3)}
    store.put(BUCKET, CatalogueKeys(PREFIX).drilled("tried"), b"{")
    store.put(BUCKET, CatalogueKeys(PREFIX).drilled("copy"), store.get(BUCKET, CatalogueKeys(PREFIX).drilled("other")))
    assert catalogue(store).drill_successes({"tried", "copy"}) == {}
    # What cannot be read is replaced.
    catalogue(store).note_drill_success(drill(4))
    assert catalogue(store).drill_successes({"tried"}) == {"tried": drill(4)}


@pytest.mark.parametrize("kind", ["restore", "drill"])
@pytest.mark.parametrize(("status", "is_used"), [("RUNNING", True), ("UNKNOWN", True), ("SUCCEEDED", False)])
def test_a_backup_is_in_use_while_it_is_restored_or_drilled(
    store: InMemoryObjectStore, kind: str, status: str, *, is_used: bool
) -> None:
    executions = FakeExecutions(arn=status)
    for run in (f"{kind}-nightly-0123456789ab", "restore-nightly_1-0123456789ab", "backup-nightly"):
        key = f"{PREFIX}/.runs/{run}/claim.json"
        Claims(store, executions, BUCKET, execution_arn="arn", run=run).take(key)
    with (
        pytest.raises(BackupInUseError, match="'nightly' is being read by execution arn") if is_used else nullcontext()
    ):
        catalogue(store).check_deletable("nightly", executions)
    catalogue(store).check_deletable("night", executions)
    assert executions.asked == ["arn"]


@pytest.mark.parametrize(
    ("hold", "text"),
    [
        (Hold(reason="audit"), "until somebody lifts it: audit"),
        (Hold(until=datetime(2027, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))), "until 2027-01-31 10:00:00 UTC"),
    ],
)
def test_a_backup_with_a_hold_is_not_to_be_deleted(store: InMemoryObjectStore, hold: Hold, text: str) -> None:
    add(store, "nightly", 1)
    catalogue(store).place_hold("nightly", hold, "somebody")
    with pytest.raises(BackupHeldError, match=f"'nightly' has a hold {text}"):
        catalogue(store).check_deletable("nightly", FakeExecutions())


def test_folders_are_listed_and_held_under_the_names_that_somebody_gave_them(store: InMemoryObjectStore) -> None:
    for day, name in enumerate(("before-upgrade", "daily 2026", "2026_11_28", "v2.6.19 (old)")):
        add_without_entry(store, name, day)
        assert catalogue(store).place_hold(name, Hold(), "me").by == "me"
        assert catalogue(store).get(name).name == name
    listed = catalogue(store).list(10, None).items
    assert [(item.name, item.status, item.is_held) for item in listed] == [
        ("v2.6.19 (old)", "complete", True),
        ("2026_11_28", "complete", True),
        ("daily 2026", "complete", True),
        ("before-upgrade", "complete", True),
    ]


@pytest.mark.parametrize("name", ["täglich", ".old", "100%", "a" * 129, "a\tb"])
def test_a_folder_that_no_request_can_name_is_listed_with_what_to_do(store: InMemoryObjectStore, name: str) -> None:
    add_without_entry(store, name)
    # As an older release took it in.
    catalogue(store).publish(summary_of(add_without_entry(store, name)))
    (item,) = catalogue(store).list(10, None).items
    assert (item.name, item.status) == (name, "damaged")
    assert "has to be copied to one with such a name" in item.damage
    store.delete(BUCKET, [key for key in store.buckets[BUCKET] if f"/{name}/" in key])
    store.put(BUCKET, BackupLayout(PREFIX, name).binlogs + "insert_log/1", b"")
    assert catalogue(store).list(10, None).items == ()


class TestIncremental:
    """Which backups are the bases of another one."""

    HERE = "s3://milvus/files"

    def test_the_newest_are_found_and_nothing_is_written(self, store: InMemoryObjectStore) -> None:
        add(store, "a", 1, mode="incremental")
        add(store, "b", 2)
        add(store, "c", 3, mode="incremental")
        unreadable = EntryKey.of(add(store, "d", 4, mode="incremental"))
        store.put(BUCKET, CatalogueKeys(PREFIX).entry(unreadable), b"{}")
        store.requests.clear()

        assert catalogue(store).incremental(self.HERE, None) == ["c", "a"]

        assert store.requests == {"list_objects": 1, "get": 4}

    def test_one_schedule_alone_has_its_three_newest(self, store: InMemoryObjectStore) -> None:
        for day, name in enumerate("abcd", start=1):
            add(store, name, day, schedule=NIGHTLY, mode="incremental")

        assert catalogue(store).incremental(self.HERE, "nightly") == ["d", "c", "b"]

    def test_others_that_are_made_more_often_push_out_no_schedules_newest(self, store: InMemoryObjectStore) -> None:
        add(store, "old", 1, schedule=NIGHTLY, mode="incremental")
        add(store, "own", 2, schedule=NIGHTLY, mode="incremental")
        others = [ScheduleTag(name=name) for name in ("x", "y", "z")]
        for day in range(3, 27):
            add(store, f"b{day:02}", day, schedule=others[day % 3], mode="incremental")
            add_without_entry(store, f"by_hand{day}", day)

        assert catalogue(store).incremental(self.HERE, "nightly") == ["b26", "b25", "own"]
        assert catalogue(store).incremental(self.HERE, "z") == ["b26", "b25", "b24"]

    def test_they_are_of_the_same_milvus_or_of_a_release_that_did_not_note_it(self, store: InMemoryObjectStore) -> None:
        add(store, "own", 1, schedule=NIGHTLY, mode="incremental")
        earlier = add(store, "earlier", 2, schedule=NIGHTLY, mode="incremental")
        catalogue(store).publish(earlier.model_copy(update={"source": ""}))
        for day in range(3, 8):
            elsewhere = Source(milvus_version="v2.5.20", bucket="milvus", root_path=f"files{day}")
            add(store, f"other{day}", day, schedule=NIGHTLY, mode="incremental", source=elsewhere)

        assert catalogue(store).incremental(self.HERE, "nightly") == ["earlier", "own"]


class TestEarlier:
    """What a backup is compared with."""

    @pytest.fixture
    def made(self, store: InMemoryObjectStore) -> Manifest:
        """An incremental backup of `nightly`, after four backups of which two have a readable entry of it."""
        add(store, "a", 1, schedule=NIGHTLY)
        add(store, "b", 2, schedule=NIGHTLY, mode="incremental")
        add(store, "by_hand", 3)
        unreadable = EntryKey.of(add(store, "c", 4, schedule=NIGHTLY))
        store.put(BUCKET, CatalogueKeys(PREFIX).entry(unreadable), b"{}")
        return add_without_entry(store, "d", 5, schedule=NIGHTLY, mode="incremental")

    def test_the_newest_of_the_schedule_are_found_with_few_requests(
        self, store: InMemoryObjectStore, made: Manifest
    ) -> None:
        store.requests.clear()
        assert [item.name for item in catalogue(store).earlier(made, 30)] == ["b", "a"]
        assert store.requests == {"list_objects": 1, "get": 3}
        assert [item.name for item in catalogue(store).earlier(made, 2)] == ["b"]

    @pytest.mark.parametrize("change", [{"schedule": None}, {"mode": "full"}])
    def test_nothing_is_read_for_others(
        self, store: InMemoryObjectStore, made: Manifest, change: dict[str, object]
    ) -> None:
        store.requests.clear()
        assert not catalogue(store).earlier(made.model_copy(update=change), 30)
        assert not store.requests

    @pytest.mark.parametrize("operation", ["list_objects", "get"])
    def test_no_backup_fails_where_they_cannot_be_read(
        self, store: InMemoryObjectStore, made: Manifest, operation: str
    ) -> None:
        def refuse(asked: str, *_: str) -> None:
            if asked == operation:
                raise StorageAccessDeniedError("no", hint="")

        store.before = refuse
        assert catalogue(store).earlier(made, 30) == ()
