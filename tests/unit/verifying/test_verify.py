"""A backup is called intact if and only if all that belongs to it is there as it was written."""

from datetime import UTC, datetime
from itertools import count

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.archive.sealing import unseal
from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.catalogue.entries import CatalogueKeys
from milvus_vault.errors import BackupFormatError, BackupNotFoundError, RunTakenOverError, split_hint
from milvus_vault.model.messages_verify import VerifyBackupResult
from milvus_vault.model.objects import ArchivedObject
from milvus_vault.model.requests import VerifyRequest
from milvus_vault.model.resources import Verification
from milvus_vault.verifying.verify import BackupVerification, verify_backup
from milvus_vault.verifying.working_files import VerifyProgress
from milvus_vault.workspace import Workspace
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET, PREFIX, golden_store, sample_contents, write_backup
from tests.unit.test_claims import FakeExecutions

LAYOUT = BackupLayout(PREFIX, "books")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def store() -> InMemoryObjectStore:
    """A bucket with a backup whose lists have the ETags that its objects have."""
    store = InMemoryObjectStore(BUCKET)
    contents = []
    for document, objects in sample_contents(LAYOUT):
        etags = []
        for item in objects:
            store.put(BUCKET, item.stored_key, b"." * item.size_bytes)
            etag = store.get_with_etag(BUCKET, item.stored_key)[1]
            etags.append(ArchivedObject(item.stored_key, item.source_key, item.size_bytes, etag, item.checksum))
        contents.append((document, etags))
    write_backup(store, LAYOUT, contents)
    return store


def verify(store: InMemoryObjectStore, name: str = "books", seconds_left: float = 900.0) -> VerifyProgress:
    """Run VerifyBackup."""
    return BackupVerification(
        run=Workspace(store, BUCKET, PREFIX, "verify-1"),
        layout=BackupLayout(PREFIX, name),
        executions=FakeExecutions(),
        execution_arn="verify",
        seconds_left=lambda: seconds_left,
        now=NOW,
    ).verify()


def answer(store: InMemoryObjectStore, *, repair: bool = False, seconds_left: float = 900.0) -> VerifyBackupResult:
    """Run VerifyBackup as its handler does."""
    return verify_backup(
        Workspace(store, BUCKET, PREFIX, "verify-1"),
        VerifyRequest(backup_name="books", repair=repair),
        executions=FakeExecutions(),
        execution_arn="verify",
        now=NOW,
        seconds_left=lambda: seconds_left,
    )


def remembered(store: InMemoryObjectStore) -> Verification | None:
    """Return what the catalogue has of the verification."""
    found = store.buckets[BUCKET].get(CatalogueKeys(PREFIX).verification("books"))
    return Verification.model_validate_json(unseal(found.body)) if found else None


def test_a_whole_backup_has_no_problems(store: InMemoryObjectStore) -> None:
    found = verify(store)
    objects = [key for key in store.buckets[BUCKET] if "/binlogs/" in key]
    assert (found.is_done, found.problems, found.etags_compared) == (True, (), True)
    assert found.object_count == len(objects)
    assert found.size_bytes == sum(len(store.buckets[BUCKET][key].body) for key in objects)


def test_a_claim_of_the_run_that_cannot_be_read_ends_it_by_name(store: InMemoryObjectStore) -> None:
    store.put(BUCKET, f"{PREFIX}/.runs/verify-1/claim.json", b"rubbish")
    with pytest.raises(RunTakenOverError):
        verify(store)


@pytest.mark.parametrize("damage", ["delete", "change", "truncate"])
def test_damage_of_any_object_or_document_is_found_and_named(store: InMemoryObjectStore, damage: str) -> None:
    whole = dict(store.buckets[BUCKET])
    # The object list of an empty collection is empty.
    damageable = [key for key, found in whole.items() if key != LAYOUT.marker and (found.body or damage == "delete")]
    for key in damageable:
        store.buckets[BUCKET] = dict(whole)
        body = whole[key].body
        if damage == "delete":
            store.delete(BUCKET, [key])
        else:
            store.put(BUCKET, key, body[:-1] if damage == "truncate" else bytes([body[0] ^ 1]) + body[1:])
        found = verify(store)
        assert found.is_done, key
        assert any(key in problem for problem in found.problems), (key, found.problems)


def test_what_lies_in_glacier_is_archived_and_not_damaged(store: InMemoryObjectStore) -> None:
    key = next(key for key in store.buckets[BUCKET] if "/binlogs/" in key)
    store.archived = {key}

    found = verify(store)

    assert (found.status, found.error, found.problems) == ("archived", "ObjectArchivedError", ())
    assert [text for text in found.found if key in text] == list(found.found)


def test_what_is_damaged_and_archived_is_damaged(store: InMemoryObjectStore) -> None:
    archived, gone, *_ = (key for key in store.buckets[BUCKET] if "/binlogs/" in key)
    store.archived = {archived}
    store.delete(BUCKET, [gone])

    found = verify(store)

    assert (found.status, found.error, len(found.found)) == ("damaged", "BackupDamagedError", 2)


def test_all_problems_are_found_not_only_the_first(store: InMemoryObjectStore) -> None:
    objects = [key for key in store.buckets[BUCKET] if "/binlogs/" in key]
    store.delete(BUCKET, objects)
    assert len(verify(store).problems) == len(objects)


def test_a_backup_of_another_tool_is_checked_without_etags() -> None:
    store = golden_store("golden_057")
    found = verify(store, "golden_057")
    assert (found.is_done, found.problems, found.etags_compared) == (True, (), False)
    assert found.object_count == sum("/binlogs/" in key for key in store.buckets[BUCKET])
    gone = next(key for key in store.buckets[BUCKET] if "/insert_log/" in key)
    store.delete(BUCKET, [gone, f"{PREFIX}/.runs/verify-1/verified.json"])
    assert any(gone in problem for problem in verify(store, "golden_057").problems)


def test_what_runs_short_of_time_goes_on_and_counts_nothing_twice(store: InMemoryObjectStore) -> None:
    assert not verify(store, seconds_left=1.0).is_done
    first = verify(store)
    assert first.is_done
    reads = store.requests.total()
    assert verify(store) == first
    assert store.requests.total() == reads + 1


def test_what_is_no_backup_is_not_found(store: InMemoryObjectStore) -> None:
    with pytest.raises(BackupNotFoundError):
        verify(store, "nothing")


def test_a_backup_that_is_deleted_meanwhile_is_not_called_damaged(store: InMemoryObjectStore) -> None:
    steps = count()

    def delete_meanwhile(operation: str, _bucket: str, key: str) -> None:
        if operation == "list_objects" and "/binlogs/" in key and next(steps) == 0:
            store.put(BUCKET, tombstone_key(PREFIX, "books"), b"{}")
            store.delete(BUCKET, [found for found in store.buckets[BUCKET] if f"{PREFIX}/books/" in found])

    store.before = delete_meanwhile
    with pytest.raises(BackupNotFoundError, match="being deleted"):
        verify(store)


def test_a_backup_of_a_newer_format_is_not_called_damaged(store: InMemoryObjectStore) -> None:
    store.put(BUCKET, LAYOUT.marker, b'{"vault": {"format_version": 99}}')
    with pytest.raises(BackupFormatError):
        verify(store)


def test_of_a_damaged_backup_the_cause_names_the_first_problems_and_the_catalogue_remembers_all(
    store: InMemoryObjectStore,
) -> None:
    gone = [key for key in store.buckets[BUCKET] if "/binlogs/" in key]
    store.delete(BUCKET, gone)

    found = answer(store)

    assert (found.is_done, found.status, found.error) == (True, "damaged", "BackupDamagedError")
    assert found.problem_count == len(gone)
    cause, hint = split_hint(found.cause)
    assert cause.startswith("backup 'books' is damaged: books.works: ")
    assert cause.count(" is missing") == 5
    assert cause.endswith(f"; and {len(gone) - 5} more")
    assert hint.startswith("Restore what is named from a copy or an older version of it")
    entry = remembered(store)
    assert entry is not None
    assert (entry.status, entry.run, entry.verified_at, len(entry.problems)) == ("damaged", "verify-1", NOW, len(gone))


def test_what_a_repair_did_is_in_the_result_and_beside_the_problems_that_are_left(store: InMemoryObjectStore) -> None:
    store.delete(BUCKET, [LAYOUT.marker])

    found = answer(store, repair=True)

    assert (found.status, found.error, found.cause, len(found.mended), len(found.lost)) == ("intact", "", "", 1, 1)
    store.delete(BUCKET, [key for key in store.buckets[BUCKET] if "/binlogs/" in key or "/verified.json" in key])
    found = answer(store, repair=True)
    assert found.cause.startswith(f"backup 'books' is damaged: {found.mended[0]}; lost: {found.lost[0]}; books.works: ")
    assert found.cause.count(" is missing") == 5


@pytest.mark.parametrize("repair", [False, True])
def test_of_a_call_that_ran_short_of_time_nothing_is_remembered(store: InMemoryObjectStore, repair: bool) -> None:
    if repair:
        # Of another ETag, so that the content is to be compared.
        key = next(key for key in store.buckets[BUCKET] if "/binlogs/" in key)
        store.put(BUCKET, key, b"?" * len(store.buckets[BUCKET][key].body))

    assert not answer(store, repair=repair, seconds_left=1.0).is_done
    assert remembered(store) is None
    assert answer(store, repair=repair).is_done
    assert remembered(store) is not None


def test_documents_that_name_all_objects_are_compared_in_pieces(
    store: InMemoryObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("milvus_vault.archive.reader.ONE_PIECE_BYTES", 0)
    whole: list[str] = []
    get = store.get

    def get_and_tell(bucket: str, key: str) -> bytes:
        whole.append(key)
        return get(bucket, key)

    monkeypatch.setattr(store, "get", get_and_tell)

    assert verify(store).status == "intact"

    assert not any(key.endswith(("full_meta.json", "segment_meta.json")) for key in whole)
