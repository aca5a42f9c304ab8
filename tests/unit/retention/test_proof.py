"""Nothing is deleted on the word of something unproved: damage stands in for nothing, entries decide nothing."""

import re
from collections.abc import Callable
from datetime import UTC, timedelta
from itertools import count

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.pool import PooledKey, PoolLayout
from milvus_vault.archive.sealing import is_sealed, seal, unseal
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.catalogue.entries import CatalogueKeys, EntryKey
from milvus_vault.model.resources import Hold, Verification
from milvus_vault.pool.doubts import Doubt, PoolDoubts
from milvus_vault.retention.working_files import PrunePlan
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup
from tests.unit.retention.test_prune import NIGHTLY, NOW, add, pruner

KEYS = CatalogueKeys(PREFIX)
NEWER, OLDER = "night_1", "night_2"
GROUP = "0123456789ab-11"


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with two backups of which the policy keeps one."""
    store = InMemoryObjectStore(BUCKET)
    add(store, OLDER, 2)
    add(store, NEWER, 1)
    return store


def decisions(plan: PrunePlan) -> dict[str, str]:
    """Return the reasons by name."""
    return {decision.name: decision.reason for decision in plan.decisions}


def doomed(store: InMemoryObjectStore, arn: str = "prune") -> list[str]:
    """Return what a prune would delete."""
    return [deletion.name for deletion in pruner(store, arn).plan().deletions]


def verified(store: InMemoryObjectStore, name: str, **changes: object) -> None:
    """Write down that a backup was found damaged, now, or something else."""
    found = Verification(
        verified_at=NOW,
        status="damaged",
        run="verify-1",
        object_count=1,
        size_bytes=1,
        content_checked=True,
        problems=("books.works: a log is missing",),
    )
    store.put(BUCKET, KEYS.verification(name), seal(found.model_copy(update=changes)))


def flip(store: InMemoryObjectStore, key: str, bit: int | None = None) -> None:
    """Flip one bit of an object, in its middle if nothing is said."""
    body = bytearray(store.get(BUCKET, key))
    bit = 4 * len(body) if bit is None else bit
    body[bit // 8] ^= 1 << bit % 8
    store.put(BUCKET, key, bytes(body))


def lose_marker(store: InMemoryObjectStore) -> None:
    """Delete the newer backup's marker."""
    store.delete(BUCKET, [BackupLayout(PREFIX, NEWER).marker])


def flip_marker(store: InMemoryObjectStore) -> None:
    """Damage the newer backup's marker."""
    flip(store, BackupLayout(PREFIX, NEWER).marker)


def flip_manifest(store: InMemoryObjectStore) -> None:
    """Damage the newer backup's manifest."""
    flip(store, BackupLayout(PREFIX, NEWER).manifest)


def lose_objects(store: InMemoryObjectStore) -> None:
    """Delete all objects of the newer backup."""
    binlogs = BackupLayout(PREFIX, NEWER).binlogs
    store.delete(BUCKET, [key for key in store.buckets[BUCKET] if key.startswith(binlogs)])


def find_damaged(store: InMemoryObjectStore) -> None:
    """Let a verification find the newer backup damaged."""
    verified(store, NEWER)


def verify_unreadably(store: InMemoryObjectStore) -> None:
    """Let the newer backup have a verification of which a bit is flipped: nobody knows what it said."""
    verified(store, NEWER, status="intact", problems=())
    flip(store, KEYS.verification(NEWER))


@pytest.mark.parametrize(
    "damage", [lose_marker, flip_marker, flip_manifest, lose_objects, find_damaged, verify_unreadably]
)
def test_a_backup_that_could_not_be_restored_drives_no_good_one_out(
    store: InMemoryObjectStore, damage: Callable[[InMemoryObjectStore], None]
) -> None:
    damage(store)
    plan = pruner(store).plan()
    assert plan.deletions == ()
    assert decisions(plan)[OLDER] == "kept: the newest complete one of its schedule"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        # The flipped bit is in the digest that the marker has of it.
        (flip_marker, "kept: .*manifest.json has another content than was written.*"),
        (flip_manifest, "kept: .*manifest.json has another content than was written.*"),
        (lose_objects, "kept: .*it takes no place: none of its [0-9]+ objects is there"),
        (find_damaged, "kept: .*it takes no place: its verification of .* found it damaged: books.works: .*"),
    ],
)
def test_the_damaged_one_stays_too_and_the_plan_says_what_is_wrong(
    store: InMemoryObjectStore, damage: Callable[[InMemoryObjectStore], None], reason: str
) -> None:
    damage(store)
    assert re.fullmatch(reason, decisions(pruner(store).plan())[NEWER])


def share_what_was_found_damaged(store: InMemoryObjectStore) -> str:
    """Make the newer backup one that lists an object which was found damaged before it was published."""
    layout = BackupLayout(PREFIX, NEWER)
    number = count()
    pooled = [
        (
            document,
            [
                item._replace(stored_key=PoolLayout(PREFIX).key(PooledKey(GROUP, next(number), "0" * 32, "1a2b3c4d")))
                for item in objects
            ],
        )
        for document, objects in sample_contents(layout)
    ]
    manifest = write_backup(
        store, layout, pooled, started_at=NOW - timedelta(days=1), finished_at=NOW, schedule=NIGHTLY, mode="incremental"
    )
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
    key = pooled[0][1][0].stored_key
    found_at = NOW - timedelta(hours=1)
    doubt = Doubt(problem=f"{key} is damaged", found_at=found_at, found_by="first", listed_by=("first",))
    PoolDoubts(store, BUCKET, PREFIX).change({key: doubt}, {})
    return key


def test_one_that_lists_what_was_found_damaged_while_it_was_made_drives_no_good_one_out(
    store: InMemoryObjectStore,
) -> None:
    key = share_what_was_found_damaged(store)
    catalogue = Catalogue(store, BUCKET, PREFIX)
    assert {item.name: item.damage for item in catalogue.list(10, None).items} == {NEWER: "", OLDER: ""}

    plan = pruner(store).plan()

    assert plan.deletions == ()
    assert decisions(plan)[OLDER] == "kept: the newest complete one of its schedule"
    assert f"it takes no place: {key} is damaged (found by the deep verification of" in decisions(plan)[NEWER]
    # From then on it is told everywhere, until a prune finds it settled.
    assert [line for line in plan.damaged if key in line]
    assert key in catalogue.get(NEWER).damage
    doubts = PoolDoubts(store, BUCKET, PREFIX)
    doubts.change({}, doubts.read())
    assert doomed(store, "later") == [OLDER]
    assert catalogue.get(NEWER).damage == ""


def test_where_nobody_can_tell_what_was_found_damaged_no_good_one_goes(store: InMemoryObjectStore) -> None:
    share_what_was_found_damaged(store)
    flip(store, f"{PREFIX}/.catalogue/verifications/.pool/{GROUP}.json")
    plan = pruner(store).plan()
    assert plan.deletions == ()
    assert f"{GROUP}.json, which says which objects of the pool are damaged, cannot be read" in decisions(plan)[NEWER]


def test_a_verification_of_an_older_backup_of_the_name_is_not_of_this_one(store: InMemoryObjectStore) -> None:
    manifest = write_backup(
        store,
        BackupLayout(PREFIX, NEWER),
        sample_contents(BackupLayout(PREFIX, NEWER)),
        started_at=NOW - timedelta(days=1),
        finished_at=NOW,
        schedule=NIGHTLY,
    )
    verified(store, NEWER, verified_at=manifest.started_at)
    assert doomed(store) == [OLDER]
    verified(store, NEWER, verified_at=NOW + timedelta(seconds=1))
    assert doomed(store, "later") == []


@pytest.mark.parametrize("meta_only", [True, False])
def test_a_backup_without_rows_drives_none_with_rows_out(store: InMemoryObjectStore, *, meta_only: bool) -> None:
    layout = BackupLayout(PREFIX, "empty")
    contents = sample_contents(layout)
    if not meta_only:
        contents = contents[1:]
    manifest = write_backup(store, layout, contents, started_at=NOW, schedule=NIGHTLY, meta_only=meta_only)
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
    plan = pruner(store).plan()
    assert [deletion.name for deletion in plan.deletions] == [OLDER]
    assert "takes no place: it holds no rows, and others of its schedule do" in decisions(plan)["empty"]
    assert decisions(plan)[NEWER] == "kept: the newest complete one of its schedule"


def test_backups_without_rows_of_a_schedule_that_makes_no_others_count() -> None:
    store = InMemoryObjectStore(BUCKET)
    for age in (1, 2):
        layout = BackupLayout(PREFIX, f"schemas_{age}")
        started_at = NOW - timedelta(days=age)
        write_backup(store, layout, [], started_at=started_at, schedule=NIGHTLY, meta_only=True)
    assert doomed(store) == ["schemas_2"]


def test_a_backup_that_was_begun_in_the_future_takes_no_place(store: InMemoryObjectStore) -> None:
    add(store, "tomorrow", -3)
    plan = pruner(store).plan()
    assert [deletion.name for deletion in plan.deletions] == [OLDER]
    assert "2026-11-25 12:00 UTC, which is to come" in decisions(plan)["tomorrow"]


def test_a_copy_under_another_name_takes_no_place_and_stays(store: InMemoryObjectStore) -> None:
    for key in [key for key in store.buckets[BUCKET] if key.startswith(BackupLayout(PREFIX, NEWER).root)]:
        store.put(BUCKET, key.replace(NEWER, "copied"), store.get(BUCKET, key))
    lose_marker(store)
    plan = pruner(store).plan()
    assert plan.deletions == ()
    assert decisions(plan)["copied"].endswith("copied it, as a whole or in part, from backup 'night_1'")
    assert "copied" in [item.name for item in Catalogue(store, BUCKET, PREFIX).list(10, None).items]


def entry_of(store: InMemoryObjectStore, name: str) -> str:
    """Return the key of a backup's entry."""
    return next(key for key in store.buckets[BUCKET] if key.startswith(KEYS.entries) and f".{name}." in key)


@pytest.fixture
def expiring() -> InMemoryObjectStore:
    """A bucket with one backup, which expires in 30 days."""
    store = InMemoryObjectStore(BUCKET)
    layout = BackupLayout(PREFIX, "base")
    expires_at = NOW + timedelta(days=30)
    manifest = write_backup(store, layout, sample_contents(layout), started_at=NOW, expires_at=expires_at)
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
    return store


def test_no_flipped_bit_of_an_entry_deletes_renames_or_changes_a_backup(expiring: InMemoryObjectStore) -> None:
    key = entry_of(expiring, "base")
    body = expiring.get(BUCKET, key)
    catalogue = Catalogue(expiring, BUCKET, PREFIX)
    (expected,) = catalogue.list(1, None).items
    for bit in range(0, 8 * len(body), 7):
        flip(expiring, key, bit)
        assert doomed(expiring, f"prune{bit}") == []
        expiring.delete(BUCKET, [name for name in expiring.buckets[BUCKET] if "/.runs/prune-" in name])
        assert catalogue.list(1, None).items == (expected,)
        # It was made anew.
        assert expiring.get(BUCKET, key) == body


def test_an_entry_that_says_that_its_backup_has_expired_is_not_believed(expiring: InMemoryObjectStore) -> None:
    catalogue = Catalogue(expiring, BUCKET, PREFIX)
    (summary,) = catalogue.list(1, None).items
    # Sealed as if the product had written it.
    catalogue.publish(summary.model_copy(update={"expires_at": NOW - timedelta(days=900)}))
    assert doomed(expiring) == []


def test_an_entry_under_another_key_is_moved_to_its_own(expiring: InMemoryObjectStore) -> None:
    key = entry_of(expiring, "base")
    body = expiring.get(BUCKET, key)
    expiring.delete(BUCKET, [key])
    wrong = KEYS.entry(EntryKey("0000000000.base.nightly"))
    expiring.put(BUCKET, wrong, body)
    (found,) = Catalogue(expiring, BUCKET, PREFIX).list(1, None).items
    assert (found.name, found.schedule, found.created_at) == ("base", None, NOW)
    assert key in expiring.buckets[BUCKET]
    assert wrong not in expiring.buckets[BUCKET]


def test_no_flipped_bit_of_a_hold_lifts_it(store: InMemoryObjectStore) -> None:
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)
    catalogue.place_hold(OLDER, Hold(reason="audit", until=NOW + timedelta(days=400)), "me")
    key = KEYS.hold(OLDER)
    body = store.get(BUCKET, key)
    for bit in range(8 * len(body)):
        flip(store, key, bit)
        assert catalogue.hold(OLDER) is not None
        store.put(BUCKET, key, body)
    assert doomed(store) == []


def test_a_hold_whose_file_cannot_be_read_holds_until_it_is_lifted(store: InMemoryObjectStore) -> None:
    store.put(BUCKET, KEYS.hold(OLDER), b"{")
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)
    held = catalogue.hold(OLDER)
    assert held is not None
    assert held.reason == "the file of the hold cannot be read"
    assert doomed(store) == []
    catalogue.lift_hold(OLDER)
    assert doomed(store, "later") == [OLDER]


def test_the_hold_of_an_older_release_is_read(store: InMemoryObjectStore) -> None:
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)
    placed = catalogue.place_hold(OLDER, Hold(reason="audit"), "me")
    store.put(BUCKET, KEYS.hold(OLDER), placed.model_dump_json().encode())
    assert catalogue.hold(OLDER) == placed


def test_a_seal_comes_off_only_where_nothing_was_changed() -> None:
    hold = Hold(reason="a\nb", until=NOW.astimezone(UTC))
    body = seal(hold)
    assert is_sealed(body)
    assert unseal(body) == hold.model_dump_json().encode()
    for wrong in (body[:-1], body + b"\n", body.replace(b"a", b"c", 1)):
        with pytest.raises(ValueError, match="not the one that was written"):
            unseal(wrong)


@pytest.mark.parametrize("damage", [lose_marker, flip_marker, lose_objects, find_damaged])
def test_what_stands_in_for_a_backup_is_proven_right_before_that_is_deleted(
    store: InMemoryObjectStore, damage: Callable[[InMemoryObjectStore], None]
) -> None:
    prune = pruner(store)
    plan = prune.plan()
    assert [(deletion.name, deletion.guards) for deletion in plan.deletions] == [(OLDER, (NEWER,))]
    damage(store)
    before = {key: item.body for key, item in store.buckets[BUCKET].items() if f"/{OLDER}/" in key}
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupDamagedError")
    assert before.items() <= {key: item.body for key, item in store.buckets[BUCKET].items()}.items()
    assert tombstone_key(PREFIX, OLDER) not in store.buckets[BUCKET]


def test_a_backup_whose_manifest_was_damaged_since_the_plan_stays(store: InMemoryObjectStore) -> None:
    prune = pruner(store)
    prune.plan()
    flip(store, BackupLayout(PREFIX, OLDER).manifest)
    assert prune.delete()
    assert prune.outcome() == ("skipped", "BackupDamagedError")


def test_a_tombstone_beside_a_marker_deletes_nothing_by_itself_and_is_removed(store: InMemoryObjectStore) -> None:
    store.put(BUCKET, tombstone_key(PREFIX, NEWER), b"{}")
    plan = pruner(store).plan(dry_run=True)
    assert tombstone_key(PREFIX, NEWER) in store.buckets[BUCKET]
    assert decisions(plan)[NEWER] == "kept: the newest complete one of its schedule"
    assert [deletion.name for deletion in pruner(store, "next").plan().deletions] == [OLDER]
    assert tombstone_key(PREFIX, NEWER) not in store.buckets[BUCKET]


def test_the_tombstone_of_a_running_prune_stays(store: InMemoryObjectStore) -> None:
    other = pruner(store, "other")
    other.plan(backup_names=[NEWER])
    # It has the claim and the tombstone, and is about to delete the marker.
    store.before = lambda operation, _bucket, key: _stop(operation, key)
    with pytest.raises(KeyboardInterrupt):
        other.delete()
    store.before = lambda *_: None
    pruner(store, other="RUNNING").plan()
    assert tombstone_key(PREFIX, NEWER) in store.buckets[BUCKET]


def _stop(operation: str, key: str) -> None:
    if operation == "delete" and key.endswith("backup_meta.json"):
        raise KeyboardInterrupt
