"""What exports and copies to another place are refused alike."""

from typing import Any

import pytest

from milvus_vault.archive.tombstones import tombstone_key
from milvus_vault.claims import CLAIM, Claim
from milvus_vault.errors import (
    BackupExistsError,
    BackupInProgressError,
    BucketNotFoundError,
    StorageAccessDeniedError,
    VaultError,
)
from tests.support.memory_store import InMemoryObjectStore
from tests.unit.archive.samples import BUCKET
from tests.unit.test_claims import FakeExecutions
from tests.unit.test_export import EXPORTED_AT, Export

ARCHIVE, PREFIX_THERE = "archive", "exports/team"


class RefusedElsewhere:
    """Everything that is wrong is told before anything is copied, and no claim is left.

    `store` is a fixture with the backup `night`, and an empty bucket `archive`.
    """

    def execution(self, store: InMemoryObjectStore, **more: Any) -> Export:
        """Return an execution that writes `night` to `archive/exports/team`, with more of its fields."""
        raise AssertionError(store, more)

    def refused(self, store: InMemoryObjectStore, error: type[VaultError], text: str, **more: Any) -> None:
        """Check that an execution is refused, and that it has changed nothing."""
        before = {bucket: {key for key in found if "/.runs/" not in key} for bucket, found in store.buckets.items()}
        claims = {key for found in store.buckets.values() for key in found if key.endswith(CLAIM)}
        with pytest.raises(error, match=text):
            self.execution(store, **more).prepare()
        store.before = lambda *_: None
        after = {bucket: {key for key in found if "/.runs/" not in key} for bucket, found in store.buckets.items()}
        assert after == before
        assert {key for found in store.buckets.values() for key in found if key.endswith(CLAIM)} == claims

    def test_a_bucket_that_is_not_there(self, store: InMemoryObjectStore) -> None:
        del store.buckets[ARCHIVE]
        self.refused(store, BucketNotFoundError, ARCHIVE)

    @pytest.mark.parametrize("operation", ["check_bucket", "list_objects", "put"])
    def test_a_bucket_for_which_there_are_no_rights(self, store: InMemoryObjectStore, operation: str) -> None:
        def deny(asked: str, bucket: str, key: str) -> None:
            if (asked, bucket) == (operation, ARCHIVE):
                msg = f"s3://{bucket}/{key}: access denied"
                raise StorageAccessDeniedError(msg)

        store.before = deny
        self.refused(store, StorageAccessDeniedError, ARCHIVE)

    @pytest.mark.parametrize("left", ["binlogs/insert_log/1/2/3/3/4/5", "meta/vault/manifest.json", "notes.txt"])
    def test_what_somebody_else_has_left_there(self, store: InMemoryObjectStore, left: str) -> None:
        store.put(ARCHIVE, f"{PREFIX_THERE}/night/{left}", b"{}")

        def claim_nothing(operation: str, bucket: str, key: str) -> None:
            assert bucket == BUCKET or not operation.startswith("put"), key

        store.before = claim_nothing
        self.refused(store, BackupExistsError, "something lies in s3://archive/exports/team/night/ already")

    def test_a_backup_of_the_name_that_is_being_deleted_there(self, store: InMemoryObjectStore) -> None:
        store.put(ARCHIVE, tombstone_key(PREFIX_THERE, "night"), b"{}")
        self.refused(store, BackupInProgressError, "is being deleted in s3://archive/exports/team")

    @pytest.mark.parametrize("status", ["RUNNING", "UNKNOWN"])
    def test_a_name_that_somebody_works_on_there(self, store: InMemoryObjectStore, status: str) -> None:
        claim = Claim(execution_arn="theirs", run="backup-night", claimed_at=EXPORTED_AT)
        store.put(ARCHIVE, self.execution(store).destination.key(CLAIM), claim.model_dump_json().encode())
        self.refused(
            store, BackupInProgressError, "execution theirs is working", executions=FakeExecutions(theirs=status)
        )
