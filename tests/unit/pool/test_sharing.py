"""What an incremental backup takes from the pool, and what it copies."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import CollectionDocument, Manifest, Source, entry_of, write_object_list
from milvus_vault.archive.pool import PooledKey, PoolLayout, content_of, group_of, parse_pooled_key
from milvus_vault.archive.reference_writer import marker_file
from milvus_vault.errors import (
    ConditionalWriteUnsupportedError,
    RunTakenOverError,
    WorkingFileError,
)
from milvus_vault.model.objects import ArchivedObject, CopyItem, CopyJob, ListedObject
from milvus_vault.pool.condemned import Condemned
from milvus_vault.pool.sharing import BaseLists, Place, Pool, ranges
from milvus_vault.pool.users import PoolUse, PoolUser
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.support.short_pages import SortedStore, shorten
from tests.unit.archive.samples import sample_contents

SOURCE, BACKUPS, PREFIX = "milvus", "backups", "nightly"
COLLECTION = 7
FROM = Source(milvus_version="v2.3.5", bucket=SOURCE, root_path="files")
LAYOUT = PoolLayout(PREFIX)
GROUP = group_of(SOURCE, "files", COLLECTION)


def log(number: int) -> str:
    return f"files/insert_log/{COLLECTION}/8/9/100/{number}"


def filled(store: InMemoryObjectStore, *numbers: int) -> list[ListedObject]:
    """Write logs of Milvus', and return what a listing shows of them."""
    for number in numbers:
        store.put(SOURCE, log(number), b"log %d" % number)
    return sorted(store.list_objects(SOURCE, "files/"), key=lambda listed: listed.key)


def pool(store: InMemoryObjectStore, attempt: str = "aaaaaaaa", bases: Sequence[str] = ()) -> Pool:
    return Pool(store, BACKUPS, PREFIX, FROM, attempt, tuple(bases))


def copied(store: InMemoryObjectStore, places: Iterable[Place]) -> list[ArchivedObject]:
    """Copy what is to be copied, and return all objects as a backup lists them."""
    objects = []
    for place in places:
        if place.shared is not None:
            objects.append(place.shared)
            continue
        item = CopyItem(place.listed.key, place.key, place.listed.size_bytes, place.listed.etag)
        done = store.copy(CopyJob(source_bucket=SOURCE, destination_bucket=BACKUPS), item)
        objects.append(ArchivedObject(place.key, item.source_key, item.size_bytes, done.etag, done.checksum))
    return objects


def keys(places: Iterable[Place]) -> tuple[list[str], list[str]]:
    """Return the keys of what is shared, and of what is to be copied."""
    found = list(places)
    return [p.key for p in found if p.shared], [p.key for p in found if not p.shared]


def test_an_object_is_shared_by_what_identifies_it() -> None:
    store = InMemoryObjectStore(SOURCE, BACKUPS)
    objects = filled(store, 1, 2)
    first = copied(store, pool(store).places(COLLECTION, objects))
    (one, two) = (parse_pooled_key(item.stored_key) for item in first)
    assert one == PooledKey(GROUP, 9, content_of(SOURCE, objects[0]), "aaaaaaaa")
    assert two is not None
    assert one != two

    shared, to_copy = keys(pool(store, "bbbbbbbb").places(COLLECTION, objects))
    assert (shared, to_copy) == ([item.stored_key for item in first], [])

    # The same key with another content, as of a Milvus that was installed anew: nothing is shared.
    store.put(SOURCE, log(1), b"log of another Milvus")
    again = filled(store)
    shared, to_copy = keys(pool(store, "bbbbbbbb").places(COLLECTION, again))
    assert shared == [first[1].stored_key]
    assert [parse_pooled_key(key) for key in to_copy] == [PooledKey(GROUP, 9, content_of(SOURCE, again[0]), "bbbbbbbb")]


@pytest.mark.parametrize("other", [Source(milvus_version="v2.3.5", bucket=SOURCE, root_path="other")])
def test_another_milvus_shares_nothing(other: Source) -> None:
    store = InMemoryObjectStore(SOURCE, BACKUPS)
    objects = filled(store, 1)
    copied(store, pool(store).places(COLLECTION, objects))
    elsewhere = Pool(store, BACKUPS, PREFIX, other, "bbbbbbbb", ())
    assert keys(elsewhere.places(COLLECTION, objects))[0] == []


def test_one_listing_tells_of_a_collection() -> None:
    store = InMemoryObjectStore(SOURCE, BACKUPS)
    objects = filled(store, *range(50))
    copied(store, pool(store).places(COLLECTION, objects))
    store.requests.clear()
    assert len(list(pool(store, "bbbbbbbb").places(COLLECTION, objects))) == 50
    assert store.requests == {"list_objects": 1, "get": 1}
    store.requests.clear()
    assert not list(pool(store, "bbbbbbbb").places(COLLECTION, []))
    assert not store.requests


@pytest.mark.parametrize("how", ["size", "etag", "archived"])
def test_what_is_not_as_it_was_is_copied_anew(how: str) -> None:
    store = InMemoryObjectStore(SOURCE, BACKUPS)
    objects = filled(store, 1)
    (there,) = copied(store, pool(store).places(COLLECTION, objects))
    if how == "archived":
        store.archived.add(there.stored_key)
    else:
        store.put(BACKUPS, there.stored_key, b"log" if how == "size" else b"log 9")
    shared, (to_copy,) = keys(pool(store, "bbbbbbbb").places(COLLECTION, objects))
    assert not shared
    assert to_copy.endswith("-bbbbbbbb")


def test_what_has_another_content_below_its_etag_is_not_shared_until_it_is_written_anew() -> None:
    store = InMemoryObjectStore(SOURCE, BACKUPS)
    objects = filled(store, 1, 2)
    one, two = copied(store, pool(store).places(COLLECTION, objects))
    damaged = {one.stored_key: datetime.now(UTC)}

    def later(attempt: str) -> Pool:
        return Pool(store, BACKUPS, PREFIX, FROM, attempt, (), damaged)

    shared, to_copy = keys(later("bbbbbbbb").places(COLLECTION, objects))
    # Not to where it lies: what has the right ETag there counts as copied.
    assert (shared, to_copy) == ([two.stored_key], [one.stored_key.replace("aaaaaaaa", "bbbbbbbb")])

    new = copied(store, later("bbbbbbbb").places(COLLECTION, objects))
    shared, to_copy = keys(later("cccccccc").places(COLLECTION, objects))
    assert (set(shared), to_copy) == ({item.stored_key for item in new}, [])
    store.delete(BACKUPS, [new[0].stored_key])
    store.put(BACKUPS, one.stored_key, store.get(BACKUPS, one.stored_key))
    assert one.stored_key in keys(later("cccccccc").places(COLLECTION, objects))[0]


def test_what_is_condemned_is_copied_anew() -> None:
    store = InMemoryObjectStore(SOURCE, BACKUPS)
    objects = filled(store, 1, 2)
    one, two = copied(store, pool(store).places(COLLECTION, objects))
    condemned = Condemned(turn="one", keys=(one.stored_key.partition(f"{GROUP}/")[2],))
    store.put(BACKUPS, LAYOUT.condemned(GROUP), condemned.model_dump_json().encode())
    shared, (to_copy,) = keys(pool(store, "bbbbbbbb").places(COLLECTION, objects))
    assert shared == [two.stored_key]
    assert to_copy == one.stored_key.replace("aaaaaaaa", "bbbbbbbb")

    store.put(BACKUPS, LAYOUT.condemned(GROUP), b"{")
    with pytest.raises(WorkingFileError, match="about to be deleted of the pool, cannot be read"):
        list(pool(store).places(COLLECTION, objects))


def test_what_is_condemned_is_looked_up_before_the_pool_is_listed() -> None:
    store = InMemoryObjectStore(SOURCE, BACKUPS)
    objects = filled(store, 1)
    copied(store, pool(store).places(COLLECTION, objects))
    seen: list[str] = []
    store.before = lambda operation, _, key: seen.append(f"{operation} {key}")
    list(pool(store, "bbbbbbbb").places(COLLECTION, objects))
    assert seen == [f"get {LAYOUT.condemned(GROUP)}", f"list_objects {LAYOUT.folder(GROUP)}"]


class TestRecorded:
    """Under KMS every copy has an ETag of its own, which only the backup that made it has recorded."""

    @pytest.fixture
    def store(self) -> InMemoryObjectStore:
        return InMemoryObjectStore(SOURCE, BACKUPS, has_random_etags=True)

    def recorded(self, store: InMemoryObjectStore, name: str, objects: list[ArchivedObject]) -> None:
        """Write a backup that lists objects of the collection."""
        layout = BackupLayout(PREFIX, name)
        sample, _ = sample_contents(layout)[0]
        description = sample.description.model_copy(update={"collection_id": COLLECTION})
        document = CollectionDocument(description=description, segments=())
        body, listed = document.model_dump_json().encode(), write_object_list(objects)
        now = datetime(2026, 11, 22, tzinfo=UTC)
        manifest = Manifest(
            backup_name=name,
            backup_id="one",
            created_by="milvus-vault",
            execution_arn="",
            started_at=now,
            finished_at=now,
            mode="incremental",
            source=FROM,
            databases=(),
            collections=(entry_of(layout, document, body, listed),),
            object_count=len(objects),
            size_bytes=0,
        )
        store.put(BACKUPS, layout.collection_document(COLLECTION), body)
        store.put(BACKUPS, layout.object_list(COLLECTION), listed)
        store.put(BACKUPS, layout.manifest, manifest.model_dump_json().encode())
        store.put(BACKUPS, layout.marker, marker_file(manifest, store.get(BACKUPS, layout.manifest)))

    def test_a_group_of_which_many_objects_are_recorded_is_listed_in_spans(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = SortedStore(SOURCE, BACKUPS)
        objects = filled(store, *range(9))
        first = copied(store, pool(store).places(COLLECTION, objects))
        self.recorded(store, "base", first)
        shorten(monkeypatch)
        shared, to_copy = keys(pool(store, "bbbbbbbb", ["base"]).places(COLLECTION, objects))
        there = sorted(item.stored_key for item in first)
        assert (sorted(shared), to_copy) == (there, [])
        assert store.cuts == [there[1], there[5]]

    def test_it_is_shared_by_the_recorded_etag_with_its_checksum(self, store: InMemoryObjectStore) -> None:
        objects = filled(store, 1, 2)
        first = copied(store, pool(store).places(COLLECTION, objects))
        assert keys(pool(store, "bbbbbbbb").places(COLLECTION, objects))[0] == []
        self.recorded(store, "base", first)
        places = list(pool(store, "bbbbbbbb", ["gone", "base"]).places(COLLECTION, objects))
        assert [place.shared for place in places] == first
        assert all(item.checksum for item in first)

    @pytest.mark.parametrize("one_piece_bytes", [0, 2**20])
    def test_a_damaged_list_is_not_believed_and_the_next_backup_is(
        self, store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch, one_piece_bytes: int
    ) -> None:
        monkeypatch.setattr("milvus_vault.archive.reader.ONE_PIECE_BYTES", one_piece_bytes)
        objects = filled(store, 1, 2)
        first = copied(store, pool(store).places(COLLECTION, objects))
        self.recorded(store, "newer", first)
        self.recorded(store, "older", first[1:])
        listed = BackupLayout(PREFIX, "newer").object_list(COLLECTION)
        # The damage is in the last line, behind one that would be believed.
        store.put(BACKUPS, listed, store.get(BACKUPS, listed).replace(b'"]\n', b'?"]\n')[:-2] + b"\n")

        places = list(pool(store, "bbbbbbbb", ["newer", "older"]).places(COLLECTION, objects))

        assert [place.shared for place in places] == [None, *first[1:]]
        assert [place.is_lost for place in places] == [False, False]

    def test_what_is_not_as_recorded_is_copied_to_a_key_of_its_own(self, store: InMemoryObjectStore) -> None:
        objects = filled(store, 1)
        (there,) = copied(store, pool(store).places(COLLECTION, objects))
        self.recorded(store, "base", [there])
        store.put(BACKUPS, there.stored_key, b"log 1")
        (place,) = pool(store, "bbbbbbbb", ["base"]).places(COLLECTION, objects)
        assert (place.shared, place.is_lost) == (None, True)
        assert place.key.endswith("-bbbbbbbb")

    def test_only_what_a_backup_recorded_can_be_lost(self, store: InMemoryObjectStore) -> None:
        objects = filled(store, 1, 2, 3)
        there, gone, condemned = copied(store, pool(store).places(COLLECTION, objects))
        self.recorded(store, "base", [there, gone, condemned])
        store.delete(BACKUPS, [gone.stored_key, condemned.stored_key])
        listed = Condemned(turn="one", keys=(condemned.stored_key.partition(f"{GROUP}/")[2],))
        store.put(BACKUPS, LAYOUT.condemned(GROUP), listed.model_dump_json().encode())
        places = pool(store, "bbbbbbbb", ["base"]).places(COLLECTION, filled(store, 4))
        assert [place.is_lost for place in places] == [False, True, False, False]

    def test_batches_of_one_process_read_the_manifest_of_a_base_once(self, store: InMemoryObjectStore) -> None:
        objects = filled(store, 1, 2)
        first = copied(store, pool(store).places(COLLECTION, objects))
        self.recorded(store, "base", first[:1])
        manifest, kept = BackupLayout(PREFIX, "base").manifest, BaseLists()
        read: list[str] = []
        store.before = lambda operation, _, key: read.append(key) if operation == "get" else None

        def shared() -> list[ArchivedObject | None]:
            batch = Pool(store, BACKUPS, PREFIX, FROM, "bbbbbbbb", ("base",), base_lists=kept)
            places = [*batch.places(COLLECTION, objects)]
            assert [place.shared for place in batch.places(COLLECTION, objects)] == [place.shared for place in places]
            return [place.shared for place in places]

        assert [shared() for _ in range(3)] == 3 * [[first[0], None]]
        assert read.count(manifest) == 1
        # Deleted, and made anew by the same name.
        self.recorded(store, "base", first)
        read.clear()
        assert [shared() for _ in range(2)] == 2 * [first]
        assert read.count(manifest) == 1

    def test_a_manifest_that_was_repaired_is_believed(self, store: InMemoryObjectStore) -> None:
        objects = filled(store, 1)
        first = copied(store, pool(store).places(COLLECTION, objects))
        self.recorded(store, "base", first)
        manifest, kept = BackupLayout(PREFIX, "base").manifest, BaseLists()
        whole = store.get(BACKUPS, manifest)
        for body, shared in ((b"{}", []), (whole, [first[0].stored_key])):
            store.put(BACKUPS, manifest, body)
            batch = Pool(store, BACKUPS, PREFIX, FROM, "bbbbbbbb", ("base",), base_lists=kept)
            assert keys(batch.places(COLLECTION, objects))[0] == shared

    def test_no_more_bases_are_kept_than_a_backup_has(self, store: InMemoryObjectStore) -> None:
        first = copied(store, pool(store).places(COLLECTION, filled(store, 1)))
        names, kept = ["one", "two", "three", "four"], BaseLists()
        for name in names:
            self.recorded(store, name, first)
        read: list[str] = []
        store.before = lambda operation, _, key: read.append(key) if operation == "get" else None
        for name in [*names, *names[1:], names[0]]:
            assert set(kept.find(store, BACKUPS, BackupLayout(PREFIX, name))) == {GROUP}
        counts = {name: read.count(BackupLayout(PREFIX, name).manifest) for name in names}
        assert counts == {"one": 2, "two": 1, "three": 1, "four": 1}

    @pytest.mark.parametrize("damage", ["list", "manifest"])
    def test_a_damaged_backup_records_nothing(self, store: InMemoryObjectStore, damage: str) -> None:
        objects = filled(store, 1)
        self.recorded(store, "base", copied(store, pool(store).places(COLLECTION, objects)))
        layout = BackupLayout(PREFIX, "base")
        store.put(BACKUPS, layout.manifest if damage == "manifest" else layout.object_list(COLLECTION), b"{}")
        assert keys(pool(store, "bbbbbbbb", ["base"]).places(COLLECTION, objects))[0] == []


class TestUse:
    """The note of an attempt that uses the pool."""

    ARN = "arn:aws:states:us-east-1:000000000000:execution:backup:one"

    @pytest.fixture
    def store(self) -> InMemoryObjectStore:
        return InMemoryObjectStore(BACKUPS)

    @pytest.fixture
    def use(self, store: InMemoryObjectStore) -> PoolUse:
        return PoolUse(Workspace(store, BACKUPS, PREFIX, "backup-books"), self.ARN)

    def notes(self, store: InMemoryObjectStore) -> list[PoolUser]:
        found = store.list_objects(BACKUPS, LAYOUT.users)
        return [PoolUser.model_validate_json(store.get(BACKUPS, listed.key)) for listed in found]

    def test_it_is_there_from_the_beginning_to_the_end(self, store: InMemoryObjectStore, use: PoolUse) -> None:
        use.begin()
        use.begin()
        assert [(note.run, note.state) for note in self.notes(store)] == [("backup-books", "working")]
        use.publish()
        use.publish()
        assert [note.state for note in self.notes(store)] == ["publishing"]
        use.end()
        assert not self.notes(store)

    @pytest.mark.parametrize("how", ["void", "removed", "unreadable"])
    def test_who_was_taken_for_dead_does_not_publish(self, store: InMemoryObjectStore, use: PoolUse, how: str) -> None:
        use.begin()
        (key,) = (listed.key for listed in store.list_objects(BACKUPS, LAYOUT.users))
        if how == "removed":
            store.delete(BACKUPS, [key])
        else:
            void = PoolUser(run="backup-books", execution_arn=self.ARN, state="void").model_dump_json().encode()
            store.put(BACKUPS, key, void if how == "void" else b"{")
        error = WorkingFileError if how == "unreadable" else RunTakenOverError
        with pytest.raises(error, match="cannot be read" if how == "unreadable" else "was taken for dead"):
            use.publish()

    @pytest.mark.parametrize("state", ["void", "publishing"])
    def test_of_a_sweep_and_an_attempt_that_both_change_the_note_one_loses(
        self, store: InMemoryObjectStore, use: PoolUse, state: Literal["void", "publishing"]
    ) -> None:
        """Two functions of one attempt both publish."""
        use.begin()
        (key,) = (listed.key for listed in store.list_objects(BACKUPS, LAYOUT.users))

        def void(operation: str, _: str, changed: str) -> None:
            if (operation, changed) == ("put", key):
                store.before = lambda *_: None
                store.put(BACKUPS, key, note(state).encode())

        def note(state: Literal["void", "publishing"]) -> str:
            return PoolUser(run="backup-books", execution_arn=self.ARN, state=state).model_dump_json()

        store.before = void
        with pytest.raises(RunTakenOverError) if state == "void" else nullcontext():
            use.publish()

    def test_who_finds_its_note_gone_has_published_or_was_taken_for_dead(self, use: PoolUse) -> None:
        """Another function of the execution has removed it, or a sweep has."""
        use.publish(lambda: True)
        with pytest.raises(RunTakenOverError):
            use.publish(lambda: False)

    def test_an_s3_that_heeds_no_condition_is_refused(self, use: PoolUse, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("put_if_absent", "put_if_unchanged"):
            with monkeypatch.context() as patch:
                patch.setattr(InMemoryObjectStore, name, lambda *_: True)
                with pytest.raises(ConditionalWriteUnsupportedError, match="in spite of a condition"):
                    use.begin()


@pytest.mark.parametrize(
    "key",
    [
        "nightly/.pool/0123456789ab-7/0000000000000009/0123456789abcdef0123456789abcdef",
        "nightly/.pool/.users/backup-books/aaaaaaaa.json",
        "nightly/books/binlogs/insert_log/7/8/9/9/100/1",
        "nightly/.pool/0123456789ab-7/9/0123456789abcdef0123456789abcdef-aaaaaaaa",
    ],
)
def test_other_keys_are_not_taken_for_pooled_ones(key: str) -> None:
    assert parse_pooled_key(key) is None


@pytest.mark.parametrize("prefix", ["", "nightly", "a/b"])
def test_a_key_is_read_as_it_was_written_in_every_place(prefix: str) -> None:
    pooled = PooledKey(GROUP, 470642820001452545, "0123456789abcdef" * 2, "aaaaaaaa")
    key = PoolLayout(prefix).key(pooled)
    assert parse_pooled_key(key) == pooled
    assert BackupLayout("elsewhere", "books").here(key) == PoolLayout("elsewhere").key(pooled)


def in_pool(segment: int, number: int) -> str:
    return LAYOUT.key(PooledKey(GROUP, segment, f"{number:032x}", "aaaaaaaa"))


def requests(prefixes: Sequence[str], there: Sequence[str]) -> int:
    """Return how many requests list what is there below some prefixes."""
    return sum(max(1, -(-sum(key.startswith(prefix) for key in there) // 1000)) for prefix in prefixes)


def test_new_segments_are_listed_without_the_old_ones() -> None:
    old = [in_pool(0x067E000000000000 + (day << 44) + n, 0) for day in range(8) for n in range(1000)]
    new = [in_pool(0x067E800000000000 + n, 0) for n in range(1500)]
    found = ranges(LAYOUT.folder(GROUP), new, old)
    assert found == (f"{LAYOUT.folder(GROUP)}067e8",)
    assert requests(found, [*old, *new]) == 2
    assert ranges(LAYOUT.folder(GROUP), (), old) == ()


def test_a_segment_with_many_logs_is_listed_as_a_whole() -> None:
    old, new = [in_pool(8, n) for n in range(3000)], [in_pool(9, n) for n in range(0, 4000, 2)]
    beside = [in_pool(9, n) for n in range(1, 4000, 2)]
    assert ranges(LAYOUT.folder(GROUP), new, [*old, *beside]) == (f"{LAYOUT.folder(GROUP)}{9:016x}",)


def test_where_what_is_new_lies_everywhere_the_group_is_listed() -> None:
    segments = [number << 40 for number in range(256)]
    old = [in_pool(segment, number) for segment in segments for number in range(8)]
    assert ranges(LAYOUT.folder(GROUP), [in_pool(s, 9) for s in segments], old) == (LAYOUT.folder(GROUP),)


@given(
    st.lists(st.integers(0, 15).map(lambda digit: digit << 60), max_size=6),
    st.lists(st.integers(0, 2**63), min_size=1, max_size=6),
    st.integers(1, 400),
)
def test_ranges_find_all_that_is_new_with_no_more_requests(old: list[int], new: list[int], logs: int) -> None:
    others = [in_pool(segment, number) for segment in old for number in range(logs)]
    fresh = [in_pool(segment, 1000) for segment in new]
    found = ranges(LAYOUT.folder(GROUP), fresh, others)
    assert all(sum(key.startswith(prefix) for prefix in found) == 1 for key in fresh)
    assert all(prefix.startswith(LAYOUT.folder(GROUP)) for prefix in found)
    assert requests(found, [*others, *fresh]) <= requests([LAYOUT.folder(GROUP)], [*others, *fresh])
