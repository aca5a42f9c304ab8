"""Backups of ours, read back; no byte of their metadata can change unnoticed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import FORMAT_VERSION, FULL_FORMAT_VERSION, CollectionFailure, digest
from milvus_vault.archive.reader import (
    Archive,
    check_backup_exists,
    find_manifest,
    is_backup,
    read_archive,
    read_document,
    read_manifest,
    read_objects,
    segments_with_deletes,
)
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.errors import (
    BackupDamagedError,
    BackupFormatError,
    BackupNotFoundError,
    StorageAccessDeniedError,
    VaultError,
)
from milvus_vault.model.collections import ALL_PARTITIONS, CollectionName, DatabaseDescription
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import (
    BUCKET,
    COLLECTION_ID,
    PARTITION_ID,
    PREFIX,
    SEGMENT_ID,
    golden_layout,
    golden_store,
    new_store,
    sample_contents,
    write_backup,
)

LAYOUT = BackupLayout(PREFIX, "ours")
CONTENTS = sample_contents(LAYOUT)
FAILURE = CollectionFailure(name=CollectionName(database="books", name="lost"), error="FlushTimeoutError", message="m")


def our_store() -> InMemoryObjectStore:
    store = new_store()
    write_backup(store, LAYOUT, CONTENTS, failures=(FAILURE,))
    return store


def read_all(store: InMemoryObjectStore) -> Archive:
    """Read everything that has a digest."""
    manifest, archive = read_manifest(store, BUCKET, LAYOUT), read_archive(store, BUCKET, LAYOUT)
    for expected in manifest.documents if manifest else ():
        read_document(store, BUCKET, LAYOUT, expected)
    for collection in archive.collections:
        read_objects(store, BUCKET, LAYOUT, collection)
    return archive


METADATA = {
    listed.key: our_store().get(BUCKET, listed.key) for listed in our_store().list_objects(BUCKET, LAYOUT.meta(""))
}


def test_what_was_written_is_read() -> None:
    store = our_store()

    archive = read_all(store)

    assert archive.name == "ours"
    assert archive.origin == "milvus_vault"
    assert archive.has_checksums
    assert not archive.meta_only
    assert archive.milvus_version[:3] == (2, 5, 20)
    assert archive.databases == ("default", "books")
    assert archive.failures == (FAILURE,)
    assert archive.warnings == ("The backup is partial, it lacks: books.lost",)
    assert len(archive.collections) == len(CONTENTS)
    for collection, (document, objects) in zip(archive.collections, CONTENTS, strict=True):
        description = document.description
        assert collection.name == description.name
        assert collection.collection_id == description.collection_id
        assert collection.layout.schema_proto == description.schema_proto
        assert collection.layout.collection_schema == description.collection_schema
        assert collection.layout.shards == description.shards
        assert collection.layout.properties == description.properties
        assert collection.layout.partitions == tuple(partition.name for partition in description.partitions)
        assert collection.indexes == description.indexes
        assert collection.aliases == description.aliases
        assert collection.load_state == description.load_state
        assert collection.replicas == description.replicas
        assert collection.live_row_count == document.live_row_count
        assert sorted(segment.segment_id for segment in collection.segments) == sorted(
            segment.segment_id for segment in document.segments
        )
        assert read_objects(store, BUCKET, LAYOUT, collection) == objects


def test_segments_are_sorted_to_their_partitions() -> None:
    store = our_store()

    collection = read_archive(store, BUCKET, LAYOUT).collections[0]

    assert [(partition.name, partition.is_loaded) for partition in collection.partitions] == [
        ("_default", True),
        ("north", False),
    ]
    assert [partition.row_count for partition in collection.partitions] == [100, 5]
    assert collection.row_count == 105
    assert [(segment.segment_id, segment.group_id) for segment in collection.partitions[0].segments] == [
        (SEGMENT_ID + number, SEGMENT_ID + number) for number in range(3)
    ]
    assert [(s.segment_id, s.partition_id, s.group_id) for s in collection.l0_segments] == [
        (SEGMENT_ID + 4, ALL_PARTITIONS, 0)
    ]
    assert collection.partitions[1].segments[0].storage_version == 2
    assert segments_with_deletes(read_objects(store, BUCKET, LAYOUT, collection)) == {
        SEGMENT_ID,
        SEGMENT_ID + 2,
        SEGMENT_ID + 4,
    }


def test_milvus_backups_reader_finds_the_same_in_ours() -> None:
    store = our_store()
    ours = read_archive(store, BUCKET, LAYOUT)
    # Without our documents it is an archive of milvus-backup.
    marker = json.loads(store.get(BUCKET, LAYOUT.marker))
    del marker["vault"]
    store.put(BUCKET, LAYOUT.marker, json.dumps(marker).encode())
    store.delete(BUCKET, [listed.key for listed in store.list_objects(BUCKET, LAYOUT.vault(""))])

    theirs = read_archive(store, BUCKET, LAYOUT)

    assert theirs.origin == "milvus_backup"
    assert (theirs.rbac, theirs.database_descriptions) == (ours.rbac, ours.database_descriptions)
    for collection, expected, (_, objects) in zip(theirs.collections, ours.collections, CONTENTS, strict=True):
        assert collection.name == expected.name
        assert collection.row_count == expected.row_count
        assert {s.segment_id: s.group_id for s in collection.segments} == {
            s.segment_id: s.group_id for s in expected.segments
        }
        assert {(o.stored_key, o.source_key, o.size_bytes) for o in collection.listed_objects} == {
            (o.stored_key, o.source_key, o.size_bytes) for o in objects
        }


@pytest.mark.parametrize("key", METADATA)
def test_no_byte_of_the_metadata_changes_unnoticed(key: str) -> None:
    store = our_store()
    body = METADATA[key]
    # Every byte of short files, every 97th of long ones: reading all of it again takes a millisecond.
    for position in range(0, len(body), 1 if len(body) < 600 else 97):
        for flipped in (body[position] ^ 1, body[position] ^ 0x20, 0):
            store.put(BUCKET, key, body[:position] + bytes([flipped]) + body[position + 1 :])

            with pytest.raises((BackupDamagedError, BackupFormatError)):
                read_all(store)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_cut_and_no_addition_goes_unnoticed(data: st.DataObject) -> None:
    store = our_store()
    key = data.draw(st.sampled_from(sorted(METADATA)))
    body = METADATA[key]
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    damaged = body[:start] + data.draw(st.binary(max_size=8)) + body[end:]
    store.put(BUCKET, key, damaged)

    if damaged == body:
        read_all(store)
    else:
        with pytest.raises((BackupDamagedError, BackupFormatError)):
            read_all(store)


@pytest.mark.parametrize("key", [key for key in METADATA if key != LAYOUT.marker])
def test_a_missing_document_is_damage_and_named(key: str) -> None:
    store = our_store()
    store.delete(BUCKET, [key])

    with pytest.raises(BackupDamagedError, match=key):
        read_all(store)


def test_the_message_says_what_differs() -> None:
    store = our_store()
    key = LAYOUT.collection_document(COLLECTION_ID)
    body = METADATA[key]

    store.put(BUCKET, key, body[:-1])
    with pytest.raises(BackupDamagedError, match=f"{key} has {len(body) - 1} bytes instead of {len(body)}"):
        read_archive(store, BUCKET, LAYOUT)

    store.put(BUCKET, key, body[:-1] + b" ")
    with pytest.raises(BackupDamagedError, match=f"SHA-256 is .* instead of {digest(key, body).sha256}"):
        read_archive(store, BUCKET, LAYOUT)


def test_without_a_marker_there_is_no_backup() -> None:
    store = our_store()
    store.delete(BUCKET, [key for key in store.buckets[BUCKET] if "/meta/" in key and "/collections/" not in key])

    with pytest.raises(BackupNotFoundError, match="unfinished or failed"):
        read_archive(store, BUCKET, LAYOUT)
    with pytest.raises(BackupNotFoundError, match="there is no backup 'other'"):
        read_archive(store, BUCKET, BackupLayout(PREFIX, "other"))


def test_a_name_that_no_backup_has_is_told_with_those_near_to_it() -> None:
    store = our_store()
    for name in ("ouser", "else", ".pool"):
        store.put(BUCKET, BackupLayout(PREFIX, name).marker, b"{}")
    wrong = BackupLayout(PREFIX, "ousr")
    for read in (read_archive, read_manifest, check_backup_exists):
        with pytest.raises(BackupNotFoundError) as raised:
            read(store, BUCKET, wrong)
        assert raised.value.message == f"there is no backup '{wrong.name}' in s3://{BUCKET}/{PREFIX}"
        assert raised.value.hint == "Did you mean 'ouser' or 'ours'?"
    with pytest.raises(BackupNotFoundError) as raised:
        read_archive(store, BUCKET, BackupLayout(PREFIX, "unlike"))
    assert raised.value.hint == "`GET /backups` lists those that are there."


def test_who_may_not_list_the_bucket_is_told_all_the_same() -> None:
    store = our_store()

    def refuse(operation: str, bucket: str, key: str) -> None:
        if operation == "list_folders":
            msg = f"{bucket}/{key}"
            raise StorageAccessDeniedError(msg)

    store.before = refuse
    with pytest.raises(BackupNotFoundError, match="there is no backup") as raised:
        read_archive(store, BUCKET, BackupLayout(PREFIX, f"{LAYOUT.name}s"))
    assert raised.value.hint == "`GET /backups` lists those that are there."


def test_to_find_that_a_name_is_free_lists_no_backups() -> None:
    store = our_store()
    asked: list[str] = []
    store.before = lambda operation, *_: asked.append(operation)
    free = BackupLayout(PREFIX, f"{LAYOUT.name}s")
    assert not is_backup(store, BUCKET, free)
    assert find_manifest(store, BUCKET, free) is None
    assert "list_folders" not in asked


@pytest.mark.parametrize("left", ["vault/manifest.json", "full_meta.json", "segment_meta.json"])
def test_a_backup_that_lost_its_marker_is_damaged_and_can_be_repaired(left: str) -> None:
    store = our_store()
    gone = [key for key in store.buckets[BUCKET] if "/meta/" in key and not key.endswith(left)]
    store.delete(BUCKET, gone)

    with pytest.raises(BackupDamagedError, match="has lost its marker") as caught:
        read_archive(store, BUCKET, LAYOUT)
    assert "repair" in caught.value.hint
    check_backup_exists(store, BUCKET, LAYOUT)


def test_a_backup_that_a_prune_deletes_has_not_lost_its_marker() -> None:
    store = our_store()
    store.delete(BUCKET, [LAYOUT.marker])
    store.put(BUCKET, tombstone_key(PREFIX, LAYOUT.name), b"{}")

    with pytest.raises(BackupNotFoundError):
        read_archive(store, BUCKET, LAYOUT)


@pytest.mark.parametrize("name", ["backup_meta.json", "vault/manifest.json"])
def test_what_nests_too_deeply_is_damage(name: str) -> None:
    store = our_store()
    store.put(BUCKET, LAYOUT.meta(name), b"[" * 100_000)

    with pytest.raises(BackupDamagedError):
        read_archive(store, BUCKET, LAYOUT)


@pytest.mark.parametrize(("version", "databases"), [(1, ("books", "default")), (2, ("books", "default", "empty"))])
def test_a_backup_of_format_1_is_of_the_databases_of_its_collections(version: int, databases: tuple[str, ...]) -> None:
    store = new_store()
    named = tuple(DatabaseDescription(name=name) for name in ("books", "default", "empty"))
    names = tuple(item.name for item in named)
    contents = sample_contents(LAYOUT)
    write_backup(store, LAYOUT, contents, format_version=version, databases=names, database_descriptions=named)

    assert read_archive(store, BUCKET, LAYOUT).databases == databases


def test_a_full_backup_has_no_member_of_format_3() -> None:
    """Older releases take a manifest for damaged that has a member which they do not know."""
    manifest = json.loads(METADATA[LAYOUT.manifest])
    assert manifest["format_version"] == FULL_FORMAT_VERSION
    assert not {"copied_object_count", "copied_size_bytes", "export_of"} & manifest.keys()
    assert all("group" not in entry for entry in manifest["collections"])


def test_a_newer_format_is_refused_whatever_else_it_says() -> None:
    store = our_store()
    marker = json.loads(METADATA[LAYOUT.marker])
    marker["vault"] = {"format_version": FORMAT_VERSION + 1, "merkle_root": "abc"}
    store.put(BUCKET, LAYOUT.marker, json.dumps(marker).encode())

    with pytest.raises(
        BackupFormatError, match=f"format version {FORMAT_VERSION + 1}; this release reads up to {FORMAT_VERSION}"
    ):
        read_archive(store, BUCKET, LAYOUT)


@pytest.mark.parametrize("mark", [None, 7, {}, {"format_version": 0}, {"format_version": "1"}])
def test_a_reference_to_the_manifest_that_is_none_is_damage(mark: object) -> None:
    store = our_store()
    marker = json.loads(METADATA[LAYOUT.marker])
    marker["vault"] = mark
    store.put(BUCKET, LAYOUT.marker, json.dumps(marker).encode())

    with pytest.raises(BackupDamagedError, match=r"backup_meta\.json cannot be read"):
        read_archive(store, BUCKET, LAYOUT)


@pytest.mark.parametrize("body", [b"[]", b"null", b"", b"{", b"\xff"])
def test_a_marker_that_is_no_object_is_damage(body: bytes) -> None:
    store = our_store()
    store.put(BUCKET, LAYOUT.marker, body)

    with pytest.raises(BackupDamagedError, match=r"backup_meta\.json cannot be read"):
        read_archive(store, BUCKET, LAYOUT)


def _rewrite(store: InMemoryObjectStore, key: str, body: bytes) -> None:
    """Replace a collection's document together with all digests above it, as a faulty writer would."""
    manifest = read_manifest(store, BUCKET, LAYOUT)
    assert manifest is not None
    written = digest(key.removeprefix(LAYOUT.root), body)
    entries = [
        entry.model_copy(
            update={name: written for name in ("document", "objects") if getattr(entry, name).key == written.key}
        )
        for entry in manifest.collections
    ]
    manifest = manifest.model_copy(update={"collections": tuple(entries)})
    store.put(BUCKET, key, body)
    store.put(BUCKET, LAYOUT.manifest, manifest.model_dump_json().encode())
    store.put(BUCKET, LAYOUT.marker, marker_file(manifest, manifest.model_dump_json().encode()))


@pytest.mark.parametrize(
    ("key", "body"),
    [
        (LAYOUT.collection_document(COLLECTION_ID), b"{}"),
        (
            LAYOUT.collection_document(COLLECTION_ID),
            METADATA[LAYOUT.collection_document(COLLECTION_ID)].replace(str(PARTITION_ID).encode(), b"5", 1),
        ),
        (LAYOUT.object_list(COLLECTION_ID), b"{}\n"),
        (LAYOUT.object_list(COLLECTION_ID), b'["a","b",1.0,"",""]\n'),
        (LAYOUT.object_list(COLLECTION_ID), b'["a","b"'),
        (LAYOUT.object_list(COLLECTION_ID), b"\xff\n"),
    ],
)
def test_a_document_that_was_written_wrong_is_damage(key: str, body: bytes) -> None:
    store = our_store()
    _rewrite(store, key, body)

    with pytest.raises(BackupDamagedError, match=key):
        read_all(store)


def test_a_backup_of_milvus_backup_has_no_manifest() -> None:
    assert read_manifest(golden_store("golden_meta"), BUCKET, golden_layout("golden_meta")) is None


def test_every_failure_names_the_backup_and_tells_what_to_do() -> None:
    store = our_store()
    store.delete(BUCKET, [LAYOUT.manifest])

    with pytest.raises(VaultError) as caught:
        read_archive(store, BUCKET, LAYOUT)

    assert "ours" in caught.value.message
    assert caught.value.hint
