"""What each level of a verification finds, counts and remembers."""

import hashlib
import json
from base64 import b64encode
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.other_etags import EtagHash
from milvus_vault.archive.sealing import seal, unseal
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.errors import (
    BackupNotFoundError,
    CheckIncompleteError,
    StorageAccessDeniedError,
    StorageUnavailableError,
    split_hint,
)
from milvus_vault.model.messages_verify import VerifyBackupResult
from milvus_vault.model.requests import VerifyLevel, VerifyRequest
from milvus_vault.model.resources import Verification
from milvus_vault.verifying import objects, planning
from milvus_vault.verifying import verify as verifying
from milvus_vault.verifying.checksums import checksum_of
from milvus_vault.verifying.objects import check_batch
from milvus_vault.verifying.planning import POSITIONS, Sample, next_sample, position_of, within_bytes
from milvus_vault.verifying.verify import verify_backup
from milvus_vault.verifying.working_files import batch_name, read_items
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, golden_store
from tests.unit.test_claims import FakeExecutions
from tests.unit.verifying.logs import LAYOUT, NOW, backup, batches_of, contents, other_values_of, verify

OBJECTS = contents()
BYTES = sum(map(len, OBJECTS.values()))
ONE, OTHER = "insert_log/11/12/13/101/1401", "insert_log/11/12/14/101/1501"


@pytest.fixture
def store() -> InMemoryObjectStore:
    """An empty backup bucket."""
    return InMemoryObjectStore(BUCKET)


def remembered(store: InMemoryObjectStore, name: str = "books") -> Verification:
    """Return what the catalogue has of the last verification."""
    return Verification.model_validate_json(
        unseal(store.buckets[BUCKET][CatalogueKeys(PREFIX).verification(name)].body)
    )


def digests(store: InMemoryObjectStore) -> list[str]:
    """Return the keys of the documents of digests."""
    return [key for key in store.buckets[BUCKET] if key.startswith(CatalogueKeys(PREFIX).digests("books"))]


def change_below_s3(store: InMemoryObjectStore, key: str, body: bytes) -> None:
    """Give an object another content of which S3 knows nothing: the ETag stays."""
    store.buckets[BUCKET][key] = replace(store.buckets[BUCKET][key], body=body)


def flip(body: bytes, place: int = -3) -> bytes:
    """Return content with another bit."""
    changed = bytearray(body)
    changed[place] ^= 1
    return bytes(changed)


def test_a_quick_one_reads_no_object_and_says_so(store: InMemoryObjectStore) -> None:
    keys = backup(store)
    store.requests.clear()

    found = verify(store)

    assert (found.status, found.level, found.etags_compared, found.content_checked) == ("intact", "quick", True, False)
    assert (found.object_count, found.read_count, found.checksum_count) == (len(keys), 0, 0)
    assert store.requests["chunks"] == store.requests["checksum"] == 0
    assert not [key for key in store.buckets[BUCKET] if "/check/" in key]


@pytest.mark.parametrize("is_pooled", [False, True])
def test_a_deep_one_reads_each_object_once(store: InMemoryObjectStore, *, is_pooled: bool) -> None:
    keys = backup(store, is_pooled=is_pooled)
    store.requests.clear()

    found = verify(store, level="deep")

    assert (found.status, found.content_checked, found.problem_count) == ("intact", True, 0), found.cause
    assert (found.read_count, found.read_bytes, found.baseline_count) == (len(keys), BYTES, 0)
    assert store.requests["chunks"] == len(keys)
    # Their ETags tell the content: there is nothing to remember.
    assert digests(store) == []
    assert remembered(store).level == "deep"


def test_two_objects_that_were_swapped_below_s3_are_found_by_name(store: InMemoryObjectStore) -> None:
    keys = backup(store)
    assert len(OBJECTS[ONE]) == len(OBJECTS[OTHER])
    change_below_s3(store, keys[ONE], OBJECTS[OTHER])
    change_below_s3(store, keys[OTHER], OBJECTS[ONE])

    assert verify(store, run="verify-quick").status == "intact"
    found = verify(store, level="deep")

    assert (found.status, found.error, found.problem_count) == ("damaged", "BackupDamagedError", 2)
    for source, segment in ((ONE, 13), (OTHER, 14)):
        where = f"default.books, partition _default, segment {segment}, field pages, {keys[source]}: "
        assert where in found.cause
    assert "its content is not the one of its ETag" in found.cause
    assert remembered(store).damaged_contents.keys() == {keys[ONE], keys[OTHER]}


def test_other_values_that_could_as_well_be_right_are_found_by_the_etag(store: InMemoryObjectStore) -> None:
    keys = backup(store)
    change_below_s3(store, keys[ONE], other_values_of(13, 101))

    found = verify(store, level="deep")

    assert found.problem_count == 1
    assert split_hint(found.cause)[0].endswith("something below S3 changed it")


def test_one_damaged_object_costs_only_itself(store: InMemoryObjectStore) -> None:
    keys = backup(store)
    change_below_s3(store, keys[ONE], b"\0" * len(OBJECTS[ONE]))

    found = verify(store, level="deep")

    assert (found.problem_count, found.read_count) == (1, len(keys))


@pytest.mark.parametrize("level", ["checksum", "deep"])
def test_a_backup_that_a_prune_deletes_between_the_listing_and_the_reading_is_not_called_damaged(
    store: InMemoryObjectStore, level: VerifyLevel
) -> None:
    keys = backup(store, checksums=SUMS)
    before = dict(store.buckets[BUCKET])
    steps = iter([True])

    def delete_meanwhile(operation: str, _bucket: str, key: str) -> None:
        if operation in {"chunks", "checksum"} and key in keys.values() and next(steps, False):
            store.put(BUCKET, tombstone_key(PREFIX, "books"), b"{}")
            store.delete(BUCKET, [found for found in before if f"{PREFIX}/books/" in found])

    store.before = delete_meanwhile
    with pytest.raises(BackupNotFoundError, match="being deleted"):
        verify(store, level=level)
    # Nothing of what it would have been called stays.
    assert CatalogueKeys(PREFIX).verification("books") not in store.buckets[BUCKET]


@pytest.mark.parametrize("level", ["quick", "checksum", "deep"])
def test_a_backup_that_was_made_anew_meanwhile_is_not_called_what_the_one_before_was(
    store: InMemoryObjectStore, level: VerifyLevel
) -> None:
    backup(store, checksums=SUMS)
    steps = iter([True])

    def make_anew(operation: str, _bucket: str, key: str) -> None:
        if operation == "list_objects" and "/binlogs/" in key and next(steps, False):
            store.before = lambda *_: None
            other = json.loads(store.get(BUCKET, LAYOUT.marker)) | {"id": "another"}
            store.put(BUCKET, LAYOUT.marker, json.dumps(other).encode())

    store.before = make_anew
    with pytest.raises(BackupNotFoundError, match="made anew"):
        verify(store, level=level)
    assert CatalogueKeys(PREFIX).verification("books") not in store.buckets[BUCKET]


@pytest.mark.parametrize("is_of_contents", [True, False])
def test_what_another_one_finds_and_writes_down_meanwhile_stays(
    store: InMemoryObjectStore, *, is_of_contents: bool
) -> None:
    """The last to end is not the last to look: what it has seen may be of before the damage."""
    keys = backup(store)

    def damage_and_verify(operation: str, _bucket: str, key: str) -> None:
        # All objects were read.
        if operation == "put" and key.endswith("/verify-1/check/done-0.json"):
            store.before = lambda *_: None
            whole = store.buckets[BUCKET][keys[OTHER]]
            if is_of_contents:
                change_below_s3(store, keys[OTHER], flip(OBJECTS[OTHER]))
            else:
                store.delete(BUCKET, [keys[OTHER]])
            assert verify(store, run="verify-2", level="deep").status == "damaged"
            # It is mended, so that only what is written down tells of it.
            store.buckets[BUCKET][keys[OTHER]] = whole

    store.before = damage_and_verify
    found = verify(store, level="deep")

    assert (found.status, found.problem_count) == ("damaged", 1)
    assert "verify-2" in found.cause
    assert keys[OTHER] in Catalogue(store, BUCKET, PREFIX).get("books").damage
    assert verify(store, run="verify-3", level="deep").status == "intact"
    assert Catalogue(store, BUCKET, PREFIX).get("books").damage == ""


@pytest.mark.parametrize("level", ["quick", "deep"])
def test_one_that_is_called_again_after_its_end_forgets_nothing_that_another_one_found_since(
    store: InMemoryObjectStore, level: VerifyLevel
) -> None:
    """Its page could not be written, for example."""
    keys = backup(store)
    assert verify(store, level=level).status == "intact"
    change_below_s3(store, keys[OTHER], flip(OBJECTS[OTHER]))
    assert verify(store, run="verify-2", level="deep").status == "damaged"

    assert verify(store, level=level).status == "intact"

    assert remembered(store).run == "verify-2"
    assert verify(store, run="verify-3").status == "damaged"


def test_what_a_deep_one_reads_as_it_should_be_no_quick_one_brings_back_that_ends_meanwhile(
    store: InMemoryObjectStore,
) -> None:
    keys = backup(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    assert verify(store, level="deep").status == "damaged"
    change_below_s3(store, keys[ONE], OBJECTS[ONE])

    def verify_quickly(operation: str, _bucket: str, key: str) -> None:
        if operation == "put" and key.endswith("/verify-2/check/done-0.json"):
            store.before = lambda *_: None
            assert verify(store, run="verify-3").status == "damaged"

    store.before = verify_quickly
    assert verify(store, run="verify-2", level="deep").status == "intact"
    assert remembered(store).damaged_contents == {}


def test_what_is_missing_or_changed_is_not_read(store: InMemoryObjectStore) -> None:
    keys = backup(store)
    store.delete(BUCKET, [keys[ONE]])
    store.put(BUCKET, keys[OTHER], flip(OBJECTS[OTHER]))

    found = verify(store, level="deep")

    assert (found.status, found.problem_count, found.read_count) == ("damaged", 2, len(keys) - 2)
    assert not found.content_checked


def test_rows_of_a_segment_that_are_not_those_of_its_metadata_are_found(store: InMemoryObjectStore) -> None:
    backup(store, rows=5)
    found = verify(store, level="deep")
    assert (found.status, found.problem_count) == ("damaged", 3)
    assert "default.books, partition _default, segment 13: " in found.cause
    assert "metadata says 5" in found.cause
    # It takes all logs of a segment to see it again.
    assert verify(store, run="verify-2", level="deep", sample_percent=0.001).problem_count == 3


def test_damage_of_contents_stays_until_a_deep_verification_reads_them_as_they_should_be(
    store: InMemoryObjectStore,
) -> None:
    keys = backup(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    assert verify(store, level="deep").status == "damaged"

    # A listing sees nothing of it, and must not take it back.
    quick = verify(store, run="verify-2")
    assert (quick.status, quick.problem_count) == ("damaged", 1)
    assert "found by an earlier deep verification" in quick.cause
    assert "its verification of" in Catalogue(store, BUCKET, PREFIX).get("books").damage
    assert verify(store, run="verify-3", level="checksum").status == "damaged"

    # A sample that would not have it reads it all the same, and takes nothing back while it is so.
    sampled = verify(store, run="verify-sampled", level="deep", sample_percent=0.001)
    assert (sampled.status, sampled.problem_count) == ("damaged", 1)
    assert "found by an earlier" not in sampled.cause
    change_below_s3(store, keys[ONE], OBJECTS[ONE])
    again = verify(store, run="verify-4", level="deep", sample_percent=0.001)
    assert again.status == "intact"
    assert again.read_count < len(keys)
    assert remembered(store).damaged_contents == {}


def test_damage_of_contents_stays_where_a_deep_verification_cannot_read_them(store: InMemoryObjectStore) -> None:
    keys = backup(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    assert verify(store, level="deep").status == "damaged"

    store.archived.add(keys[ONE])
    assert verify(store, run="verify-2", level="deep").status == "damaged"
    store.archived.clear()

    assert verify(store, run="verify-3").status == "damaged"


def test_damage_of_contents_stays_where_a_verification_by_checksum_finds_the_same_object(
    store: InMemoryObjectStore,
) -> None:
    keys = backup(store, checksums={ONE: checksum_of(OBJECTS[ONE], "SHA256")})
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    assert verify(store, level="deep").status == "damaged"

    store.checksums[keys[ONE]] = checksum_of(flip(OBJECTS[ONE]), "SHA256")
    by_checksum = verify(store, run="verify-2", level="checksum")
    assert (by_checksum.status, by_checksum.problem_count) == ("damaged", 2)
    assert "S3 keeps the checksum" in by_checksum.cause

    assert verify(store, run="verify-3").status == "damaged"


def test_damage_of_contents_stays_that_a_deep_one_finds_during_one_by_checksum(store: InMemoryObjectStore) -> None:
    keys = backup(store, checksums={ONE: checksum_of(OBJECTS[ONE], "SHA256")})
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    store.checksums[keys[ONE]] = checksum_of(flip(OBJECTS[ONE]), "SHA256")

    def verify_deeply(operation: str, _bucket: str, key: str) -> None:
        if operation == "put" and key.endswith("/verify-1/check/done-0.json"):
            store.before = lambda *_: None
            assert verify(store, run="verify-2", level="deep").status == "damaged"

    store.before = verify_deeply
    assert verify(store, level="checksum").status == "damaged"

    assert verify(store, run="verify-3").status == "damaged"


def test_of_an_object_in_the_pool_the_next_backup_is_told(store: InMemoryObjectStore) -> None:
    keys = backup(store, is_pooled=True)
    backup(store, name="full")
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    catalogue = Catalogue(store, BUCKET, PREFIX)
    verify(store, level="deep")
    verify(store, name="full", run="verify-full", level="deep")
    assert catalogue.damaged_in_pool() == {keys[ONE]: NOW}
    # Also where the backup is gone that was verified: others may list the object.
    catalogue.forget_traces("books")
    assert catalogue.damaged_in_pool() == {keys[ONE]: NOW}


def test_other_backups_that_list_a_damaged_object_are_named(store: InMemoryObjectStore) -> None:
    keys = backup(store, is_pooled=True)
    for other in ("monday", "tuesday", "rotten"):
        backup(store, name=other, is_pooled=True)
    backup(store, name="full")
    store.put(BUCKET, BackupLayout(PREFIX, "rotten").manifest, b"rubbish")
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))

    found = verify(store, level="deep")

    assert split_hint(found.cause)[0].endswith("(it is also listed by monday, tuesday)")
    # A full one has its own.
    assert "also listed" not in verify(store, name="full", run="verify-full", level="deep").cause


def test_what_an_earlier_backup_of_the_name_had_does_not_count(store: InMemoryObjectStore) -> None:
    keys = backup(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, level="deep")
    key = CatalogueKeys(PREFIX).verification("books")
    old = remembered(store).model_copy(update={"verified_at": NOW.replace(year=2020)})
    store.put(BUCKET, key, seal(old))

    assert verify(store, run="verify-2").status == "intact"


class TestBaseline:
    @pytest.fixture
    def store(self) -> InMemoryObjectStore:
        """A bucket under KMS, where no ETag is of the content."""
        return InMemoryObjectStore(BUCKET, has_random_etags=True)

    def test_the_first_one_writes_digests_down_and_the_next_compares_them(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)

        first = verify(store, level="deep")
        assert (first.status, first.baseline_count) == ("intact", len(keys)), first.cause
        assert len(digests(store)) == 1
        second = verify(store, run="verify-2", level="deep")
        assert (second.status, second.baseline_count) == ("intact", 0)

        # Other values that could as well be right, which only the digest tells.
        change_below_s3(store, keys[ONE], other_values_of(13, 101))
        third = verify(store, run="verify-3", level="deep")
        assert third.problem_count == 1
        assert split_hint(third.cause)[0].endswith("when it was first verified")

    def test_what_is_damaged_is_no_baseline(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        change_below_s3(store, keys[ONE], b"\0" * len(OBJECTS[ONE]))

        assert verify(store, level="deep").baseline_count == len(keys) - 1
        change_below_s3(store, keys[ONE], OBJECTS[ONE])
        assert verify(store, run="verify-2", level="deep").status == "intact"

    def test_a_recorded_checksum_of_the_content_needs_no_baseline(self, store: InMemoryObjectStore) -> None:
        sums = {
            source: f"SHA256:{b64encode(hashlib.sha256(body).digest()).decode()}" for source, body in OBJECTS.items()
        }
        keys = backup(store, checksums=sums)
        assert verify(store, level="deep").baseline_count == 0
        change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
        assert "its checksum is SHA256:" in verify(store, run="verify-2", level="deep").cause

    @pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "CRC32", "SHA512", "SHA256", "SHA1", "MD5"])
    def test_so_it_is_with_each_checksum_that_can_be_computed(self, store: InMemoryObjectStore, algorithm: str) -> None:
        keys = backup(store, checksums={source: checksum_of(body, algorithm) for source, body in OBJECTS.items()})
        first = verify(store, level="deep")
        assert (first.status, first.baseline_count, digests(store)) == ("intact", 0, [])
        change_below_s3(store, keys[ONE], other_values_of(13, 101))
        second = verify(store, run="verify-2", level="deep")
        assert second.problem_count == 1
        assert f"its checksum is {checksum_of(other_values_of(13, 101), algorithm)}, and " in second.cause

    @pytest.mark.parametrize("checksum", ["CRC64NVME:rosUhgp5mIg=-2", "XXHASH128:AAAAAAAAAAAAAAAAAAAAAA=="])
    def test_one_that_cannot_be_computed_needs_one(self, store: InMemoryObjectStore, checksum: str) -> None:
        keys = backup(store, checksums=dict.fromkeys(OBJECTS, checksum))
        assert verify(store, level="deep").baseline_count == len(keys)

    def test_digests_of_another_backup_of_the_name_do_not_count(self, store: InMemoryObjectStore) -> None:
        backup(store)
        verify(store, level="deep")
        keys = backup(store)
        assert verify(store, run="verify-2", level="deep").baseline_count == len(keys)

    def test_a_rotten_document_of_digests_is_none(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        verify(store, level="deep")
        store.put(BUCKET, digests(store)[0], b"{}\n{}")
        assert verify(store, run="verify-2", level="deep").baseline_count == len(keys)

    def test_they_go_with_the_backup(self, store: InMemoryObjectStore) -> None:
        backup(store)
        verify(store, level="deep")
        Catalogue(store, BUCKET, PREFIX).forget_traces("books")
        assert digests(store) == []


@pytest.mark.parametrize("name", ["golden_0516", "golden_057", "golden_2_4", "golden_2_5", "golden_2_6"])
def test_an_archive_of_another_tool_gets_a_baseline_too(name: str) -> None:
    store = golden_store(name)
    layout = BackupLayout(PREFIX, name)
    first = verify(store, name=name, level="deep")
    assert (first.status, first.etags_compared) == ("intact", False), first.cause
    assert first.read_count == first.baseline_count == first.object_count > 0

    key = next(key for key in store.buckets[BUCKET] if key.startswith(f"{layout.binlogs}insert_log/"))
    body = store.buckets[BUCKET][key].body
    # Written anew by somebody, with the ETag of the other content.
    store.put(BUCKET, key, flip(body, len(body) - 1))
    found = verify(store, name=name, run="verify-2", level="deep")
    assert (found.status, found.problem_count) == ("damaged", 1)
    assert key in found.cause


def test_where_a_checksum_was_recorded_that_is_as_good_no_etag_is_computed(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(etag: str, size_bytes: int) -> list[EtagHash]:
        raise AssertionError(etag, size_bytes)

    monkeypatch.setattr(objects, "etag_hashes", refuse)
    keys = backup(store, checksums={source: checksum_of(body, "CRC64NVME") for source, body in OBJECTS.items()})
    assert (verify(store, level="deep").status, digests(store)) == ("intact", [])
    change_below_s3(store, keys[ONE], other_values_of(13, 101))
    assert "its checksum is CRC64NVME:" in verify(store, run="verify-2", level="deep").cause


SUMS = {source: f"CRC64NVME:{number:011}=" for number, source in enumerate(OBJECTS)}


class TestChecksums:
    def test_those_that_s3_keeps_are_compared(self, store: InMemoryObjectStore) -> None:
        keys = backup(store, checksums=SUMS)
        store.checksums = {keys[source]: checksum for source, checksum in SUMS.items()}
        found = verify(store, level="checksum")
        assert (found.status, found.checksum_count, found.incomparable_count) == ("intact", len(keys), 0)
        assert store.requests["chunks"] == 0

        store.checksums[keys[ONE]] = "CRC64NVME:AAAAAAAAAAA="
        found = verify(store, run="verify-2", level="checksum")
        assert (found.status, found.problem_count, found.checksum_count) == ("damaged", 1, len(keys) - 1)
        assert keys[ONE] in found.cause

    def test_what_cannot_be_compared_is_counted(self, store: InMemoryObjectStore) -> None:
        recorded = dict(SUMS)
        none, of_parts, other_kind, not_kept, *_ = recorded
        del recorded[none]
        recorded[of_parts] = "CRC32:AAAAAA==-2"
        keys = backup(store, checksums=recorded)
        store.checksums = {keys[source]: checksum for source, checksum in recorded.items()}
        store.checksums[keys[other_kind]] = "SHA256:AAAA"
        del store.checksums[keys[not_kept]]
        store.requests.clear()

        found = verify(store, level="checksum")

        assert (found.status, found.checksum_count, found.incomparable_count) == ("intact", len(keys) - 4, 4)
        # Of what has none recorded, nothing is asked.
        assert store.requests["checksum"] == len(keys) - 2

    def test_where_none_were_recorded_nothing_is_asked(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        found = verify(store, level="checksum")
        assert (found.checksum_count, found.incomparable_count) == (0, len(keys))
        assert store.requests["checksum"] == 0


class TestSamples:
    @given(
        percent=st.floats(0.5, 100),
        keys=st.lists(st.text(st.characters(codec="ascii"), min_size=1), min_size=1, max_size=60, unique=True),
    )
    def test_each_object_is_read_once_before_any_is_read_again(self, percent: float, keys: list[str]) -> None:
        read = list[str]()
        begin, runs = 0, 0
        while len(read) < len(keys):
            sample = next_sample(begin, percent, (position_of("books", key) for key in keys))
            taken = [key for key in keys if sample.begin <= position_of("books", key) < sample.end]
            assert taken
            read += taken
            begin, runs = sample.next_position, runs + 1
        assert sorted(read) == sorted(keys)
        assert runs <= 100 / percent + 1

    def test_twenty_of_five_percent_are_all(self) -> None:
        begin = 0
        for _ in range(20):
            begin = next_sample(begin, 5, range(0, POSITIONS, POSITIONS // 100)).next_position
        assert begin == 0

    @pytest.mark.parametrize(
        ("begin", "percent", "positions", "expected"),
        [
            (0, 50, [POSITIONS - 1], Sample(POSITIONS // 2, POSITIONS)),
            (POSITIONS // 2, 25, [7], Sample(0, POSITIONS // 4)),
            (POSITIONS // 2, 25, [POSITIONS // 4, POSITIONS // 3], Sample(POSITIONS // 4, POSITIONS // 2)),
            (POSITIONS - 10, 25, [POSITIONS // 4], Sample(POSITIONS // 4, POSITIONS // 2)),
            (POSITIONS // 2, 25, [], Sample(POSITIONS // 2, POSITIONS // 4 * 3)),
        ],
    )
    def test_one_without_an_object_is_passed_by(
        self, begin: int, percent: float, positions: list[int], expected: Sample
    ) -> None:
        assert next_sample(begin, percent, positions) == expected

    def test_the_smallest_reads_an_object_each_time_and_each_once(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        found = [verify(store, run=f"verify-{n}", level="deep", sample_percent=0.001) for n in range(len(keys))]
        assert [one.read_count for one in found] == [1] * len(keys)
        assert {one.status for one in found} == {"intact"}

    @given(
        found=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 50)), max_size=30), max_bytes=st.integers(1, 200)
    )
    def test_a_limit_of_bytes_is_kept_and_each_is_read_once(self, found: list[tuple[int, int]], max_bytes: int) -> None:
        read: list[tuple[int, int]] = []
        begin = 0
        while True:
            sample = within_bytes(next_sample(begin, None, ()), [one for one in found if one[0] >= begin], max_bytes)
            taken = [one for one in found if sample.begin <= one[0] < sample.end]
            assert sum(size for _, size in taken) <= max_bytes or len({at for at, _ in taken}) == 1
            read += taken
            begin = sample.next_position
            if begin == 0:
                break
            assert taken
        assert sorted(read) == sorted(found)

    def test_the_catalogue_remembers_the_turn(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        read = Counter[str]()

        def note(operation: str, _: str, key: str) -> None:
            if operation == "chunks":
                read[key] += 1

        store.before = note
        for number in range(5):
            found = verify(store, run=f"verify-{number}", level="deep", sample_percent=20)
            assert (found.status, found.content_checked) == ("intact", found.read_count == len(keys))
            # Others in between change nothing of the turn.
            verify(store, run=f"verify-quick-{number}")
        assert read == Counter(keys.values())

    def test_bytes_too(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        most = max(map(len, OBJECTS.values()))
        read, runs = 0, 0
        while read < len(keys):
            found = verify(store, run=f"verify-{runs}", level="deep", max_bytes=2 * most)
            assert 0 < found.read_bytes <= 2 * most
            read, runs = read + found.read_count, runs + 1
        assert (read, remembered(store).next_position) == (len(keys), 0)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"level": "deep", "sample_percent": 0}, "greater than 0"),
            ({"level": "deep", "sample_percent": 101}, "less than or equal to 100"),
            ({"level": "deep", "max_bytes": 0}, "greater than or equal to 1"),
            ({"level": "thorough"}, "quick"),
            ({"sample_percent": 5}, "`sample_percent` is of a deep verification alone"),
            ({"level": "checksum", "max_bytes": 5}, "`max_bytes` is of a deep verification alone"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(self, options: dict[str, object], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            VerifyRequest.model_validate({"backup_name": "books", **options})


class TestBatches:
    def prepared(self, store: InMemoryObjectStore, **options: object) -> Workspace:
        """Return the working files of a deep verification whose batches are written."""
        run = Workspace(store, BUCKET, PREFIX, "verify-1")
        assert self.asked(run, 0, **options).has_batches
        return run

    def asked(self, run: Workspace, check_count: int, **options: object) -> VerifyBackupResult:
        """Call VerifyBackup."""
        request = VerifyRequest.model_validate({"backup_name": "books", "level": "deep", **options})
        return verify_backup(
            run,
            request,
            executions=FakeExecutions(),
            execution_arn="verify",
            now=NOW,
            seconds_left=lambda: 900.0,
            check_count=check_count,
        )

    def test_segments_are_not_divided(self, store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(planning, "DEEP_LIMITS", BatchLimits(max_objects=6, max_bytes=2**40))
        backup(store)
        run = self.prepared(store)
        segments = [
            {item.source_key.split("/")[4] for item in read_items(run, batch_name(number))}
            for number in batches_of(run)
        ]
        assert len(segments) == 3
        assert sum(map(len, segments)) == len(set.union(*segments))

    def test_a_call_that_is_repeated_before_the_batches_were_looked_at_asks_for_them_again(
        self, store: InMemoryObjectStore
    ) -> None:
        backup(store)
        run = self.prepared(store)
        again = self.asked(run, 0)
        assert (again.has_batches, again.check_count, again.is_done) == (True, 1, False)

    def test_a_killed_function_repeats_nothing_that_was_written_down(
        self, store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(objects, "CHECKPOINT_SECONDS", -1.0)
        monkeypatch.setattr(objects, "DEEP_THREADS", 1)
        keys = backup(store)
        run = self.prepared(store)
        reads = Counter[str]()

        def killed(operation: str, _: str, key: str) -> None:
            if operation == "chunks":
                reads[key] += 1
                if reads.total() == 5:
                    raise KeyboardInterrupt

        store.before = killed
        with pytest.raises(KeyboardInterrupt):
            check_batch(run, 0, seconds_left=lambda: 900.0)
        result = check_batch(run, 0, seconds_left=lambda: 900.0)
        assert result.is_done
        assert reads.total() == len(keys) + 1
        assert self.asked(run, 1).status == "intact"

    def test_where_time_runs_out_the_next_call_goes_on(
        self, store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(objects, "DEEP_THREADS", 1)
        keys = backup(store)
        run = self.prepared(store)
        assert not check_batch(run, 0, seconds_left=lambda: 10.0).is_done
        left = iter([900.0, 900.0, 900.0])
        some = check_batch(run, 0, seconds_left=lambda: next(left, 0.0))
        assert (some.is_done, some.checked_count, store.requests["chunks"]) == (False, 3, 3)
        done = check_batch(run, 0, seconds_left=lambda: 900.0)
        assert (done.is_done, done.checked_count) == (True, len(keys))
        reads = store.requests["chunks"]
        assert reads == len(keys)
        assert check_batch(run, 0, seconds_left=lambda: 900.0) == done
        assert store.requests["chunks"] == reads

    def test_a_connection_that_breaks_is_tried_again_and_the_task_after_it(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        run = self.prepared(store)
        broken = Counter[str]()

        def breaks(times: int) -> None:
            def before(operation: str, _: str, key: str) -> None:
                if operation == "chunks" and key == keys[ONE] and broken.total() < times:
                    broken[key] += 1
                    msg = "broken"
                    raise StorageUnavailableError(msg)

            broken.clear()
            store.before = before

        breaks(objects.READ_ATTEMPTS)
        with pytest.raises(StorageUnavailableError):
            check_batch(run, 0, seconds_left=lambda: 900.0)
        reads = store.requests["chunks"]
        breaks(1)
        assert check_batch(run, 0, seconds_left=lambda: 900.0).is_done
        # All others were written down.
        assert store.requests["chunks"] == reads + 1

    def test_a_refusal_is_raised_by_its_name_once_all_others_were_read(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        run = self.prepared(store)

        def refuse(operation: str, _: str, key: str) -> None:
            if operation == "chunks" and key == keys[ONE]:
                msg = "no kms:Decrypt"
                raise StorageAccessDeniedError(msg, hint="Allow it.")

        store.before = refuse
        with pytest.raises(StorageAccessDeniedError):
            check_batch(run, 0, seconds_left=lambda: 900.0)
        with pytest.raises(StorageAccessDeniedError, match="no kms:Decrypt"):
            self.asked(run, 1)

    def test_batches_that_nobody_looked_at_are_given_again_and_not_for_ever(self, store: InMemoryObjectStore) -> None:
        backup(store)
        run = self.prepared(store)
        assert [self.asked(run, count).check_count for count in (1, 2)] == [2, 3]
        with pytest.raises(CheckIncompleteError, match="1 of 1 batches"):
            self.asked(run, 3)

    def test_large_objects_go_through_a_file(self, store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(objects, "IN_MEMORY_BYTES", 0)
        keys = backup(store)
        change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
        found = verify(store, level="deep")
        assert (found.read_count, found.problem_count) == (len(keys), 1)

    def test_what_is_too_large_is_told(self, store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        most = max(map(len, OBJECTS.values()))
        for module in (planning, verifying):
            monkeypatch.setattr(module, "MAX_READ_BYTES", most - 1)
        keys = backup(store)
        found = verify(store, level="deep")
        assert found.read_count < len(keys)
        assert not found.content_checked
        assert "were not read" in found.warnings[0]

    def test_what_vanishes_or_is_archived_meanwhile_is_told(self, store: InMemoryObjectStore) -> None:
        keys = backup(store)
        run = self.prepared(store)
        store.delete(BUCKET, [keys[ONE]])
        store.archived = {keys[OTHER]}
        check_batch(run, 0, seconds_left=lambda: 900.0)
        found = self.asked(run, 1)
        assert (found.status, found.problem_count) == ("damaged", 2)
        assert "it is missing" in found.cause


def test_an_older_verification_says_what_it_did() -> None:
    old = {
        "verified_at": "2026-11-20T12:00:00Z",
        "status": "intact",
        "run": "verify-1",
        "object_count": 3,
        "size_bytes": 4,
        "content_checked": True,
        "problems": [],
    }
    found = Verification.model_validate(old)
    assert (found.level, found.etags_compared, found.content_checked) == ("quick", True, False)
    assert not Verification.model_validate(old | {"content_checked": False}).etags_compared
