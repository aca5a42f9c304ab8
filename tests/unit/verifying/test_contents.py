"""A backup that was copied to where its objects have other ETags is as good as before, once it was compared."""

import hashlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milvus_vault.archive.check import check_objects, raise_if_damaged
from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.other_etags import has_recorded_content
from milvus_vault.archive.reader import read_archive, read_objects
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.copying.parts import MIB
from milvus_vault.errors import BackupDamagedError, BackupNotFoundError, ObjectChangedError
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.verifying.contents import STOP_SECONDS, Comparison, ContentComparison
from milvus_vault.verifying.verify import BackupVerification
from milvus_vault.verifying.working_files import VerifyProgress
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, golden_layout, golden_store, sample_contents, write_backup
from tests.unit.test_claims import FakeExecutions
from tests.unit.verifying.logs import NOW

LAYOUT = BackupLayout(PREFIX, "books")


def body_of(item: ArchivedObject) -> bytes:
    """Return some content for an object, of the size that its list says."""
    return (item.stored_key.encode() * item.size_bytes)[: item.size_bytes]


@pytest.fixture
def replica() -> InMemoryObjectStore:
    """A bucket under KMS, to which a backup was copied: each object has an ETag that its content does not make."""
    origin = InMemoryObjectStore(BUCKET)
    contents = []
    for document, objects in sample_contents(LAYOUT):
        listed = [o._replace(etag=md5(body_of(o)), checksum="") for o in objects]
        contents.append((document, listed))
    write_backup(origin, LAYOUT, contents)
    for item in (item for _, objects in contents for item in objects):
        origin.put(BUCKET, item.stored_key, body_of(item))
    copy = InMemoryObjectStore(BUCKET, has_random_etags=True)
    for key, found in origin.buckets[BUCKET].items():
        copy.put(BUCKET, key, found.body)
    return copy


def md5(body: bytes) -> str:
    """Return the ETag of an object that was written as a whole."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def compare(store: InMemoryObjectStore, seconds_left: Callable[[], float] = lambda: 900.0) -> Comparison:
    """Compare in one invocation."""
    return ContentComparison(Workspace(store, BUCKET, PREFIX, "verify-me"), LAYOUT, seconds_left).compare()


def verify(store: InMemoryObjectStore, execution: str = "then") -> VerifyProgress:
    """Verify the backup as it is."""
    run = Workspace(store, BUCKET, PREFIX, f"verify-{execution}")
    return BackupVerification(run, LAYOUT, FakeExecutions(), execution, lambda: 900.0, NOW).verify()


def check(store: InMemoryObjectStore) -> None:
    """Check the objects as a restore does."""
    for collection in read_archive(store, BUCKET, LAYOUT).collections:
        objects = read_objects(store, BUCKET, LAYOUT, collection)
        raise_if_damaged(collection, check_objects(store, BUCKET, LAYOUT, collection, objects))


def logs(store: InMemoryObjectStore) -> list[str]:
    """Return the keys of the copied objects."""
    return sorted(key for key in store.buckets[BUCKET] if key.startswith(LAYOUT.binlogs))


def test_before_it_the_replica_is_refused_with_the_way_to_go(replica: InMemoryObjectStore) -> None:
    assert verify(replica).status == "damaged"
    with pytest.raises(BackupDamagedError) as caught:
        check(replica)
    # The command line speaks of the route as of its own command: see cli/words.py.
    assert "`POST /backups/{name}/repair`" in caught.value.hint


def test_after_it_the_replica_is_intact_and_its_objects_are_known_by_the_etags_here(
    replica: InMemoryObjectStore,
) -> None:
    assert compare(replica) == Comparison(is_done=True, next_collection=2, proven_count=len(logs(replica)))

    assert verify(replica).status == "intact"
    check(replica)
    listed = {found.key: found.etag for found in replica.list_objects(BUCKET, LAYOUT.binlogs)}
    for collection in read_archive(replica, BUCKET, LAYOUT).collections:
        # A restore copies only what still has this ETag.
        for item in read_objects(replica, BUCKET, LAYOUT, collection):
            assert item.etag == listed[item.stored_key]


def test_an_object_of_other_content_stays_damaged_and_the_others_are_right(replica: InMemoryObjectStore) -> None:
    wrong = logs(replica)[3]
    body = replica.get(BUCKET, wrong)
    replica.put(BUCKET, wrong, bytes([body[0] ^ 1]) + body[1:])

    assert compare(replica).proven_count == len(logs(replica)) - 1

    (problem,) = verify(replica).problems
    assert wrong in problem


def test_what_changes_after_it_is_seen(replica: InMemoryObjectStore) -> None:
    compare(replica)
    replica.put(BUCKET, logs(replica)[0], replica.get(BUCKET, logs(replica)[0])[::-1])
    assert verify(replica).status == "damaged"


def test_a_replica_of_the_replica_is_proven_by_what_was_recorded_first(replica: InMemoryObjectStore) -> None:
    compare(replica)
    second = InMemoryObjectStore(BUCKET, has_random_etags=True)
    second.put(BUCKET, f"{LAYOUT.root}another", b"takes the first salt")
    for key, found in replica.buckets[BUCKET].items():
        if key.startswith(LAYOUT.root):
            second.put(BUCKET, key, found.body)
    assert verify(second).status == "damaged"

    assert compare(second).proven_count == len(logs(second))

    assert verify(second, "again").status == "intact"
    assert verify(replica).status == "intact"


def test_it_goes_on_where_the_time_ended_and_reads_nothing_twice(replica: InMemoryObjectStore) -> None:
    # Sixteen objects in each invocation.
    count = len(logs(replica))
    assert count > 16
    calls = 0
    while not (done := compare(replica, _for_one_lot())).is_done:
        calls += 1
        assert calls < 10
    assert calls >= 1
    assert done.proven_count == replica.requests["chunks"] == count
    assert verify(replica).status == "intact"


def _for_one_lot() -> Callable[[], float]:
    left: Iterator[float] = iter((900.0,))
    return lambda: next(left, STOP_SECONDS - 1.0)


def test_an_object_that_is_damaged_is_not_read_again_by_the_next_invocation(replica: InMemoryObjectStore) -> None:
    for key in logs(replica):
        replica.put(BUCKET, key, replica.get(BUCKET, key)[::-1] if len(replica.get(BUCKET, key)) > 1 else b"!")
    for _ in range(10):
        compare(replica, _for_one_lot())
    assert replica.requests["chunks"] == len(logs(replica))


def test_a_document_of_etags_that_rots_proves_nothing(replica: InMemoryObjectStore) -> None:
    compare(replica)
    sound = replica.get(BUCKET, LAYOUT.other_etags)
    for position in range(0, len(sound), 97):
        damaged = bytes([*sound[:position], sound[position] ^ 1, *sound[position + 1 :]])
        replica.put(BUCKET, LAYOUT.other_etags, damaged)
        assert verify(replica, str(position)).status == "damaged", position


def test_a_backup_that_is_being_deleted_is_left_alone(replica: InMemoryObjectStore) -> None:
    replica.put(BUCKET, tombstone_key(PREFIX, LAYOUT.name), b"{}")
    with pytest.raises(BackupNotFoundError):
        compare(replica)
    assert LAYOUT.other_etags not in replica.buckets[BUCKET]


def test_an_archive_without_etags_has_nothing_to_compare() -> None:
    store = golden_store("golden_0516")
    run = Workspace(store, BUCKET, PREFIX, "verify-me")
    found = ContentComparison(run, golden_layout("golden_0516"), lambda: 900.0).compare()
    assert (found.is_done, found.proven_count, store.requests["chunks"]) == (True, 0, 0)


def etag_in_parts(body: bytes, part_bytes: int) -> str:
    """Return the ETag of an object that was uploaded in parts."""
    parts = [body[start : start + part_bytes] for start in range(0, len(body), part_bytes)]
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f"{md5(digests)}-{len(parts)}"


# 17 MiB and some, of which no two parts are alike.
LARGE = hashlib.shake_128(b"large").digest(17 * MIB + 8)


@pytest.mark.parametrize("part_mib", [5, 6, 8, 9, 16, 64])
def test_content_that_was_uploaded_in_parts_is_known_by_the_sizes_that_uploaders_take(part_mib: int) -> None:
    store = InMemoryObjectStore(BUCKET, has_random_etags=True)
    store.put(BUCKET, "k", LARGE)
    here = store.get_with_etag(BUCKET, "k")[1]
    item = ArchivedObject("k", "s", len(LARGE), etag_in_parts(LARGE, part_mib * MIB))
    assert has_recorded_content(store, BUCKET, item, here)
    store.put(BUCKET, "k", LARGE[:-1] + b"!")
    assert not has_recorded_content(store, BUCKET, item, store.get_with_etag(BUCKET, "k")[1])


@given(body=st.binary(max_size=50), flipped=st.integers(0, 399))
def test_content_is_the_recorded_one_or_not(body: bytes, flipped: int) -> None:
    store = InMemoryObjectStore(BUCKET, has_random_etags=True)
    store.put(BUCKET, "k", body)
    item = ArchivedObject("k", "s", len(body), md5(body))
    assert has_recorded_content(store, BUCKET, item, store.get_with_etag(BUCKET, "k")[1])
    if body:
        other = bytearray(body)
        other[flipped // 8 % len(body)] ^= 1 << flipped % 8
        store.put(BUCKET, "k", bytes(other))
        assert not has_recorded_content(store, BUCKET, item, store.get_with_etag(BUCKET, "k")[1])


@pytest.mark.parametrize(
    ("recorded", "here", "is_right", "is_read"),
    [
        ("CRC64NVME:abc=", "CRC64NVME:abc=", True, False),
        ("CRC64NVME:abc=", "CRC64NVME:abd=", False, False),
        # Of parts that were others, or by another algorithm, or with none: the content decides.
        ("CRC32:abc=-3", "CRC32:abc=-3", True, False),
        ("CRC32:abc=-3", "CRC32:xyz=-2", True, True),
        ("CRC32:abc=-3", "CRC32:xyz=", True, True),
        ("CRC64NVME:abc=", "SHA256:abc=", True, True),
        ("CRC64NVME:abc=", "", True, True),
        ("", "CRC64NVME:abc=", True, True),
    ],
)
def test_a_checksum_that_s3_keeps_saves_reading(recorded: str, here: str, *, is_right: bool, is_read: bool) -> None:
    store = InMemoryObjectStore(BUCKET, has_random_etags=True)
    store.put(BUCKET, "k", b"body")
    store.checksums["k"] = here
    item = ArchivedObject("k", "s", 4, md5(b"body"), recorded)
    assert has_recorded_content(store, BUCKET, item, store.get_with_etag(BUCKET, "k")[1]) == is_right
    assert (store.requests["chunks"] > 0) == is_read


@pytest.mark.parametrize("etag", ["0" * 32, "f" * 32 + "-2", "f" * 32 + "-0", "f" * 32 + "-", "f-x", "f-²"])
def test_of_an_etag_that_no_content_makes_nothing_is_known(etag: str) -> None:
    store = InMemoryObjectStore(BUCKET)
    store.put(BUCKET, "k", b"body")
    assert not has_recorded_content(store, BUCKET, ArchivedObject("k", "s", 4, etag), md5(b"body"))


def test_an_object_that_changes_meanwhile_is_not_taken_for_the_one_that_was_listed() -> None:
    store = InMemoryObjectStore(BUCKET)
    store.put(BUCKET, "k", b"body")
    with pytest.raises(ObjectChangedError):
        has_recorded_content(store, BUCKET, ArchivedObject("k", "s", 4, md5(b"body")), "another")
