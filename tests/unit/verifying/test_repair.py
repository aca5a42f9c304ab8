"""A backup whose marker or manifest is lost is mended from what is left, and what was lost is said."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import ExportOrigin, Manifest
from milvus_vault.archive.reader import read_archive, read_manifest, read_objects
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.claims import Claim, Claims
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupInProgressError,
    BackupNotFoundError,
    RunTakenOverError,
    VaultError,
)
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.verifying.repair import BackupRepair, Repaired
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, golden_layout, golden_store, sample_contents, write_backup
from tests.unit.test_claims import FakeExecutions

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAYOUT = BackupLayout(PREFIX, "books")
NIGHTLY = ScheduleTag(name="nightly")
CLAIM = f"{PREFIX}/.runs/backup-books/claim.json"


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with a backup and its entry."""
    store = InMemoryObjectStore(BUCKET)
    manifest = write(store)
    Catalogue(store, BUCKET, PREFIX).publish(summary_of(manifest))
    return store


def write(store: InMemoryObjectStore) -> Manifest:
    """Write a backup of a schedule that expires in a month."""
    expires_at = NOW + timedelta(days=30)
    return write_backup(store, LAYOUT, sample_contents(LAYOUT), schedule=NIGHTLY, expires_at=expires_at)


def catalogue(store: InMemoryObjectStore) -> Catalogue:
    """Return the catalogue."""
    return Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)


def repair(store: InMemoryObjectStore, layout: BackupLayout = LAYOUT, arn: str = "me", **statuses: str) -> Repaired:
    """Repair a backup in one execution."""
    return BackupRepair(
        run=Workspace(store, BUCKET, PREFIX, f"verify-{arn}"),
        layout=layout,
        catalogue=catalogue(store),
        executions=FakeExecutions(**statuses),
        execution_arn=arn,
        now=NOW,
    ).repair()


def contents(store: InMemoryObjectStore) -> dict[str, bytes]:
    """Return all objects of the backup."""
    return {key: found.body for key, found in store.buckets[BUCKET].items() if key.startswith(LAYOUT.root)}


def forget_entries(store: InMemoryObjectStore) -> None:
    """Lose the catalogue's entries."""
    store.delete(BUCKET, [key for key in store.buckets[BUCKET] if "/.catalogue/backups/" in key])


def test_a_whole_backup_is_left_as_it_is(store: InMemoryObjectStore) -> None:
    before = contents(store)
    assert repair(store) == Repaired()
    assert contents(store) == before


def test_a_lost_marker_is_made_anew_byte_by_byte(store: InMemoryObjectStore) -> None:
    before = contents(store)
    store.delete(BUCKET, [LAYOUT.marker])
    catalogue(store).note_damages({"books": "it has lost its marker"})

    repaired = repair(store)

    assert contents(store) == before
    # Its entry is as it was, and proves the manifest.
    assert repaired.lost == ()
    assert catalogue(store).damages() == []
    assert catalogue(store).hold("books") is None


def test_no_flipped_bit_of_a_marker_costs_anything(store: InMemoryObjectStore) -> None:
    before = contents(store)
    forget_entries(store)
    marker = before[LAYOUT.marker]
    for bit in range(0, 8 * len(marker), 3):
        body = bytearray(marker)
        body[bit // 8] ^= 1 << bit % 8
        store.put(BUCKET, LAYOUT.marker, bytes(body))
        try:
            read_manifest(store, BUCKET, LAYOUT)
        except VaultError:
            repair(store, arn=f"bit{bit}")
        assert contents(store) == before


def test_a_manifest_that_nothing_proves_is_sealed_and_held(store: InMemoryObjectStore) -> None:
    before = contents(store)
    forget_entries(store)
    store.delete(BUCKET, [LAYOUT.marker])

    (lost,) = repair(store).lost

    assert contents(store) == before
    assert "proves the manifest" in lost
    hold = catalogue(store).hold("books")
    assert hold is not None
    assert hold.reason.startswith("repaired on 2026-11-22")


def test_a_manifest_that_an_entry_contradicts_is_sealed_and_held(store: InMemoryObjectStore) -> None:
    store.delete(BUCKET, [LAYOUT.marker])
    body = store.get(BUCKET, LAYOUT.manifest).replace(b'"expires_at":"2026', b'"expires_at":"2006')
    store.put(BUCKET, LAYOUT.manifest, body)
    repair(store)
    assert catalogue(store).hold("books") is not None


@pytest.mark.parametrize("damage", ["lost", "cut", "flipped"])
def test_a_manifest_is_made_anew_from_the_documents(store: InMemoryObjectStore, damage: str) -> None:
    before = read_archive(store, BUCKET, LAYOUT)
    written = read_manifest(store, BUCKET, LAYOUT)
    body = store.get(BUCKET, LAYOUT.manifest)
    if damage == "lost":
        store.delete(BUCKET, [LAYOUT.manifest, LAYOUT.marker])
    else:
        changed = body[: len(body) // 2] if damage == "cut" else body.replace(b"2026-03-01", b"2025-03-01")
        store.put(BUCKET, LAYOUT.manifest, changed)

    repaired = repair(store)

    after, manifest = read_archive(store, BUCKET, LAYOUT), read_manifest(store, BUCKET, LAYOUT)
    assert written is not None
    assert manifest is not None
    assert after.collections == tuple(sorted(before.collections, key=lambda collection: str(collection.name)))
    assert after.rbac == before.rbac
    assert after.database_descriptions == before.database_descriptions
    assert sum(len(read_objects(store, BUCKET, LAYOUT, c)) for c in after.collections) == written.object_count
    # What the catalogue remembers.
    assert (manifest.started_at, manifest.expires_at) == (written.started_at, written.expires_at)
    assert manifest.schedule is not None
    assert manifest.schedule.name == "nightly"
    assert manifest.source.root_path == "files"
    assert (manifest.object_count, manifest.size_bytes) == (written.object_count, written.size_bytes)
    assert "2 document(s)" in repaired.mended[0]
    assert catalogue(store).hold("books") is not None
    assert catalogue(store).get("books").run is None


ORIGIN = ExportOrigin(
    backup_name="night", backup_id="1a2b", exported_at=datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
)


@pytest.mark.parametrize("damage", ["lost", "flipped"])
def test_a_manifest_that_is_made_anew_says_of_what_the_backup_is_an_export(
    store: InMemoryObjectStore, damage: str
) -> None:
    write_backup(store, LAYOUT, sample_contents(LAYOUT), format_version=3, export_of=ORIGIN)
    if damage == "lost":
        store.delete(BUCKET, [LAYOUT.manifest])
    else:
        store.put(BUCKET, LAYOUT.manifest, store.get(BUCKET, LAYOUT.manifest).replace(b'"night"', b'"nighT"'))

    repaired = repair(store)

    manifest = read_manifest(store, BUCKET, LAYOUT)
    assert manifest is not None
    assert (manifest.export_of, manifest.format_version) == (ORIGIN, 3)
    assert not any("export" in lost for lost in repaired.lost)
    assert catalogue(store).get("books").export_of == "night"


@pytest.mark.parametrize("marker", [None, b"{", b'{"vault":3}', b'{"vault":{"export_of":{"backup_name":"night"}}}'])
def test_of_what_it_is_an_export_is_lost_with_the_marker(store: InMemoryObjectStore, marker: bytes | None) -> None:
    write_backup(store, LAYOUT, sample_contents(LAYOUT), format_version=3, export_of=ORIGIN)
    store.delete(BUCKET, [LAYOUT.manifest, LAYOUT.marker])
    if marker is not None:
        store.put(BUCKET, LAYOUT.marker, marker)

    repaired = repair(store)

    manifest = read_manifest(store, BUCKET, LAYOUT)
    assert manifest is not None
    assert (manifest.export_of, manifest.format_version) == (None, 2)
    assert "of which backup it is an export, if it is one" in repaired.lost


def test_a_collection_without_a_document_is_named_as_lost(store: InMemoryObjectStore) -> None:
    store.delete(BUCKET, [LAYOUT.manifest])
    document = next(key for key in contents(store) if "/vault/collections/" in key)
    store.put(BUCKET, document, b"{")

    repaired = repair(store)

    manifest = read_manifest(store, BUCKET, LAYOUT)
    assert manifest is not None
    assert manifest.is_partial
    assert len(manifest.collections) == len(manifest.failures) == 1
    assert any(f"{manifest.failures[0].name} has no document" in lost for lost in repaired.lost)
    assert catalogue(store).get("books").status == "partial"


def test_without_documents_a_backup_goes_on_as_one_of_milvus_backup(store: InMemoryObjectStore) -> None:
    before = read_archive(store, BUCKET, LAYOUT)
    store.put(BUCKET, LAYOUT.manifest, b"{")
    store.delete(BUCKET, [key for key in contents(store) if "/vault/collections/" in key])

    repaired = repair(store)

    after = read_archive(store, BUCKET, LAYOUT)
    assert (after.origin, after.has_checksums) == ("milvus_backup", False)
    assert [(c.name, c.row_count) for c in after.collections] == [(c.name, c.row_count) for c in before.collections]
    assert store.get(BUCKET, LAYOUT.vault("manifest.damaged.json")) == b"{"
    assert any("moment" in lost for lost in repaired.lost)
    assert any("no policy deletes it" in lost for lost in repaired.lost)


@pytest.mark.parametrize("name", ["golden_057", "golden_0516", "golden_2_5"])
def test_the_marker_of_another_tools_backup_is_made_anew(name: str) -> None:
    store, layout = golden_store(name), golden_layout(name)
    before = read_archive(store, BUCKET, layout)
    for body in (None, b"[" * 100_000):
        store.delete(BUCKET, [layout.marker])
        if body is not None:
            store.put(BUCKET, layout.marker, body)
        repair(store, layout, arn=f"me{body is None}")
        assert read_archive(store, BUCKET, layout) == before
        assert catalogue(store).get(name).status == "complete"


def test_where_nothing_is_left_to_mend_from_nothing_is_changed(store: InMemoryObjectStore) -> None:
    store.put(BUCKET, LAYOUT.manifest, b"{")
    documents = [key for key in contents(store) if "/vault/collections/" in key]
    store.delete(BUCKET, [*documents, LAYOUT.meta("full_meta.json")])
    before = contents(store)
    with pytest.raises(BackupDamagedError, match="neither a manifest, nor documents, nor"):
        repair(store)
    assert contents(store) == before
    # The claim of the name is free again.
    assert CLAIM not in store.buckets[BUCKET]


def test_a_manifest_of_a_newer_release_is_left_alone(store: InMemoryObjectStore) -> None:
    newer = json.loads(store.get(BUCKET, LAYOUT.manifest)) | {"format_version": 99}
    store.put(BUCKET, LAYOUT.manifest, json.dumps(newer).encode())
    before = contents(store)
    with pytest.raises(BackupFormatError):
        repair(store)
    assert contents(store) == before


def test_a_marker_that_contradicts_the_other_files_of_another_tool_is_made_anew() -> None:
    layout = golden_layout("golden_0516")
    store = golden_store("golden_0516")
    before = read_archive(store, BUCKET, layout)
    store.put(BUCKET, layout.marker, store.get(BUCKET, layout.marker).replace(b"v2.3.5", b"v2.3.4"))
    with pytest.raises(BackupDamagedError, match="the backup: milvus_version"):
        read_archive(store, BUCKET, layout)

    assert len(repair(store, layout).mended) == 1

    assert read_archive(store, BUCKET, layout) == before


@pytest.mark.parametrize("marker", ["kept", "lost"])
def test_what_two_files_say_differently_no_repair_decides(marker: str) -> None:
    layout = golden_layout("golden_0516")
    store = golden_store("golden_0516")
    levels = layout.meta("segment_meta.json")
    store.put(BUCKET, levels, store.get(BUCKET, levels).replace(b'"num_of_rows":108', b'"num_of_rows":109'))
    if marker == "lost":
        store.delete(BUCKET, [layout.marker])
    before = dict(store.buckets[BUCKET])
    with pytest.raises(BackupDamagedError, match="num_of_rows"):
        repair(store, layout)
    assert {key: found for key, found in store.buckets[BUCKET].items() if key.startswith(layout.root)} == {
        key: found for key, found in before.items() if key.startswith(layout.root)
    }


def test_a_manifest_is_not_made_anew_with_what_milvus_backups_files_contradict(store: InMemoryObjectStore) -> None:
    store.delete(BUCKET, [LAYOUT.manifest, LAYOUT.marker])
    full = LAYOUT.meta("full_meta.json")
    store.put(BUCKET, full, store.get(BUCKET, full).replace(b'"collection_name":"works"', b'"collection_name":"workt"'))
    forget_entries(store)
    # Nothing else says of which version its Milvus was.
    with pytest.raises(BackupDamagedError, match="of which version"):
        repair(store)


def test_what_is_no_backup_or_is_being_deleted_is_not_found(store: InMemoryObjectStore) -> None:
    with pytest.raises(BackupNotFoundError):
        repair(store, BackupLayout(PREFIX, "nothing"))
    store.put(BUCKET, tombstone_key(PREFIX, "books"), b"{}")
    with pytest.raises(BackupNotFoundError):
        repair(store, arn="later")


def test_nothing_is_repaired_while_an_execution_works_on_the_backup(store: InMemoryObjectStore) -> None:
    Claims(store, FakeExecutions(), BUCKET, execution_arn="other", run="backup-books").take(CLAIM)
    store.delete(BUCKET, [LAYOUT.marker])
    with pytest.raises(BackupInProgressError, match="other"):
        repair(store, other="RUNNING")
    assert LAYOUT.marker not in store.buckets[BUCKET]


def test_the_claim_of_the_run_that_made_the_backup_comes_back(store: InMemoryObjectStore) -> None:
    Claims(store, FakeExecutions(), BUCKET, execution_arn="maker", run="backup-books").take(CLAIM)
    store.delete(BUCKET, [LAYOUT.marker])
    repair(store, maker="SUCCEEDED")
    assert Claim.model_validate_json(store.get(BUCKET, CLAIM)).execution_arn == "maker"


def test_a_repair_is_done_once(store: InMemoryObjectStore) -> None:
    store.delete(BUCKET, [LAYOUT.marker])
    first = repair(store)
    store.delete(BUCKET, [LAYOUT.marker])
    assert repair(store) == first
    assert LAYOUT.marker not in store.buckets[BUCKET]


@pytest.mark.parametrize("lost", ["marker", "manifest", "documents"])
def test_a_repair_that_was_stopped_writes_nothing_over_what_its_successor_does(
    store: InMemoryObjectStore, lost: str
) -> None:
    """Its function goes on: beside a prune that deletes the backup since, a new marker would promise what is gone."""
    gone = {
        "marker": [LAYOUT.marker],
        "manifest": [LAYOUT.manifest],
        "documents": [key for key in contents(store) if "/meta/vault/" in key],
    }
    store.delete(BUCKET, gone[lost])

    def take_over(operation: str, _bucket: str, key: str) -> None:
        if operation == "get" and key == LAYOUT.manifest:
            store.before = lambda *_: None
            Claims(store, FakeExecutions(me="ABORTED"), BUCKET, execution_arn="prune", run="prune-1").take(CLAIM)
            store.delete(BUCKET, [LAYOUT.marker])

    store.before = take_over
    with pytest.raises(RunTakenOverError, match="prune"):
        repair(store)

    assert LAYOUT.marker not in store.buckets[BUCKET]
    assert (LAYOUT.manifest in store.buckets[BUCKET]) is (lost == "marker")
    assert Claim.model_validate_json(store.get(BUCKET, CLAIM)).execution_arn == "prune"
