"""Damage of an object in the pool is of every backup that lists it, whichever of them was verified."""

import re
from datetime import timedelta
from itertools import repeat

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.manifest import Manifest
from milvus_vault.backup.export import read_exportable
from milvus_vault.catalogue import Catalogue
from milvus_vault.catalogue.describe import summary_of
from milvus_vault.errors import BackupDamagedError, WorkingFileError
from milvus_vault.pool.doubts import PoolDoubts
from milvus_vault.retention.proof import Proof, Prover
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX
from tests.unit.verifying.logs import GROUP, NOW, backup, contents, other_values_of, verify
from tests.unit.verifying.test_levels import ONE, OTHER, change_below_s3, flip

OBJECTS = contents()
DOCUMENT = f"{PREFIX}/.catalogue/verifications/.pool/{GROUP}.json"


@pytest.fixture
def store() -> InMemoryObjectStore:
    """An empty backup bucket."""
    return InMemoryObjectStore(BUCKET)


def two(store: InMemoryObjectStore) -> dict[str, str]:
    """Make two incremental backups of the same objects, and a full one; return the keys of the shared objects."""
    backup(store, name="full")
    backup(store, name="monday", is_pooled=True)
    keys = backup(store, name="tuesday", is_pooled=True)
    for name in ("full", "monday", "tuesday"):
        Catalogue(store, BUCKET, PREFIX).publish(summary_of(exportable(store, name)))
    return keys


def exportable(store: InMemoryObjectStore, name: str) -> Manifest:
    """Return what can be exported. Raises as an export does."""
    layout = BackupLayout(PREFIX, name)
    return read_exportable(store, BUCKET, layout, Catalogue(store, BUCKET, PREFIX).damaged_contents)


def proof(store: InMemoryObjectStore, name: str) -> Proof:
    """Return what a prune sees of a backup."""
    found = Prover(store, BUCKET, PREFIX, Catalogue(store, BUCKET, PREFIX), NOW).prove(name)
    assert found is not None
    return found


def damages(store: InMemoryObjectStore) -> dict[str, str]:
    """Return what a list of backups says of each."""
    return {one.name: one.damage for one in Catalogue(store, BUCKET, PREFIX).list(10, None).items}


@pytest.mark.parametrize("settled_by", ["monday", "tuesday"])
def test_all_that_list_it_know_until_one_has_read_it_as_it_should_be(
    store: InMemoryObjectStore, settled_by: str
) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    assert verify(store, name="monday", level="deep").status == "damaged"

    listed = damages(store)
    assert keys[ONE] in listed["monday"]
    assert "its verification of 2026-11-20" in listed["monday"]
    assert keys[ONE] in listed["tuesday"]
    assert "found by the deep verification of backup 'monday', 2026-11-20 12:00 UTC" in listed["tuesday"]
    assert listed["full"] == ""
    for name in ("monday", "tuesday"):
        assert Catalogue(store, BUCKET, PREFIX).get(name).damage == listed[name]
        with pytest.raises(BackupDamagedError, match=f"'{name}' is not exported, since contents of 1 object") as raised:
            exportable(store, name)
        assert keys[ONE] in raised.value.message
    exportable(store, "full")
    # A listing of the other one cannot see it, and says it.
    quick = verify(store, name="tuesday", run="verify-quick")
    assert (quick.status, quick.problem_count) == ("damaged", 1)
    assert "found by the deep verification of backup 'monday'" in quick.cause
    assert verify(store, name="full", run="verify-full").status == "intact"

    change_below_s3(store, keys[ONE], OBJECTS[ONE])
    found = verify(store, name=settled_by, run="verify-again", level="deep", sample_percent=0.001)

    assert found.status == "intact", found.cause
    assert found.read_count < len(keys)
    assert damages(store) == {"full": "", "monday": "", "tuesday": ""}
    for name in ("monday", "tuesday"):
        exportable(store, name)
        backup_in_full = Catalogue(store, BUCKET, PREFIX).get(name)
        assert backup_in_full.verification is not None
        assert (backup_in_full.verification.status, backup_in_full.verification.problems) == ("intact", ())
        assert verify(store, name=name, run=f"verify-{name}").status == "intact"


def test_what_a_deep_verification_of_the_other_finds_is_its_own(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    change_below_s3(store, keys[OTHER], flip(OBJECTS[OTHER]))

    assert verify(store, name="tuesday", run="verify-2", level="deep").problem_count == 2
    change_below_s3(store, keys[ONE], OBJECTS[ONE])
    assert verify(store, name="monday", run="verify-3", level="deep").problem_count == 1

    assert PoolDoubts(store, BUCKET, PREFIX).read().keys() == {keys[OTHER]}
    assert all(keys[OTHER] in damages(store)[name] for name in ("monday", "tuesday"))


def test_a_backup_that_was_deleted_leaves_its_doubts_to_those_that_share_with_it(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    Catalogue(store, BUCKET, PREFIX).forget_traces("monday")
    store.delete(BUCKET, [key for key in store.buckets[BUCKET] if key.startswith(f"{PREFIX}/monday/")])

    assert keys[ONE] in damages(store)["tuesday"]
    with pytest.raises(BackupDamagedError):
        exportable(store, "tuesday")


def test_other_problems_of_a_verification_stay_when_a_doubt_is_settled(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    store.delete(BUCKET, [keys[OTHER]])
    assert verify(store, name="monday", run="verify-2", level="deep").problem_count == 2
    store.put(BUCKET, keys[OTHER], OBJECTS[OTHER])
    change_below_s3(store, keys[ONE], OBJECTS[ONE])
    verify(store, name="tuesday", run="verify-3", level="deep")

    found = Catalogue(store, BUCKET, PREFIX).get("monday").verification
    assert found is not None
    assert (found.status, len(found.problems), found.damaged_contents) == ("damaged", 1, {})
    assert keys[OTHER] in found.problems[0]


def test_what_cannot_be_read_now_settles_nothing(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    store.archived = {keys[ONE]}
    assert keys[ONE] in verify(store, name="tuesday", run="verify-2", level="deep").cause
    store.archived = set()
    assert verify(store, name="tuesday", run="verify-3").status == "damaged"


def test_of_two_verifications_at_the_same_time_none_loses_what_the_other_found(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    has_begun: list[None] = []

    def verify_the_other(operation: str, _bucket: str, key: str) -> None:
        if operation == "put" and key == DOCUMENT and not has_begun:
            has_begun.append(None)
            change_below_s3(store, keys[OTHER], flip(OBJECTS[OTHER]))
            verify(store, name="tuesday", run="verify-2", level="deep")

    store.before = verify_the_other
    verify(store, name="monday", level="deep")

    assert has_begun
    assert PoolDoubts(store, BUCKET, PREFIX).read().keys() == {keys[ONE], keys[OTHER]}


def test_a_doubt_that_was_found_again_meanwhile_is_not_settled(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    doubts = PoolDoubts(store, BUCKET, PREFIX)
    before = doubts.read()
    again = before[keys[ONE]].model_copy(update={"found_at": NOW + timedelta(hours=1)})
    doubts.change({keys[ONE]: again}, {})
    doubts.change({}, before)
    assert doubts.read() == {keys[ONE]: again}
    doubts.change({}, {keys[ONE]: again})
    assert doubts.read() == {}


def test_a_younger_backup_of_the_name_is_another_one(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    (doubt,) = PoolDoubts(store, BUCKET, PREFIX).read().values()
    assert doubt.is_of("tuesday", NOW)
    assert not doubt.is_of("tuesday", NOW + timedelta(seconds=1))
    assert not doubt.is_of("wednesday", None)


def test_one_that_nobody_named_knows_by_its_own_list(store: InMemoryObjectStore) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    # As one that was being made while the other was verified.
    backup(store, name="later", is_pooled=True)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))

    with pytest.raises(BackupDamagedError):
        exportable(store, "later")
    # Nobody was told of it. Of the others the list says it already.
    assert damages(store).get("later", "") == ""
    found = proof(store, "later")
    assert keys[ONE] in found.flaw
    assert found.damage == found.flaw
    assert keys[ONE] in proof(store, "tuesday").flaw
    assert proof(store, "tuesday").damage == ""
    assert proof(store, "full").flaw == ""
    assert verify(store, name="later", run="verify-2").status == "damaged"


def test_without_any_doubt_nothing_but_a_listing_is_asked(store: InMemoryObjectStore) -> None:
    two(store)
    asked: list[str] = []
    store.before = lambda operation, _bucket, key: asked.append(f"{operation} {key}")
    exportable(store, "full")
    assert not [one for one in asked if ".pool" in one]
    exportable(store, "monday")
    assert [one for one in asked if ".pool" in one] == [f"list_objects {PREFIX}/.catalogue/verifications/.pool/"]
    verify(store, name="full")
    assert len([one for one in asked if "verifications/.pool" in one]) == 1


@pytest.mark.parametrize("rotten", [b"{}\n{}", b"{", b""])
def test_a_document_that_rots_is_not_taken_for_none(store: InMemoryObjectStore, rotten: bytes) -> None:
    keys = two(store)
    change_below_s3(store, keys[ONE], flip(OBJECTS[ONE]))
    verify(store, name="monday", level="deep")
    catalogue, doubts = Catalogue(store, BUCKET, PREFIX), PoolDoubts(store, BUCKET, PREFIX)
    written, before = store.get(BUCKET, DOCUMENT), doubts.read()
    store.put(BUCKET, DOCUMENT, rotten)

    def prepare_a_backup() -> None:
        catalogue.damaged_in_pool()

    def export() -> None:
        exportable(store, "tuesday")

    def begin_to_verify() -> None:
        verify(store, name="tuesday", run="verify-2", level="deep")

    def end_to_verify() -> None:
        doubts.change({}, before)

    for one in (prepare_a_backup, export, begin_to_verify, end_to_verify):
        with pytest.raises(WorkingFileError, match=re.escape(DOCUMENT)) as raised:
            one()
        assert "or remove it, and verify deeply (`level`)" in raised.value.hint
    assert store.get(BUCKET, DOCUMENT) == rotten
    exportable(store, "full")
    # Lists go on, and say it. What a verification found itself stays as it is.
    listed = damages(store)
    assert "which says which objects of the pool are damaged, cannot be read" in listed["tuesday"]
    assert (keys[ONE] in listed["monday"], listed["full"]) == (True, "")
    for name in ("monday", "tuesday"):
        assert catalogue.get(name).damage == listed[name]
        assert proof(store, name).flaw == listed[name]
    assert proof(store, "full").flaw == ""

    store.put(BUCKET, DOCUMENT, written)
    assert doubts.read() == before
    store.delete(BUCKET, [DOCUMENT])
    verify(store, name="monday", run="verify-3", level="deep")
    assert keys[ONE] in damages(store)["tuesday"]


class TestWithoutETags:
    """In a bucket under KMS."""

    @pytest.fixture
    def store(self, monkeypatch: pytest.MonkeyPatch) -> InMemoryObjectStore:
        """A bucket where no ETag is of the content, and each write of one content has the same."""
        store = InMemoryObjectStore(BUCKET, has_random_etags=True)
        monkeypatch.setattr(store, "_salts", repeat(b"kms-"))
        return store

    def test_the_digest_of_one_backup_is_compared_for_the_other(self, store: InMemoryObjectStore) -> None:
        keys = two(store)
        assert verify(store, name="monday", level="deep").baseline_count == len(keys)
        change_below_s3(store, keys[ONE], other_values_of(13, 101))
        assert verify(store, name="monday", run="verify-2", level="deep").problem_count == 1

        # The other one was never read: what it has now must not become its baseline, nor settle anything.
        found = verify(store, name="tuesday", run="verify-3", level="deep")

        assert (found.status, found.problem_count) == ("damaged", 1)
        assert "when it was first verified" in found.cause
        change_below_s3(store, keys[ONE], OBJECTS[ONE])
        assert verify(store, name="tuesday", run="verify-4", level="deep").status == "intact"
        assert verify(store, name="monday", run="verify-5").status == "intact"
