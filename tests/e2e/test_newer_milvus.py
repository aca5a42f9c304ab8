"""The deployed machines with servers of 2.4 to 2.6: no real one runs here, so the protocol server stands for them."""

import base64
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from local.aws import Ministack
from local.stack import Deployment, deploy
from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus, base_fields, numbers
from tests.conformance.asking import field as schema_field
from tests.support.milvus_server.core import Settings
from tests.support.milvus_server.server import MilvusServer
from tests.support.milvus_server.versions import NEWER, VERSIONS
from tests.support.vault_runs import function_name, listing, report, staged, start, succeed
from tests.tiers import parameters

SPEED = 5
NEVER = 10.0**6
DATABASE = "shop"
ITEMS, BY_KEY, BUSY, EMPTY = "items", "by_key", "busy", "empty"
BUSY_PARTITIONS = tuple(f"p{number}" for number in range(12))
ROWS = 60
REBORN, DELETED = range(10), range(20, 30)

type Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Newer:
    """A server, what asks it, and the stack that backs it up."""

    version: str
    server: MilvusServer
    milvus: Milvus
    deployment: Deployment

    def rows(self) -> dict[str, Rows]:
        """Return the live rows of each partition, all fields."""
        found = {}
        for collection in list(self.server.core.catalog.collections()):
            for partition in collection.partitions:
                columns = self.server.live_rows(collection.database, collection.name, partition)
                fields = [values for number, values in sorted(columns.items()) if number > 1]
                found[f"{collection.database}.{collection.name}/{partition}"] = sorted(zip(*fields, strict=True))
        return found

    def state(self) -> dict[str, Any]:
        """Return what there is of each collection beside rows."""
        return {
            f"{found.database}.{found.name}": (
                sorted((index.field_name, index.name) for index in found.indexes.values()),
                found.load is not None,
                self.milvus.must("ListAliases", db_name=found.database, collection_name=found.name).aliases,
                found.properties,
            )
            for found in list(self.server.core.catalog.collections())
        }

    def drop_everything(self) -> None:
        """Drop all collections and the database."""
        for found in list(self.server.core.catalog.collections()):
            names = {"db_name": found.database, "collection_name": found.name}
            for alias in self.milvus.must("ListAliases", **names).aliases:
                self.milvus.must("DropAlias", db_name=found.database, alias=alias)
            self.milvus.call("ReleaseCollection", **names)
            self.milvus.must("DropCollection", **names)
        self.milvus.must("DropDatabase", db_name=DATABASE)
        self.milvus.must("DeleteCredential", username="clerk")
        self.milvus.must("DropRole", role_name="seller")

    def roles_of(self, user: str) -> list[str]:
        """Return the roles of a user."""
        answer = self.milvus.must("SelectUser", user={"name": user}, include_role_info=True)
        return [role.name for found in answer.results for role in found.roles]


@pytest.fixture(scope="module")
def aws() -> Iterator[Ministack]:
    """Run an emulator of AWS that lets functions do what their roles allow, and nothing else."""
    with Ministack(enforce_policies=True) as running:
        yield running


# tests/restore/ has each version through the same functions: the machines do not know which it is.
@pytest.fixture(scope="module", params=parameters(NEWER, NEWER[:-1]))
def newer(aws: Ministack, request: pytest.FixtureRequest) -> Iterator[Newer]:
    """Deploy the stack for a server with rows, and with deletes at level 0."""
    version = str(request.param)
    name = f"newer-{version.replace('.', '-')}"
    chosen = Settings(speed=SPEED, durations=replace(VERSIONS[version].durations, l0_compaction=NEVER))
    server = MilvusServer(aws.url, version=version, bucket=name, root_path="data", settings=chosen)
    with server:
        s3 = aws.client("s3")
        milvus = Milvus(server.uri, server.management_uri, s3, name, "data", 1, 0.1)
        found = Newer(version, server, milvus, deploy(aws, name, server))
        _fill(found)
        yield found


def _fill(newer: Newer) -> None:
    milvus = newer.milvus
    milvus.must("CreateDatabase", db_name=DATABASE, properties=[{"key": "database.diskQuota.mb", "value": "1000"}])
    milvus.make(ITEMS, *base_fields(), shards=2, partitions=("sold",), properties={"collection.ttl.seconds": "900000"})
    milvus.insert(ITEMS, range(ROWS))
    milvus.insert(ITEMS, range(ROWS, 2 * ROWS), "sold")
    milvus.flush(ITEMS)
    milvus.delete(ITEMS, [*REBORN, *DELETED])
    milvus.must("Delete", collection_name=ITEMS, partition_name="sold", expr=f"id in {[ROWS, ROWS + 1]}")
    milvus.insert(ITEMS, REBORN)
    milvus.must("CreateAlias", collection_name=ITEMS, alias="shelf")
    milvus.must(
        "CreateIndex",
        collection_name=ITEMS,
        field_name="v",
        index_name="by_vector",
        extra_params=[
            {"key": "index_type", "value": "HNSW"},
            {"key": "metric_type", "value": "L2"},
            {"key": "params", "value": '{"M": 8, "efConstruction": 64}'},
        ],
    )
    milvus.must("LoadCollection", collection_name=ITEMS, replica_number=1)
    milvus.make(BY_KEY, *base_fields(), schema_field("n", "Int64", is_partition_key=True), num_partitions=4)
    milvus.insert(BY_KEY, range(ROWS), extra=[numbers("n", range(ROWS))])
    milvus.delete(BY_KEY, DELETED)
    _fill_busy(milvus)
    milvus.make(EMPTY, *base_fields(), database=DATABASE)
    milvus.must("CreateCredential", username="clerk", password=base64.b64encode(b"Secret1!").decode())
    milvus.must("CreateRole", entity={"name": "seller"})
    milvus.must("OperateUserRole", username="clerk", role_name="seller")


def _fill_busy(milvus: Milvus) -> None:
    """Make so many segments, and logs of deletes that concern all of them, that a restore composes these."""
    milvus.make(BUSY, *base_fields(), shards=2, partitions=BUSY_PARTITIONS)
    for number, partition in enumerate(BUSY_PARTITIONS):
        milvus.insert(BUSY, range(number * 10, number * 10 + 10), partition)
    milvus.flush(BUSY)
    for first in (0, 60):
        milvus.delete(BUSY, range(first, first + 15))
        milvus.flush(BUSY)


@pytest.fixture(scope="module")
def restored(newer: Newer) -> tuple[dict[str, Rows], dict[str, Any], Newer, dict[str, Any], int]:
    """Back up, drop everything, restore; return what was there, the server, the report, and the pauses seen."""
    rows, state = newer.rows(), newer.state()
    pauses = 0

    def watch(_: object) -> None:
        nonlocal pauses
        pauses = max(pauses, newer.server.garbage_collection.pauses)

    described = newer.deployment.wait(
        start(newer.deployment, "Backup", {"backup_name": "all", "include_rbac": True}), 300, watch
    )
    assert described["status"] == "SUCCEEDED", (described.get("error"), described.get("cause"))
    newer.drop_everything()
    output = succeed(newer.deployment, "Restore", {"backup_name": "all", "rbac": True})
    return rows, state, newer, report(newer.deployment, output), pauses


type Restored = tuple[dict[str, Rows], dict[str, Any], Newer, dict[str, Any], int]


@pytest.mark.feature(
    Feature.EVERY_ROW_ONCE, Feature.FOLDED_DELETES, Feature.PARTITIONS, Feature.PARTITION_KEY, parameter="newer"
)
def test_every_live_row_comes_back_to_its_partition_and_no_deleted_one(restored: Restored) -> None:
    rows, _, newer, _, _ = restored
    found = newer.rows()
    assert found == rows
    assert {row[0] for row in found[f"default.{ITEMS}/_default"]} == set(range(ROWS)) - set(DELETED)
    assert sum(len(found[f"default.{BY_KEY}/_default_{number}"]) for number in range(4)) == ROWS - len(DELETED)
    assert sum(len(found[f"default.{BUSY}/{name}"]) for name in BUSY_PARTITIONS) == 10 * len(BUSY_PARTITIONS) - 30


def test_many_deletes_were_composed_and_nothing_of_that_is_left(restored: Restored) -> None:
    outputs, deployment = restored[2].deployment.outputs, restored[2].deployment
    runs = listing(deployment, outputs["BackupBucketName"], f"{outputs['BackupPrefix']}/.runs/restore-all-")
    cuts = [key for key in runs if re.search(r"/cuts/[0-9]+\.json$", key)]
    s3 = deployment.ministack.client("s3")
    found = [json.loads(s3.get_object(Bucket=outputs["BackupBucketName"], Key=key)["Body"].read()) for key in cuts]
    assert [(cut["name"]["name"], len(cut["compositions"])) for cut in found if cut["compositions"]] == [(BUSY, 1)]
    assert not [key for key in runs if "/composed/" in key]


@pytest.mark.feature(
    Feature.LOAD_STATE, Feature.ALIASES, Feature.TIME_TO_LIVE, Feature.DATABASE_PROPERTIES, parameter="newer"
)
def test_indexes_load_state_aliases_and_properties_come_back(restored: Restored) -> None:
    _, state, newer, found, _ = restored
    assert newer.state() == state
    assert state[f"default.{ITEMS}"][1:3] == (True, ["shelf"])
    assert found["status"] == "complete"
    properties = newer.server.core.catalog.databases[DATABASE].properties
    assert properties["database.diskQuota.mb"] == "1000"


@pytest.mark.feature(Feature.BACKUP_RBAC, Feature.RESTORE_RBAC, parameter="newer")
def test_users_and_their_roles_come_back_and_no_working_file_keeps_their_hashes(restored: Restored) -> None:
    newer = restored[2]
    assert newer.roles_of("clerk") == ["seller"]
    outputs = newer.deployment.outputs
    runs = listing(newer.deployment, outputs["BackupBucketName"], f"{outputs['BackupPrefix']}/.runs/")
    assert not [key for key in runs if key.endswith("rbac.json")]


@pytest.mark.feature(Feature.PAUSE, parameter="newer")
def test_garbage_collection_is_paused_for_the_backup_and_no_longer(restored: Restored) -> None:
    assert restored[4] == 1
    assert restored[2].server.garbage_collection.pauses == 0


def test_the_pause_of_a_backup_that_was_aborted_is_given_back(restored: Restored) -> None:
    newer = restored[2]
    garbage, client = newer.server.garbage_collection, newer.deployment.ministack.client
    execution = start(newer.deployment, "Backup", {"backup_name": "aborted"})

    def abort_once_paused(_: object) -> None:
        if garbage.pauses:
            client("stepfunctions").stop_execution(executionArn=execution)

    described = newer.deployment.wait(execution, 300, abort_once_paused)
    assert (described["status"], garbage.pauses) == ("ABORTED", 1)
    name = function_name(client, newer.deployment.stack_name, "TendPauses")
    ended, deadline = 0, time.monotonic() + 60
    # The function that was about to note its pause when the execution was aborted still does so.
    while garbage.pauses:
        assert time.monotonic() < deadline
        answer = client("lambda").invoke(FunctionName=name, Payload=b"{}")
        ended += json.load(answer["Payload"])["ended_count"]
        time.sleep(0.2)
    assert ended == 1


def test_nothing_staged_is_left(restored: Restored) -> None:
    newer = restored[2]
    assert newer.deployment.milvus.bucket == newer.server.bucket
    assert staged(newer.deployment) == set()


def test_a_server_that_dies_while_it_imports_gets_its_rows_all_the_same(restored: Restored) -> None:
    """And no row twice: its jobs go on when it is back."""
    rows, _, newer, _, _ = restored
    server, crashed = newer.server, threading.Event()
    before = {job.job_id for job in server.service.imports.all()}

    def crash_once(_: object) -> None:
        if not crashed.is_set() and any(job.job_id not in before for job in list(server.service.imports.all())):
            crashed.set()
            server.crash()
            threading.Timer(3, server.restart).start()

    execution = start(newer.deployment, "Restore", {"backup_name": "all", "suffix": "_again"})
    described = newer.deployment.wait(execution, 300, crash_once)
    assert crashed.is_set()
    assert described["status"] == "SUCCEEDED", (described.get("error"), described.get("cause"))
    found = newer.rows()
    for name, expected in rows.items():
        collection, _, partition = name.partition("/")
        assert found[f"{collection}_again/{partition}"] == expected
