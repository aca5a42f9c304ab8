"""How a restore checks the contents of its collections, and what it takes from an execution that was killed."""

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.reader import read_archive
from milvus_vault.copying.batches import BatchLimits
from milvus_vault.model.requests import VerifyLevel
from milvus_vault.model.resources import Verification
from milvus_vault.restore.content_check import ContentCheck, ContentsFound, level_of
from milvus_vault.verifying import planning
from milvus_vault.verifying.objects import check_batch
from milvus_vault.verifying.working_files import CheckedBatch
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX
from tests.unit.verifying.logs import backup, contents
from tests.unit.verifying.test_levels import ONE, OTHER, change_below_s3, flip

LAYOUT = BackupLayout(PREFIX, "books")
KEYS = ["a", "b"]


def verification(level: VerifyLevel, status: str, *damaged: str) -> Verification:
    """Return what the catalogue has of a verification that found contents damaged."""
    return Verification.model_validate(
        {
            "verified_at": "2027-01-01T00:00:00Z",
            "status": status,
            "run": "verify-1",
            "level": level,
            "object_count": 1,
            "size_bytes": 1,
            "content_checked": False,
            "damaged_contents": dict.fromkeys(damaged, "it is damaged"),
        }
    )


@pytest.mark.parametrize(
    ("last", "of_ours", "of_another_tool"),
    [
        pytest.param(None, "quick", "deep", id="never verified"),
        pytest.param(verification("quick", "intact"), "quick", "deep", id="listed"),
        pytest.param(verification("deep", "intact"), "quick", "deep", id="read and found intact"),
        pytest.param(verification("quick", "damaged"), "quick", "deep", id="what a listing sees is seen again"),
        pytest.param(verification("deep", "damaged", "a"), "deep", "deep", id="found damaged and not read since"),
        pytest.param(verification("quick", "damaged", "a"), "deep", "deep", id="known to one that came later"),
        pytest.param(verification("deep", "damaged", "c"), "quick", "deep", id="of another collection"),
        pytest.param(verification("checksum", "damaged"), "checksum", "deep", id="checksums that no listing sees"),
        pytest.param(verification("checksum", "intact"), "quick", "deep", id="checksums that are right"),
        pytest.param(verification("checksum", "damaged", "a"), "deep", "deep", id="both"),
    ],
)
def test_the_default_leaves_no_known_doubt_and_reads_no_more(
    last: Verification | None, of_ours: VerifyLevel, of_another_tool: VerifyLevel
) -> None:
    is_doubted = last is not None and not last.damaged_contents.keys().isdisjoint(KEYS)
    assert level_of(None, has_checksums=True, last=last, is_doubted=is_doubted) == of_ours
    assert level_of(None, has_checksums=False, last=last, is_doubted=is_doubted) == of_another_tool
    for asked in ("quick", "checksum", "deep"):
        assert level_of(asked, has_checksums=False, last=last, is_doubted=is_doubted) == asked


@pytest.fixture
def store() -> InMemoryObjectStore:
    """An empty backup bucket."""
    return InMemoryObjectStore(BUCKET)


def check_of(store: InMemoryObjectStore) -> ContentCheck:
    """Return the check of the only collection."""
    run = Workspace(store, BUCKET, PREFIX, "restore-books-0123456789ab")
    (collection,) = read_archive(store, BUCKET, LAYOUT).collections
    return ContentCheck.of(run, LAYOUT, "deep", {0: collection}, {}, "1a2b3c")


def look_at(check: ContentCheck) -> list[str]:
    """Do the batches that are left, as CheckObjects does, and return the keys that are read."""
    store = check.run.store
    assert isinstance(store, InMemoryObjectStore)
    read: list[str] = []
    store.before = lambda operation, _, key: read.append(key) if operation == "chunks" else None
    number = 0
    while check.run.find(f"check/done-{number}.json", CheckedBatch) or any(check.run.names(f"check/batch-{number}.")):
        check_batch(check.run, number, seconds_left=lambda: 900.0)
        number += 1
    store.before = lambda *_: None
    return read


def found_by(check: ContentCheck, check_count: int) -> ContentsFound:
    """Return what a check found that has ended."""
    found = check.check(check_count)
    assert found is not None
    return found


def test_what_was_found_sound_is_kept_and_what_was_found_damaged_is_looked_at_again(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object was mended below S3, so that its ETag is what it was."""
    monkeypatch.setattr(planning, "DEEP_LIMITS", BatchLimits(max_objects=1, max_bytes=2**40))
    keys, whole = backup(store), contents()
    change_below_s3(store, keys[ONE], flip(whole[ONE]))
    check = check_of(store)
    assert check.check(0) is None
    assert sorted(look_at(check)) == sorted(keys.values())
    assert list(found_by(check, 1).damaged) == [0]
    assert ONE.rpartition("/")[2] in found_by(check, 1).damaged[0].message

    change_below_s3(store, keys[ONE], whole[ONE])
    # The next execution of the run. Only the batch of that segment is read, and the one of the other is not.
    again = check_of(store)
    assert again.check(0) is None
    read = look_at(again)
    assert keys[ONE] in read
    assert keys[OTHER] not in read
    assert found_by(again, 1).damaged == {}
    assert check_of(store).check(0) is not None


def test_all_damaged_objects_are_known_however_many_a_verification_keeps(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "MOST_DAMAGED", 0)
    keys, whole = backup(store), contents()
    change_below_s3(store, keys[ONE], flip(whole[ONE]))
    check = check_of(store)
    check.check(0)
    look_at(check)
    assert list(found_by(check, 1).damaged) == [0]


def test_what_is_too_large_to_be_read_is_told(store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milvus_vault.restore.content_check.MAX_READ_BYTES", 1)
    monkeypatch.setattr(planning, "MAX_READ_BYTES", 1)
    backup(store)
    (warning,) = found_by(check_of(store), 0).warnings
    assert warning == f"{len(contents())} object(s) of more than 1 B were not read"
