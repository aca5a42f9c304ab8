"""What a restore is asked for beside rows: some partitions, replicas, resource groups, databases, users."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pymilvus import MilvusClient

from milvus_vault.claims import Claim
from milvus_vault.errors import FieldIdMismatchError, InvalidRequestError, TargetClaimedError
from milvus_vault.model.rbac import PrivilegeGroup, Rbac, RbacGrant, RbacRole, RbacUser
from milvus_vault.restore.rbac import difference
from milvus_vault.restore.targets import target_claimed
from tests.compatibility.features import Feature
from tests.conformance.asking import base_fields
from tests.restore.conftest import Deploy
from tests.restore.schema_cases import of_structs
from tests.support.golden_rows import GOLDEN, oracle
from tests.support.milvus_server.versions import NEWER
from tests.support.restoring import STAGING, Restoring, staged_keys

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

ARCHIVE = "golden_2_4"
COLLECTION = "gold.layers"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def deployed(deploy: Deploy, version: str, **settings: Any) -> Restoring:
    """Return a server and the archive."""
    restoring = deploy(version, **settings)
    restoring.upload(GOLDEN / ARCHIVE)
    return restoring


def with_partitions() -> tuple[str, dict[str, Any]]:
    """Return a collection of the archive whose partitions have names."""
    return next(
        (name, found)
        for name, found in oracle("2_4").items()
        if len(found["partitions"]) > 1 and not any("_default_" in partition for partition in found["partitions"])
    )


def test_more_shards_than_the_target_takes_are_refused_before_anything_is_copied(deploy: Deploy) -> None:
    restoring = deploy("2.5.27", most_shards=32)
    milvus, server = restoring.milvus, restoring.server
    milvus.make("wide", *base_fields(), shards=20)
    milvus.insert("wide", range(5))
    milvus.flush("wide")
    restoring.back_up("wide")
    server.core.settings = dataclasses.replace(server.core.settings, most_shards=16)
    request: dict[str, Any] = {"backup_name": "wide", "suffix": "_back"}
    with pytest.raises(InvalidRequestError, match=r"has 20 shards, which the target refuses: .*limited to 16"):
        restoring.restore(request)
    assert staged_keys(restoring) == []
    assert set(server.core.catalog.database("default").collections) == {"wide"}
    assert restoring.restore(request | {"max_shards": 16})["status"] == "complete"
    assert server.core.catalog.collection("default", "wide_back").shards == 16


def test_a_target_that_another_restore_goes_to_is_refused_by_name(
    deploy: Deploy, let_executions_be: Callable[[str], None]
) -> None:
    restoring = deployed(deploy, "2.5.27")
    refused: list[str] = []

    def restore_more() -> None:
        restoring.after = {}
        mine = claims()
        assert len(mine) == 1
        with pytest.raises(TargetClaimedError, match="is restoring to the same target since") as raised:
            restoring.restore({"backup_name": ARCHIVE})
        refused.append(str(raised.value))
        # What it had claimed before it came to that target is free again.
        assert claims() == mine

    def claims() -> list[str]:
        listed = restoring.s3.list_objects_v2(Bucket=restoring.server.bucket, Prefix=f"{STAGING}/claims/")
        return [item["Key"] for item in listed.get("Contents", [])]

    let_executions_be("RUNNING")
    restoring.after = {"prepare_restore": restore_more}
    assert restoring.restore({"backup_name": ARCHIVE, "collections": [COLLECTION]})["status"] == "complete"
    assert len(refused) == 1
    assert set(restoring.server.core.catalog.database("gold").collections) == {"layers"}


def test_one_that_has_restored_meanwhile_is_told_as_done() -> None:
    claim = Claim(execution_arn="arn:aws:states:eu-west-1:1:execution:Restore:other", run="x", claimed_at=NOW)
    refusal = target_claimed(claim, "SUCCEEDED", "claims/key")
    assert refusal.message.endswith(" has restored to the same target since this one began")
    assert refusal.hint == "Look at what is there; start this one again if it is to replace that."


@pytest.mark.parametrize(("status", "names_key"), [("RUNNING", False), ("UNKNOWN", True)])
def test_a_claim_is_to_be_deleted_by_hand_only_where_its_holder_cannot_be_asked(
    status: str, *, names_key: bool
) -> None:
    claim = Claim(execution_arn="arn:aws:states:eu-west-1:1:execution:Restore:other", run="x", claimed_at=NOW)
    assert (target_claimed(claim, status, "claims/key").hint or "").endswith("claims/key.") == names_key


def test_structs_that_can_be_null_are_not_put_where_they_cannot(deploy: Deploy) -> None:
    restoring = deploy("2.6.19")
    client = MilvusClient(restoring.server.uri)
    of_structs(client, "of_structs")
    client.close()
    kept = restoring.server.core.catalog.collection("default", "of_structs").schema
    # As a server tells it that knows such structs; this one leaves out what its messages have no place for.
    kept.struct_array_fields[0].nullable = True
    restoring.back_up("structs")
    report = restoring.restore({"backup_name": "structs", "suffix": "_back"})
    (told,) = report["collections"]
    assert (told["status"], told["error"]) == ("failed", FieldIdMismatchError.__name__)
    assert "words (it cannot be null)" in told["message"]
    assert set(restoring.server.core.catalog.database("default").collections) == {"of_structs"}


@pytest.mark.parametrize("version", NEWER)
def test_some_partitions_come_back_with_their_rows_and_no_others(deploy: Deploy, version: str) -> None:
    name, expected = with_partitions()
    wanted = next(partition for partition in expected["partitions"] if partition != "_default")
    restoring = deployed(deploy, version)
    request = {"backup_name": ARCHIVE, "collections": [name], "partitions": {name: [wanted]}}
    assert restoring.restore(request)["status"] == "complete"
    database, _, collection = name.partition(".")
    rows = sum(len(versions) for versions in expected["rows"].get(wanted, []))
    assert len(restoring.server.live_rows(database, collection).get(1, [])) == rows
    there = restoring.server.core.catalog.collection(database, collection).partitions
    assert set(there) == {"_default", wanted}


def test_partitions_that_cannot_be_chosen_are_refused_by_name(deploy: Deploy) -> None:
    name, _ = with_partitions()
    by_key = next(n for n, found in oracle("2_4").items() if "_default_0" in found["partitions"])
    restoring = deployed(deploy, "2.4.23")
    for partitions, message in (
        ({name: ["nowhere"]}, "has no partition nowhere"),
        ({"default.unknown": ["p"]}, "not among the collections to restore"),
        ({by_key: ["_default_0"]}, "partition key spreads rows"),
    ):
        with pytest.raises(InvalidRequestError, match=message):
            restoring.restore({"backup_name": ARCHIVE, "partitions": partitions})
    assert not any(database.collections for database in restoring.server.core.catalog.databases.values())


@pytest.mark.feature(Feature.DATABASE_PROPERTIES)
@pytest.mark.parametrize("version", NEWER)
def test_a_database_that_is_created_gets_its_properties_and_one_that_is_there_keeps_its_own(
    deploy: Deploy, version: str
) -> None:
    restoring = deployed(deploy, version)
    milvus = restoring.milvus
    milvus.must("CreateDatabase", db_name="kept", properties=[{"key": "database.max.collections", "value": "7"}])
    request: dict[str, Any] = {"backup_name": ARCHIVE, "collections": ["gold.*"]}
    assert restoring.restore(request)["status"] == "complete"
    assert restoring.restore(request | {"rename": {"gold.*": "kept.*"}})["status"] == "complete"
    for database, most in (("gold", "50"), ("kept", "7")):
        found = {item.key: item.value for item in milvus.must("DescribeDatabase", db_name=database).properties}
        assert found["database.max.collections"] == most


@pytest.mark.thread("milvus-backup#404", "milvus-backup#488")
@pytest.mark.feature(Feature.RESTORE_RBAC)
@pytest.mark.parametrize("version", NEWER)
def test_users_and_roles_come_back_and_those_that_are_there_stay(deploy: Deploy, version: str) -> None:
    restoring = deployed(deploy, version)
    rbac = restoring.server.service.rbac
    request = {"backup_name": ARCHIVE, "collections": ["gold.*"], "rbac": True, "drop_existing": True}
    assert restoring.restore(request)["status"] == "complete"
    assert rbac.users["ann"].startswith("$2a$04$")
    assert ("ann", "reader") in rbac.members
    rbac.users["ann"] = "of today"
    assert restoring.restore(request)["status"] == "complete"
    assert rbac.users["ann"] == "of today"


def test_a_backup_without_users_is_refused_where_they_are_asked_for(deploy: Deploy) -> None:
    restoring = deploy("2.4.23")
    restoring.upload(GOLDEN / "golden_0516")
    with pytest.raises(InvalidRequestError, match="holds no users and roles"):
        restoring.restore({"backup_name": "golden_0516", "rbac": True})


@pytest.mark.thread("milvus-backup#488", "milvus-backup#515")
def test_only_what_is_missing_is_restored() -> None:
    ann, bob, root = (RbacUser(name=name, password_hash="h") for name in ("ann", "bob", "root"))
    read = RbacGrant(role="r", object_type="Collection", object_name="*", privilege="Query", grantor="root")
    write = read.model_copy(update={"privilege": "Insert"})
    groups = tuple(PrivilegeGroup(name=name) for name in "ab")
    wanted = Rbac(
        users=(ann, bob, root),
        roles=tuple(RbacRole(name=name) for name in ("r", "s", "admin")),
        grants=(read, write),
        privilege_groups=groups,
    )
    there = Rbac(
        users=(ann.model_copy(update={"password_hash": "other"}),),
        roles=(RbacRole(name="r", description="mine"),),
        grants=(read.model_copy(update={"grantor": "ann"}),),
        privilege_groups=groups[:1],
    )
    assert difference(wanted, there) == Rbac(
        users=(bob,), roles=(RbacRole(name="s"),), grants=(write,), privilege_groups=groups[1:]
    )
