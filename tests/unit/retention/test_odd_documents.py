"""A document with values that none has is the damage of one backup: the others are listed, shown and pruned."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest, digest
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.archive.sealing import seal
from milvus_vault.archive.tombstones import Tombstone, tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.errors import VaultError
from milvus_vault.model.base import Model
from milvus_vault.model.requests import ScheduleTag
from milvus_vault.model.resources import Damage, HoldState, Verification
from milvus_vault.model.retention import Retention
from milvus_vault.retention.policy import decide
from tests.support.faults import cases, hard_numbers, hard_values
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, sample_contents, write_backup
from tests.unit.retention.test_prune import NOW, add, pruner

KEYS = CatalogueKeys(PREFIX)
ODD = BackupLayout(PREFIX, "odd")
GOOD = {
    "night_1": "kept: the newest complete one of its schedule",
    "night_2": "deleted: not among the last 1 and no other rule keeps it",
}

hard_times = st.sampled_from(
    [
        "2026-12-01T00:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1969-12-31T23:59:59Z",
        "9998-12-31T23:59:59-23:59",
        "2026-12-01",
    ]
)
odd_values = st.one_of(hard_times, hard_numbers, hard_values)


def world() -> InMemoryObjectStore:
    """Return a bucket with two backups of which the policy keeps one, and a third, older one."""
    store = InMemoryObjectStore(BUCKET)
    add(store, "night_1", 1)
    add(store, "night_2", 2)
    add(store, ODD.name, 9, ScheduleTag(name="other"))
    return store


def shown(store: InMemoryObjectStore) -> dict[str, str]:
    """Return the damage of each backup in the list; each that is not damaged is shown in full, too."""
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)
    found = {summary.name: summary.damage for summary in catalogue.list(10, None).items}
    for name in found:
        try:
            catalogue.get(name)
        except VaultError:
            assert name == ODD.name
    return found


def reasons(store: InMemoryObjectStore) -> dict[str, str]:
    """Return what a prune would do, and why."""
    return {decision.name: decision.reason for decision in pruner(store).plan(dry_run=True).decisions}


def assert_that_the_others_are_as_ever(store: InMemoryObjectStore) -> None:
    """Fail if a list, a look or a prune ends of the odd one, or says else of the others."""
    found = shown(store)
    assert {name: found.get(name) for name in GOOD} == dict.fromkeys(GOOD, "")
    said = reasons(store)
    assert {name: said.get(name) for name in GOOD} == GOOD


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path to each value of a document."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*path, index))


def drawn(data: st.DataObject, document: object) -> tuple[tuple[str | int, ...], object]:
    """Draw a place in a document, and what is to be there."""
    path = data.draw(st.sampled_from(sorted(places(document), key=str)))
    is_time = bool(path) and str(path[-1]).endswith(("_at", "since", "until"))
    return path, data.draw(st.one_of(hard_times, hard_values) if is_time else odd_values)


def changed(document: object, path: tuple[str | int, ...], value: object) -> object:
    """Return a document with another value at a path."""
    if not path:
        return value
    if isinstance(document, dict):
        return {key: changed(v, path[1:], value) if key == path[0] else v for key, v in document.items()}
    assert isinstance(document, list)
    return [changed(v, path[1:], value) if index == path[0] else v for index, v in enumerate(document)]


SEALED: dict[str, Model] = {
    KEYS.hold(ODD.name): HoldState(reason="audit", until=NOW + timedelta(days=9), since=NOW, by="me"),
    KEYS.damage(ODD.name): Damage(name=ODD.name, problem="its marker is gone", found_at=NOW),
    KEYS.verification(ODD.name): Verification(
        verified_at=NOW, status="damaged", run="verify-1", object_count=1, size_bytes=1, content_checked=True
    ),
    tombstone_key(PREFIX, ODD.name): Tombstone(backup_name=ODD.name, execution_arn="prune", since=NOW),
}


def as_sealed(document: object) -> bytes:
    """Return a document with the digest that it would have."""
    body = json.dumps(document).encode()
    return body + b"\n" + json.dumps({"sha256": digest("", body).sha256}).encode()


def entries(store: InMemoryObjectStore) -> list[str]:
    """Return the keys of the odd one's entries in the catalogue: one, if it has not been repaired away."""
    return [key for key in store.buckets[BUCKET] if key.startswith(KEYS.entries) and "odd" in key]


def forget_entry(store: InMemoryObjectStore) -> None:
    """Remove the entry, so that the catalogue reads the backup itself."""
    store.delete(BUCKET, entries(store))


def write_manifest(store: InMemoryObjectStore, document: object) -> None:
    """Write a manifest, and the marker that fits it, or one that does but for what cannot be said."""
    body = json.dumps(document).encode()
    store.put(BUCKET, ODD.manifest, body)
    try:
        marker = marker_file(Manifest.model_validate_json(body), body)
    except ValidationError:
        members = json.loads(store.get(BUCKET, ODD.marker))
        members["vault"] |= {"manifest_sha256": digest("", body).sha256, "manifest_size_bytes": len(body)}
        marker = json.dumps(members).encode()
    store.put(BUCKET, ODD.marker, marker)


@cases(60)
@given(st.data())
def test_whatever_a_manifest_says_concerns_no_other_backup(data: st.DataObject) -> None:
    store = world()
    document = json.loads(store.get(BUCKET, ODD.manifest))
    path, value = drawn(data, document)
    write_manifest(store, changed(document, path, value))
    assert_that_the_others_are_as_ever(store)
    forget_entry(store)
    assert_that_the_others_are_as_ever(store)


@cases(40)
@given(st.data())
def test_whatever_a_marker_says_concerns_no_other_backup(data: st.DataObject) -> None:
    store = world()
    is_theirs = data.draw(st.booleans())
    if is_theirs:
        store.delete(BUCKET, [ODD.manifest])
        marker: object = {"start_time": 1_700_000_000_000, "end_time": 1_700_000_000_001, "milvus_version": "2.5.20"}
    else:
        marker = json.loads(store.get(BUCKET, ODD.marker))
    path, value = drawn(data, marker)
    store.put(BUCKET, ODD.marker, json.dumps(changed(marker, path, value)).encode())
    forget_entry(store)
    assert_that_the_others_are_as_ever(store)


@cases(80)
@given(st.data())
def test_whatever_the_catalogue_keeps_of_a_backup_concerns_no_other(data: st.DataObject) -> None:
    store = world()
    (entry,) = entries(store)
    documents = {key: json.loads(model.model_dump_json()) for key, model in SEALED.items()}
    documents[entry] = json.loads(store.get(BUCKET, entry).splitlines()[0])
    key = data.draw(st.sampled_from(sorted(documents)))
    path, value = drawn(data, documents[key])
    document = changed(documents[key], path, value)
    is_sealed = data.draw(st.booleans())
    store.put(BUCKET, key, as_sealed(document) if is_sealed else json.dumps(document).encode())
    if data.draw(st.booleans()):
        store.delete(BUCKET, [ODD.marker])
    assert_that_the_others_are_as_ever(store)


@pytest.mark.parametrize(
    "change",
    [
        {"moment": 2**80},
        {"started_at": datetime(2026, 11, 22, 11)},  # noqa: DTZ001
        {"expires_at": datetime(2026, 11, 22, 11)},  # noqa: DTZ001
        {"started_at": datetime(1, 1, 1, tzinfo=UTC)},
        {"started_at": datetime(9999, 12, 31, 23, 59, tzinfo=UTC)},
        {"size_bytes": 10**400},
        {"object_count": -1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_sealed_manifest_with_a_value_that_none_has_is_damage(change: dict[str, object]) -> None:
    store = world()
    write_backup(store, ODD, sample_contents(ODD), failures=(), **change)
    forget_entry(store)
    assert next(iter(change)) in shown(store)[ODD.name]
    assert reasons(store)[ODD.name].startswith("kept: ")
    assert_that_the_others_are_as_ever(store)


def test_rows_that_add_up_to_more_than_there_can_be_are_damage() -> None:
    store = world()
    document = json.loads(store.get(BUCKET, ODD.manifest))
    for entry in document["collections"]:
        entry["row_count"] = 2**63 - 1
    write_manifest(store, document)
    forget_entry(store)
    assert "row_count" in shown(store)[ODD.name]
    assert_that_the_others_are_as_ever(store)


def test_of_a_verification_without_a_digest_only_the_damage_counts() -> None:
    store = world()
    verification = SEALED[KEYS.verification(ODD.name)]
    store.put(BUCKET, KEYS.verification(ODD.name), verification.model_dump_json().encode())
    assert "found it damaged" in shown(store)[ODD.name]
    intact = verification.model_copy(update={"status": "intact"})
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)
    store.put(BUCKET, KEYS.verification(ODD.name), intact.model_dump_json().encode())
    assert catalogue.get(ODD.name).verification is None
    store.put(BUCKET, KEYS.verification(ODD.name), seal(intact))
    assert catalogue.get(ODD.name).verification == intact


def test_a_backup_of_the_last_year_has_not_expired() -> None:
    store = world()
    catalogue = Catalogue(store, BUCKET, PREFIX, clock=lambda: NOW)
    last = catalogue.get("night_1").model_copy(update={"created_at": datetime(9998, 12, 31, tzinfo=UTC)})
    decisions = decide([last], Retention(expire_after="99999w"), "UTC", NOW)
    assert [decision.keep for decision in decisions] == [True]
