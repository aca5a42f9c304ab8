"""Objects of a backup compared with their list."""

import pytest

from milvus_vault.archive.check import ObjectCheck, check_objects, raise_if_damaged
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import ArchivedCollection, read_archive, read_objects
from milvus_vault.errors import BackupDamagedError, ObjectArchivedError
from milvus_vault.model.objects import ArchivedObject
from tests.support.memory_store import InMemoryObjectStore
from tests.support.short_pages import SortedStore, shorten
from tests.unit.archive.samples import (
    BUCKET,
    PREFIX,
    golden_layout,
    golden_store,
    new_store,
    sample_contents,
    write_backup,
)

LAYOUT = BackupLayout(PREFIX, "ours")


def whole_backup() -> tuple[InMemoryObjectStore, ArchivedCollection, list[ArchivedObject]]:
    store = new_store()
    write_backup(store, LAYOUT, sample_contents(LAYOUT))
    collection = read_archive(store, BUCKET, LAYOUT).collections[0]
    etags = {
        listed.key: listed.etag
        for folder in LAYOUT.collection_folders(collection.collection_id)
        for listed in store.list_objects(BUCKET, folder)
    }
    objects = [
        ArchivedObject(item.stored_key, item.source_key, item.size_bytes, etags[item.stored_key])
        for item in read_objects(store, BUCKET, LAYOUT, collection)
    ]
    return store, collection, objects


def test_a_whole_collection_passes_in_any_order() -> None:
    store, collection, objects = whole_backup()

    check = check_objects(store, BUCKET, LAYOUT, collection, reversed(objects))

    assert check == ObjectCheck()
    raise_if_damaged(collection, check)


def test_a_collection_with_many_objects_is_listed_in_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    store, collection, objects = whole_backup()
    of_s3 = SortedStore(BUCKET)
    of_s3.buckets = store.buckets
    shorten(monkeypatch)

    assert check_objects(of_s3, BUCKET, LAYOUT, collection, objects) == ObjectCheck()
    assert len(objects) > 4
    # A cut for each four, of each folder.
    assert len(objects) // 5 <= len(of_s3.cuts) <= len(objects) // 3
    assert set(of_s3.cuts) < {item.stored_key for item in objects}


def test_each_kind_of_damage_is_told_apart() -> None:
    store, collection, objects = whole_backup()
    missing, shorter, changed, unrecorded, *rest = objects
    store.delete(BUCKET, [missing.stored_key])
    store.put(BUCKET, shorter.stored_key, b"")
    store.put(BUCKET, changed.stored_key, b"x" * changed.size_bytes)
    store.put(BUCKET, unrecorded.stored_key, b"x" * unrecorded.size_bytes)
    store.put(BUCKET, f"{changed.stored_key}0", b"y")
    unrecorded = ArchivedObject(unrecorded.stored_key, unrecorded.source_key, unrecorded.size_bytes, "")

    check = check_objects(store, BUCKET, LAYOUT, collection, [missing, shorter, changed, unrecorded, *rest])

    assert check.missing == [missing.stored_key]
    assert check.wrong_size == [shorter.stored_key]
    assert list(check.changed) == [changed.stored_key]
    assert check.extra == [f"{changed.stored_key}0"]


def test_what_cannot_be_read_is_no_damage_and_no_use() -> None:
    store, collection, objects = whole_backup()
    store.archived = {item.stored_key for item in objects[:7]}

    check = check_objects(store, BUCKET, LAYOUT, collection, objects)

    assert not check.is_damaged
    with pytest.raises(ObjectArchivedError) as caught:
        raise_if_damaged(collection, check)
    message = caught.value.message
    assert message.startswith("7 object(s) of collection books.works are archived: ")
    assert message.count(" (GLACIER)") == 5
    assert message.endswith(" and 2 more")
    assert "RestoreObject" in caught.value.hint


def test_damage_comes_before_what_cannot_be_read() -> None:
    store, collection, objects = whole_backup()
    store.archived = {objects[0].stored_key}
    store.delete(BUCKET, [objects[1].stored_key])

    with pytest.raises(BackupDamagedError, match="1 missing"):
        raise_if_damaged(collection, check_objects(store, BUCKET, LAYOUT, collection, objects))


def test_objects_of_other_collections_do_not_count() -> None:
    store, collection, objects = whole_backup()
    insert_folder, delta_folder = LAYOUT.collection_folders(collection.collection_id)
    store.put(BUCKET, f"{insert_folder.removesuffix('/')}0/1/2/2/3/4", b"")
    store.put(BUCKET, f"{delta_folder.removesuffix('/')}0/1/2/2/3", b"")

    assert check_objects(store, BUCKET, LAYOUT, collection, objects) == ObjectCheck()


def test_objects_that_nobody_listed_damage_nothing() -> None:
    _, collection, _ = whole_backup()

    raise_if_damaged(collection, ObjectCheck(extra=["a"]))


def test_the_error_counts_all_and_names_five() -> None:
    store, collection, objects = whole_backup()
    gone = sorted(item.stored_key for item in objects[:7])
    store.delete(BUCKET, gone)
    store.put(BUCKET, objects[7].stored_key, b"")
    check = check_objects(store, BUCKET, LAYOUT, collection, objects)

    with pytest.raises(BackupDamagedError) as caught:
        raise_if_damaged(collection, check)

    message = caught.value.message
    assert message.startswith("objects of collection books.works are damaged: 7 missing, 1 of another size: ")
    assert message.count(" (missing)") == 5
    assert message.endswith("and 3 more")
    assert caught.value.hint


def test_a_backup_of_metadata_has_no_objects() -> None:
    store = golden_store("golden_meta")
    layout = golden_layout("golden_meta")

    for collection in read_archive(store, BUCKET, layout).collections:
        objects = read_objects(store, BUCKET, layout, collection)

        assert objects == []
        assert check_objects(store, BUCKET, layout, collection, objects) == ObjectCheck()
