"""Backups of a source whose objects vanish while they are copied: once they are replaced, or for good."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from pymilvus import MilvusClient

from local.milvus import Milvus
from local.stack import Deployment, LocalStack
from tests.compatibility.features import Feature
from tests.support import library, vault_runs
from tests.support.killing import GatedMachine
from tests.support.tampering import StoredBackup

BUCKET, ROOT_PATH = "vanishing-bucket", "files"

# Compactions only when asked for; what they replaced is deleted within 10 s, and not after 3 h.
SETTINGS = {
    "dataCoord.compaction.enableAutoCompaction": False,
    "dataCoord.gc.interval": 5,
    "dataCoord.gc.dropTolerance": 5,
    "dataCoord.gc.missingTolerance": 10,
}

SEGMENTS = 4
ROWS_OF_A_SEGMENT = 25
VANISHED_SECONDS = 60.0


@pytest.fixture(scope="module")
def server(stack: LocalStack) -> Iterator[Milvus]:
    """Run a Milvus that deletes replaced segments at once."""
    milvus = stack.add_milvus(BUCKET, ROOT_PATH, settings=SETTINGS)
    yield milvus
    milvus.stop()


@pytest.fixture(scope="module")
def deployment(stack: LocalStack, server: Milvus) -> Deployment:
    """Deploy the template for that Milvus."""
    return stack.deploy("vanishing", server)


def fill(server: Milvus, name: str, segments: int = SEGMENTS) -> MilvusClient:
    """Create a collection of some segments, and return a client."""
    client = MilvusClient(server.uri)
    library.create(client, name)
    for number in range(segments):
        client.insert(name, rows_of(number))
        client.flush(name)
    return client


def rows_of(segment: int) -> list[dict[str, Any]]:
    """Return the rows of a segment."""
    return library.rows(range(segment * ROWS_OF_A_SEGMENT, (segment + 1) * ROWS_OF_A_SEGMENT))


def all_rows(segments: int = SEGMENTS) -> list[dict[str, Any]]:
    """Return the rows of a collection of some segments."""
    return [row for number in range(segments) for row in rows_of(number)]


def read_rows(client: MilvusClient, name: str) -> list[dict[str, Any]]:
    """Return the rows that a collection has."""
    client.load_collection(name)
    found = client.query(name, "id >= 0", output_fields=["*"], consistency_level="Strong")
    client.release_collection(name)
    return sorted(({**row, "vector": list(row["vector"])} for row in found), key=lambda row: int(row["id"]))


def insert_logs(deployment: Deployment, client: MilvusClient, name: str) -> set[str]:
    """Return the keys of a collection's insert logs in Milvus' bucket."""
    number = client.describe_collection(name)["collection_id"]
    return set(vault_runs.listing(deployment, BUCKET, f"{ROOT_PATH}/insert_log/{number}/"))


def back_up(
    deployment: Deployment, gate: str, request: Mapping[str, Any], meanwhile: Callable[[], None]
) -> tuple[str, int]:
    """Run a backup with something happening at a gate the first time it is passed; return how it ended.

    That is its error or status, and how many times the gate was passed.
    """
    machine = GatedMachine(deployment, "Backup", [gate, "before PublishBackup"])
    execution = machine.start(request)
    passed = 0
    while (here := machine.arrival(execution)).gate == gate:
        passed += 1
        if passed == 1:
            meanwhile()
        machine.let_through(here)
    machine.let_through(here)
    described = deployment.wait(execution)
    return described.get("error") or described["status"], passed


@pytest.mark.feature(Feature.CHANGES_MEANWHILE)
@pytest.mark.parametrize("mode", ["full", "incremental"])
@pytest.mark.parametrize("gate", ["after SnapshotCollections", "before CopyObjects"])
def test_a_backup_takes_another_round_where_a_compaction_replaced_segments(
    deployment: Deployment, server: Milvus, gate: str, mode: str
) -> None:
    """Whether PlanCopy copies at once what was listed, or CopyBatch what was planned."""
    state = gate.partition(" ")[2]
    name, earlier = f"compacted_by_{state}_{mode}", f"before_{state}_{mode}"
    client = fill(server, name, SEGMENTS - 1)
    request = {"collections": [f"default.{name}"], "mode": mode}
    if mode == "incremental":
        # So that the next one finds some of its objects in the pool.
        vault_runs.succeed(deployment, "Backup", {"backup_name": earlier, **request})
    client.insert(name, rows_of(SEGMENTS - 1))
    client.flush(name)
    before = insert_logs(deployment, client, name)

    def compact_and_wait() -> None:
        client.compact(name)
        end = time.monotonic() + VANISHED_SECONDS
        # One segment may stay: it is not merged into a full one.
        while before <= insert_logs(deployment, client, name):
            assert time.monotonic() < end, "the replaced segments are still there"
            time.sleep(0.5)

    ended, rounds = back_up(deployment, gate, {"backup_name": name, **request}, compact_and_wait)

    assert (ended, rounds) == ("SUCCEEDED", 2)
    backup = StoredBackup(deployment, name)
    assert backup.not_as_listed() == []
    if mode == "incremental":
        # The older one has what Milvus has no more.
        older = StoredBackup(deployment, earlier)
        assert older.not_as_listed() == []
        assert not {item.source_key for item in older.listed()} <= insert_logs(deployment, client, name)
    output = vault_runs.restore(deployment, {"backup_name": name, "suffix": "_restored"})
    assert output["row_count"] == SEGMENTS * ROWS_OF_A_SEGMENT
    assert read_rows(client, f"{name}_restored") == all_rows()


def test_a_collection_whose_objects_are_lost_does_not_cost_the_others(
    stack: LocalStack, deployment: Deployment, server: Milvus
) -> None:
    client = fill(server, "lost", 2)
    fill(server, "kept", 1)

    def lose_a_segment() -> None:
        keys = insert_logs(deployment, client, "lost")
        segment = min(key.rsplit("/", 2)[0] for key in keys)
        for key in keys:
            if key.startswith(f"{segment}/"):
                stack.client("s3").delete_object(Bucket=BUCKET, Key=key)

    request = {"backup_name": "partial", "collections": ["default.lost", "default.kept"]}
    ended, _ = back_up(deployment, "before CopyObjects", request, lose_a_segment)

    assert ended == "BackupPartialError"
    folder = f"{deployment.outputs['BackupPrefix']}/partial/"
    assert f"{folder}meta/backup_meta.json" in vault_runs.listing(
        deployment, deployment.outputs["BackupBucketName"], folder
    )
    output = vault_runs.restore(deployment, {"backup_name": "partial", "suffix": "_restored"})
    assert output["restored_count"] == 1
    assert read_rows(client, "kept_restored") == all_rows(1)
    assert "lost_restored" not in client.list_collections()
