"""What the check of a deployment says of Milvus' objects; tests/e2e has the rest."""

from contextlib import AbstractContextManager
from typing import Never

from milvus_vault.errors import MilvusSecretError
from milvus_vault.inspection.check import Deployment, check_deployment
from milvus_vault.model.objects import BucketSettings
from milvus_vault.model.resources import CheckItem
from milvus_vault.ports import VectorDatabase
from milvus_vault.source import MilvusStorage
from tests.support.memory_store import InMemoryObjectStore


def _no_secret() -> Never:
    msg = "there is none"
    raise MilvusSecretError(msg)


def _no_milvus() -> AbstractContextManager[VectorDatabase]:
    msg = "without the secret nobody connects"
    raise AssertionError(msg)


def checked(store: InMemoryObjectStore) -> dict[str, CheckItem]:
    """Return what is found, by name, of a deployment whose Milvus cannot be asked."""
    storage = MilvusStorage(bucket="milvus", root_path="files")
    deployment = Deployment(store, "backups", "vault", storage, "staging", _no_secret, _no_milvus, lambda: None)
    return {item.name: item for item in check_deployment(deployment).checks}


def test_warns_of_objects_that_lie_in_glacier() -> None:
    store = InMemoryObjectStore("backups", "milvus")
    for number in range(3):
        store.put("milvus", f"files/insert_log/1/2/3/4/{number}", b"")
    store.archived = {"files/insert_log/1/2/3/4/1"}

    found = checked(store)["milvus_objects"]

    assert found.verdict == "warning"
    assert found.message.startswith("1 of the first 3 objects below s3://milvus/files/insert_log/ are archived")
    assert "files/insert_log/1/2/3/4/1 (GLACIER)" in found.message
    assert "RestoreObject" in found.hint


def test_says_that_none_is_archived() -> None:
    store = InMemoryObjectStore("backups", "milvus")

    assert checked(store)["milvus_objects"].verdict == "ok"


def test_says_what_guards_the_backup_bucket() -> None:
    found = checked(InMemoryObjectStore("backups", "milvus"))["backup_bucket_settings"]

    said = "s3://backups blocks public access, is not public by its policy, takes TLS only, keeps versions"
    assert (found.verdict, found.message) == ("ok", said)


def test_warns_of_a_bucket_that_nothing_guards() -> None:
    store = InMemoryObjectStore("backups", "milvus")
    store.settings = BucketSettings(
        blocks_public_access=False, is_public=True, takes_tls_only=False, keeps_versions=False, has_object_lock=None
    )

    found = checked(store)["backup_bucket_settings"]

    missing = "blocks public access, is not public by its policy, takes TLS only, keeps versions"
    said = f"it is not so that s3://backups {missing}; could not be read whether it has Object Lock"
    assert (found.verdict, found.message) == ("warning", said)


def test_what_cannot_be_read_of_the_backup_bucket_is_no_failure() -> None:
    store = InMemoryObjectStore("backups", "milvus")
    store.settings = BucketSettings(None, None, None, None, None)

    found = checked(store)["backup_bucket_settings"]

    assert found.verdict == "ok"
    assert found.message.startswith("s3://backups can be used; could not be read whether it blocks public access,")


def test_looks_at_no_object_of_a_bucket_that_cannot_be_listed() -> None:
    found = checked(InMemoryObjectStore("backups"))

    assert (found["milvus_bucket"].verdict, found["milvus_objects"].verdict) == ("failed", "skipped")
