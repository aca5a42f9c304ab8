"""A backup goes to another Milvus, with a bucket of its own; and one in Milvus' own bucket is imported in place."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from local.stack import Deployment, LocalStack
from tests.compatibility.features import Feature
from tests.support.fill_collections import DATABASE, fill
from tests.support.oracle import MADE_OF, ROWS, STATE, Snapshot, drop_everything, renamed, snapshot
from tests.support.vault_runs import TIMEOUT_SECONDS, report, staged, start, succeed

# test_golden_archives.py restores what another server wrote, and test_damage.py from Milvus' own bucket; both look at
# what is staged. In tests/restore/ every restore is into another server, with a bucket and a root path of its own.
pytestmark = pytest.mark.thorough

NAMES = ["default.by_name", f"{DATABASE}.generations"]
SUFFIX = "_beside"
IN_PLACE = "backups"

each_collection = pytest.mark.parametrize("collection", NAMES)
each_member = pytest.mark.parametrize("member", [*MADE_OF, *STATE, *ROWS])


@pytest.fixture(scope="module")
def source(stack: LocalStack) -> Iterator[Snapshot]:
    """Fill the first Milvus."""
    drop_everything(stack.milvus_uri)
    fill(stack.milvus_uri, *NAMES)
    yield snapshot(stack.milvus_uri)
    drop_everything(stack.milvus_uri)


class Restored(NamedTuple):
    """What a restore brought, and how."""

    collections: Snapshot
    report: Mapping[str, Any]
    staged: set[str]
    """Keys of all staged objects that were seen in Milvus' bucket during the restore."""
    left: set[str]
    """Those that were still there afterwards."""


@pytest.fixture(scope="module")
def elsewhere(stack: LocalStack, source: Snapshot) -> Iterator[Restored]:
    """Restore a backup of the first Milvus into a second one, with another bucket and root path."""
    succeed(stack, "Backup", {"backup_name": "other_milvus", "collections": sorted(source)})
    milvus = stack.add_milvus("other-milvus", "some/other/root")
    shared = {name: stack.outputs[name] for name in ("BackupBucketName", "BackupPrefix")}
    deployment = stack.deploy("other-milvus", milvus, shared)
    yield watched_restore(deployment, {"backup_name": "other_milvus"})
    milvus.stop()


@pytest.fixture(scope="module")
def in_place(stack: LocalStack, source: Snapshot) -> Restored:
    """Back the first Milvus up into its own bucket, and restore from there, beside the source."""
    own_bucket = {"BackupBucketName": stack.milvus.bucket, "BackupPrefix": IN_PLACE}
    deployment = stack.deploy("in-place", stack.milvus, own_bucket)
    succeed(deployment, "Backup", {"backup_name": "in_place", "collections": sorted(source)})
    return watched_restore(deployment, {"backup_name": "in_place", "suffix": SUFFIX, "restore_aliases": False})


def watched_restore(deployment: Deployment, request: Mapping[str, Any]) -> Restored:
    """Restore, and look for staged objects all the while."""

    seen: set[str] = set()
    execution = start(deployment, "Restore", {"allow_version": True, **request})
    described = deployment.wait(execution, TIMEOUT_SECONDS, lambda _: seen.update(staged(deployment)))
    assert described["status"] == "SUCCEEDED", (described.get("error"), described.get("cause"))
    output = json.loads(described["output"])
    return Restored(snapshot(deployment.milvus.uri), report(deployment, output), seen, staged(deployment))


@each_collection
@each_member
def test_another_milvus_gets_what_the_first_one_has(
    source: Snapshot, elsewhere: Restored, collection: str, member: str
) -> None:
    assert elsewhere.collections[collection][member] == source[collection][member]


def test_another_milvus_gets_nothing_else(elsewhere: Restored) -> None:
    assert sorted(elsewhere.collections) == sorted(NAMES)


def test_for_another_bucket_objects_are_staged_there_and_removed(elsewhere: Restored) -> None:
    assert elsewhere.report["is_staged"] is True
    assert {key.split("/")[-1].isdecimal() for key in elsewhere.staged} == {True}
    assert elsewhere.left == set()


@each_collection
@each_member
def test_a_backup_in_milvus_own_bucket_is_restored(
    source: Snapshot, in_place: Restored, collection: str, member: str
) -> None:
    found = renamed(in_place.collections[collection + SUFFIX], collection)

    assert found[member] == source[collection][member]


@pytest.mark.feature(Feature.IN_PLACE)
def test_in_milvus_own_bucket_nothing_is_staged(in_place: Restored) -> None:
    assert in_place.report["is_staged"] is False
    assert in_place.report["content_checked"] is True
    assert in_place.staged | in_place.left == set()


@each_collection
def test_the_source_is_left_as_it_was(
    source: Snapshot, elsewhere: Restored, in_place: Restored, collection: str
) -> None:
    assert elsewhere.report["status"] == in_place.report["status"] == "complete"

    assert in_place.collections[collection] == source[collection]
