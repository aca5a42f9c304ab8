"""Two backups are compared by what they record; what is not recorded is not said to be equal."""

import json
from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest

from milvus_vault.archive import reader
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionDocument, CollectionFailure, Source
from milvus_vault.catalogue import compare, compare_backups
from milvus_vault.errors import (
    AnswerTimeoutError,
    BackupDamagedError,
    BackupFormatError,
    BackupNotFoundError,
    InvalidRequestError,
    VaultError,
)
from milvus_vault.model.collections import CollectionName, Partition
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.resources import BackupDiff, CollectionDiff, ObjectCount, ObjectDiff
from tests.support import memory_store
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import (
    BUCKET,
    COLLECTION_ID,
    PARTITION_ID,
    PREFIX,
    Contents,
    golden_layout,
    golden_store,
    sample_contents,
    write_backup,
)

A, B = BackupLayout(PREFIX, "a"), BackupLayout(PREFIX, "b")
ELSEWHERE = Source(milvus_version="v2.5.20", bucket="other", root_path="files")


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with the sample as backup `a`."""
    found = InMemoryObjectStore(BUCKET)
    write_backup(found, A, sample_contents(A))
    return found


def diff(store: InMemoryObjectStore, a: BackupLayout = A, b: BackupLayout = B, *, objects: bool = True) -> BackupDiff:
    """Return what differs between two backups, with all the time that it takes."""
    return compare_backups(store, BUCKET, a, b, with_objects=objects, has_time=lambda: True)


def described(document: CollectionDocument, **changes: Any) -> CollectionDocument:
    """Return a collection with another description."""
    return document.model_copy(update={"description": document.description.model_copy(update=changes)})


def numbered(contents: Contents, number: int) -> Contents:
    """Return the first of some collections with another ID, as it is when it is dropped and made again."""
    (document, objects), *others = contents
    moved = [
        ArchivedObject(
            item.stored_key.replace(str(COLLECTION_ID), str(number)),
            item.source_key.replace(str(COLLECTION_ID), str(number)),
            item.size_bytes, item.etag, item.checksum,
        )
        for item in objects
    ]  # fmt: skip
    return [(described(document, collection_id=number), moved), *others]


def test_a_backup_does_not_differ_from_itself(store: InMemoryObjectStore) -> None:
    found = diff(store, A, A)
    assert (found.collections, found.differing_count, found.unchanged_count) == ((), 0, 2)
    assert (found.same_source, found.notes, found.databases_added, found.databases_removed) == (True, (), (), ())
    whole = ObjectCount(object_count=found.a.object_count, size_bytes=found.a.size_bytes)
    assert found.objects == ObjectDiff(shared=whole)
    assert found.a == found.b


@pytest.mark.parametrize("one_piece", [reader.ONE_PIECE_BYTES, 0])
def test_the_same_copied_again_shares_all_objects(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch, one_piece: int
) -> None:
    monkeypatch.setattr(reader, "ONE_PIECE_BYTES", one_piece)
    monkeypatch.setattr(memory_store, "MIB", 50)
    write_backup(store, B, sample_contents(B))
    found = diff(store)
    assert (found.differing_count, found.unchanged_count) == (0, 2)
    assert found.objects is not None
    assert found.objects.shared.object_count == found.a.object_count == found.b.object_count > 0


def test_what_was_inserted_is_only_in_the_later_one(store: InMemoryObjectStore) -> None:
    contents = sample_contents(B)
    document, objects = contents[0]
    more = document.segments[0].model_copy(update={"segment_id": 7, "row_count": 11})
    stored = B.insert_log(COLLECTION_ID, PARTITION_ID, 7, 7, 0, 5)
    log = ArchivedObject(stored, f"files/insert_log/{COLLECTION_ID}/{PARTITION_ID}/7/0/5", 99, "new")
    partitions = (*document.description.partitions, Partition(partition_id=9, name="south"))
    contents[0] = (
        described(document, partitions=partitions).model_copy(
            update={"segments": (*document.segments, more), "live_row_count": 108}
        ),
        [*objects, log],
    )
    write_backup(store, B, contents, databases=("default", "books", "new"))
    found = diff(store)

    (works,) = found.collections
    assert works.a is not None
    assert works.b is not None
    assert (works.change, works.a.row_count, works.b.row_count) == ("changed", 105, 116)
    assert (works.a.live_row_count, works.b.live_row_count) == (97, 108)
    assert (works.partitions_added, works.partitions_removed, works.settings) == (("south",), (), ())
    assert works.objects is not None
    assert works.objects.only_in_b == ObjectCount(object_count=1, size_bytes=99)
    assert works.objects.only_in_a == ObjectCount()
    assert works.objects.shared.object_count == len(objects)
    assert (found.unchanged_count, found.databases_added, found.objects) == (1, ("new",), works.objects)
    assert mirror(diff(store, B, A)) == found


def mirror(found: BackupDiff) -> BackupDiff:
    """Return a comparison the other way round."""
    turned: dict[str, Any] = {"added": "removed", "removed": "added"}

    def objects(of: ObjectDiff | None) -> ObjectDiff | None:
        return of and of.model_copy(update={"only_in_a": of.only_in_b, "only_in_b": of.only_in_a})

    def one(of: CollectionDiff) -> CollectionDiff:
        settings = tuple(
            s.model_copy(update={"a": s.b, "b": s.a, "change": turned.get(s.change, s.change)}) for s in of.settings
        )
        return of.model_copy(
            update={
                "a": of.b, "b": of.a, "change": turned.get(of.change, of.change), "settings": settings,
                "partitions_added": of.partitions_removed, "partitions_removed": of.partitions_added,
                "objects": objects(of.objects),
            }
        )  # fmt: skip

    return found.model_copy(
        update={
            "a": found.b, "b": found.a, "objects": objects(found.objects),
            "databases_added": found.databases_removed, "databases_removed": found.databases_added,
            "collections": tuple(one(of) for of in found.collections), "notes": found.notes[::-1],
        }
    )  # fmt: skip


def test_collections_come_go_and_get_other_names_and_ids(store: InMemoryObjectStore) -> None:
    (works, objects), (empty, none) = sample_contents(B)
    renamed = described(empty, name=CollectionName(database="default", name="void"))
    made_again = numbered([(works, objects)], 77)[0]
    added = described(empty, collection_id=78, name=CollectionName(database="default", name="new"))
    write_backup(store, B, [made_again, (renamed, none), (added, none)])
    found = diff(store)

    told = [(c.change, c.a and c.a.name, c.b and c.b.name) for c in found.collections]
    assert told == [("replaced", "works", "works"), ("renamed", "empty", "void"), ("added", None, "new")]
    replaced = found.collections[0]
    assert replaced.a is not None
    assert replaced.b is not None
    assert (replaced.a.collection_id, replaced.b.collection_id) == (COLLECTION_ID, 77)
    # Its objects are others, whatever they hold.
    assert replaced.objects is not None
    assert replaced.objects.shared.object_count == 0
    assert replaced.objects.only_in_a.object_count == replaced.objects.only_in_b.object_count == len(objects)
    # Sorted by the name that each has first, so that only the order differs.
    back = mirror(diff(store, B, A))
    assert sorted(back.collections, key=repr) == sorted(found.collections, key=repr)
    assert (back.objects, back.unchanged_count) == (found.objects, 0)


def test_a_collection_whose_name_another_one_took_is_renamed_and_the_other_is_new(store: InMemoryObjectStore) -> None:
    (works, objects), (empty, none) = sample_contents(B)
    taken = described(works, name=CollectionName(database="books", name="archived_works"))
    new = described(empty, collection_id=78, name=CollectionName(database="books", name="works"))
    write_backup(store, B, [(taken, objects), (new, none), (empty, none)])
    assert [(c.change, c.a and c.a.name, c.b and c.b.name) for c in diff(store).collections] == [
        ("renamed", "works", "archived_works"),
        ("added", None, "works"),
    ]


def test_one_that_a_partial_backup_lacks_is_told_with_its_error(store: InMemoryObjectStore) -> None:
    failure = CollectionFailure(
        name=CollectionName(database="books", name="works"), error="CopyIncompleteError", message="gone"
    )
    write_backup(store, B, sample_contents(B)[1:], failures=(failure,))
    assert [(c.change, c.failure) for c in diff(store).collections] == [("removed", "CopyIncompleteError")]
    assert [(c.change, c.failure) for c in diff(store, B, A).collections] == [("added", "CopyIncompleteError")]


def test_without_object_lists_only_documents_are_read(store: InMemoryObjectStore) -> None:
    contents = sample_contents(B)
    contents[0] = (contents[0][0], contents[0][1][1:])
    write_backup(store, B, contents)
    asked: list[str] = []
    store.before = lambda _, __, key: asked.append(key)
    found = diff(store, objects=False)
    assert not [key for key in asked if "/objects/" in key]
    (works,) = found.collections
    assert (works.change, works.objects, found.objects) == ("changed", None, None)


def test_objects_of_another_bucket_are_others(store: InMemoryObjectStore) -> None:
    write_backup(store, B, sample_contents(B), source=ELSEWHERE)
    found = diff(store)
    assert found.same_source is False
    assert found.objects is not None
    assert (found.objects.shared.object_count, found.objects.only_in_a.object_count) == (0, found.a.object_count)


def test_an_upgraded_milvus_is_the_same(store: InMemoryObjectStore) -> None:
    write_backup(
        store, B, sample_contents(B), source=Source(milvus_version="v2.6.1", bucket="milvus", root_path="files/")
    )
    found = diff(store)
    assert (found.same_source, found.differing_count, found.b.milvus_version) == (True, 0, "v2.6.1")


def test_under_kms_checksums_tell_what_is_shared(store: InMemoryObjectStore) -> None:
    contents = [
        (document, [ArchivedObject(o.stored_key, o.source_key, o.size_bytes, f"kms-{n}", o.checksum)
                    for n, o in enumerate(objects)])
        for document, objects in sample_contents(B)
    ]  # fmt: skip
    write_backup(store, B, contents)
    found = diff(store)
    assert found.objects is not None
    has_none = sum(not item.checksum for _, objects in contents for item in objects)
    assert found.objects.only_in_a.object_count == has_none > 0
    assert found.objects.shared.object_count == found.a.object_count - has_none


def as_of_milvus_backup(store: InMemoryObjectStore, layout: BackupLayout) -> None:
    """Take from a backup of ours what milvus-backup does not write."""
    marker = json.loads(store.get(BUCKET, layout.marker))
    del marker["vault"]
    store.put(BUCKET, layout.marker, json.dumps(marker).encode())
    store.delete(BUCKET, [o.key for o in store.list_objects(BUCKET, layout.vault(""))])


def test_of_a_backup_of_milvus_backup_it_is_not_known_whether_objects_are_the_same(store: InMemoryObjectStore) -> None:
    write_backup(store, B, sample_contents(B))
    as_of_milvus_backup(store, B)
    found = diff(store)
    assert (found.same_source, found.b.origin, found.unchanged_count) == (None, "milvus-backup", 1)
    (note,) = found.notes
    assert note.startswith("milvus-backup, which made b, records neither bucket nor ETags")
    (works,) = found.collections
    assert (works.change, works.settings) == ("unknown", ())
    whole = ObjectCount(object_count=found.a.object_count, size_bytes=found.a.size_bytes)
    assert found.objects == ObjectDiff(unknown=whole)
    assert mirror(diff(store, B, A)) == found
    assert diff(store, objects=False).collections == ()


def test_two_archives_of_milvus_backup_are_compared_as_far_as_they_go() -> None:
    store = golden_store("golden_2_4", "golden_2_5")
    a, b = golden_layout("golden_2_4"), golden_layout("golden_2_5")
    found = diff(store, a, b)
    assert [note.partition(", records")[0] for note in found.notes] == [
        "milvus-backup, which made golden_2_4 and golden_2_5"
    ]
    assert found.same_source is None
    assert found.objects is not None
    assert found.objects.shared.object_count == 0
    itself = diff(store, a, a)
    assert itself.objects is not None
    assert (itself.objects.unknown.object_count, itself.objects.shared.object_count) == (itself.a.object_count, 0)
    assert {c.change for c in itself.collections} <= {"unknown"}


def test_numbers_that_add_up_to_what_no_backup_can_have_are_damage(store: InMemoryObjectStore) -> None:
    contents = sample_contents(B)
    document, objects = contents[0]
    odd = objects[0]._replace(stored_key=objects[0].stored_key + "1", source_key=objects[0].source_key + "1")
    write_backup(store, B, [(document, [*objects, odd._replace(size_bytes=-1)]), contents[1]])
    with pytest.raises(BackupDamagedError, match="the metadata of backup 'a or b' says what no backup can be"):
        diff(store)


def replace_body(store: InMemoryObjectStore, key: str, change: Callable[[bytes], bytes]) -> None:
    """Write an object anew."""
    store.put(BUCKET, key, change(store.get(BUCKET, key)))


LIST = B.object_list(COLLECTION_ID)


@pytest.mark.parametrize(
    ("damage", "error", "said"),
    [
        (lambda s: s.delete(BUCKET, [B.collection_document(COLLECTION_ID)]), BackupDamagedError, "is missing from"),
        (lambda s: s.delete(BUCKET, [LIST]), BackupDamagedError, f"{LIST} is missing from backup 'b'"),
        (lambda s: replace_body(s, LIST, lambda b: b[:-1]), BackupDamagedError, "bytes instead of"),
        (lambda s: replace_body(s, LIST, lambda b: b.replace(b"CRC64", b"CRC65")), BackupDamagedError, "SHA-256"),
        (lambda s: replace_body(s, LIST, lambda b: b[1:]), BackupDamagedError, "cannot be read|bytes instead of"),
        (lambda s: s.delete(BUCKET, [B.marker]), BackupDamagedError, "lost its marker"),
        (
            lambda s: replace_body(s, B.marker, lambda b: b.replace(b'"format_version":2', b'"format_version":9')),
            BackupFormatError,
            "format version 9",
        ),
        (
            lambda s: s.delete(BUCKET, [o.key for o in s.list_objects(BUCKET, B.root)]),
            BackupNotFoundError,
            "there is no backup 'b'",
        ),
    ],
)
@pytest.mark.parametrize(("turned", "one_piece"), [(False, reader.ONE_PIECE_BYTES), (True, 0)])
def test_what_cannot_be_read_is_told_by_name(
    store: InMemoryObjectStore,
    damage: Callable[[InMemoryObjectStore], None],
    error: type[VaultError],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    turned: bool,
    one_piece: int,
) -> None:
    monkeypatch.setattr(reader, "ONE_PIECE_BYTES", one_piece)
    write_backup(store, B, sample_contents(B))
    damage(store)
    with pytest.raises(error, match=said):
        diff(store, *((B, A) if turned else (A, B)))


def test_a_comparison_for_which_there_is_no_time_is_refused_by_name(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_backup(store, B, sample_contents(B))
    asked: list[str] = []
    store.before = lambda _, __, key: asked.append(key)
    monkeypatch.setattr(compare, "_LOOKED_AT_BETWEEN", 1)
    with pytest.raises(AnswerTimeoutError, match="'a' and 'b' takes longer") as caught:
        compare_backups(store, BUCKET, A, B, with_objects=True, has_time=lambda: LIST not in asked)
    assert "`objects: false`" in caught.value.hint
    with pytest.raises(AnswerTimeoutError, match="takes longer") as caught:
        compare_backups(store, BUCKET, A, B, with_objects=False, has_time=lambda: False)
    assert "`objects: false`" not in caught.value.hint

    monkeypatch.setattr(compare, "LONGEST_HELD", 10)
    asked.clear()
    with pytest.raises(AnswerTimeoutError, match="takes longer"):
        diff(store)
    assert LIST not in asked
    assert diff(store, objects=False).unchanged_count == 2


def test_the_shorter_list_is_held_whichever_it_is(store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = sample_contents(B)
    contents[0] = (contents[0][0], contents[0][1][:3])
    write_backup(store, B, contents)
    monkeypatch.setattr(compare, "LONGEST_HELD", 3)
    monkeypatch.setattr(compare, "SHORT_LIST", 0)
    found, back = diff(store), diff(store, B, A)
    assert mirror(back) == found
    assert found.objects is not None
    assert (found.objects.shared.object_count, found.objects.only_in_b.object_count) == (3, 0)


def in_parts(store: InMemoryObjectStore, has_time: Callable[[], bool]) -> list[BackupDiff]:
    """Return all answers of a comparison, one after the other."""
    parts = [compare_backups(store, BUCKET, A, B, with_objects=True, has_time=has_time)]
    while token := parts[-1].next_token:
        parts.append(compare_backups(store, BUCKET, A, B, with_objects=True, token=token, has_time=has_time))
        assert len(parts) < 10
    return parts


@pytest.mark.parametrize("contents", [[], [sample_contents(B)[1]]])
def test_what_is_too_much_for_one_answer_is_told_by_several(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch, contents: Contents
) -> None:
    write_backup(store, B, contents)
    whole = diff(store)
    monkeypatch.setattr(compare, "ANSWER_BYTES", 1)
    parts = in_parts(store, lambda: True)
    assert [len(part.collections) for part in parts] == [1] * (2 - len(contents))
    told = tuple(one for part in parts for one in part.collections)
    assert parts[-1].model_copy(update={"collections": told}) == whole
    assert [part.differing_count + part.unchanged_count for part in parts] == [1, 2][-len(parts) :]


def test_what_there_is_no_time_for_the_next_answer_tells(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "each", lambda work, pairs: (work(pair) for pair in pairs))
    write_backup(store, B, [])
    # The clock is looked at before each collection.
    looks = cycle([True, False])
    parts = in_parts(store, lambda: next(looks))
    assert [(part.differing_count, part.next_token is None) for part in parts] == [(1, False), (2, True)]
    assert parts[-1].objects == diff(store).objects


def test_a_token_that_is_none_is_refused(store: InMemoryObjectStore) -> None:
    write_backup(store, B, [])
    with pytest.raises(InvalidRequestError, match="not one of this list"):
        compare_backups(store, BUCKET, A, B, with_objects=True, token="x", has_time=lambda: True)
