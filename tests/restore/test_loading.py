"""Replicas and resource groups of restored collections: what was recorded, a mapping of it, and what is there."""

import dataclasses
import json
from typing import Any

import pytest

from milvus_vault.archive.layout import BackupLayout
from milvus_vault.errors import InvalidRequestError, ResourceGroupError, RowCountMismatchError
from milvus_vault.model.hybrid import as_datetime
from tests.compatibility.features import Feature
from tests.conformance.asking import Milvus, base_fields
from tests.restore.conftest import Deploy
from tests.support.golden_rows import GOLDEN
from tests.support.milvus_server.calls.table import DEFAULT_GROUP
from tests.support.milvus_server.catalog import Load
from tests.support.milvus_server.versions import ALL
from tests.support.restoring import BACKUPS, PREFIX, Restoring

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

NAME = "orders"


def with_groups(milvus: Milvus, **nodes: int) -> None:
    """Make resource groups with so many query nodes."""
    for name, number in nodes.items():
        milvus.must("CreateResourceGroup", resource_group=name, config={"requests": {"node_num": number}})


def backed_up(deploy: Deploy, version: str, groups: list[str], replicas: int) -> tuple[Restoring, str]:
    """Return a server with two query nodes in each of three groups, and a backup of a collection loaded there."""
    restoring = deploy(version, query_nodes=2)
    milvus = restoring.milvus
    with_groups(milvus, blue=2, green=2)
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(3))
    milvus.flush(NAME)
    params = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    milvus.must("CreateIndex", collection_name=NAME, field_name="v", extra_params=params)
    milvus.must("LoadCollection", collection_name=NAME, replica_number=replicas, resource_groups=groups)
    name = f"loaded_{restoring.server.bucket.replace('-', '_')}"
    restoring.back_up(name)
    return restoring, name


def restored(restoring: Restoring, name: str, **request: Any) -> tuple[Load, list[str]]:
    """Return how a restored collection is loaded, and the restore's warnings."""
    report = restoring.restore({"backup_name": name, "suffix": "_new", "allow_version": True, **request})
    assert report["status"] == "complete"
    load = restoring.server.core.catalog.collection("default", f"{NAME}_new").load
    assert load is not None
    return load, report["warnings"]


@pytest.mark.feature(Feature.REPLICAS)
@pytest.mark.versions(ALL[-1])
@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({}, (2, ("blue", "green"))),
        ({"resource_groups": {"blue": "green"}}, (2, ("green",))),
        ({"resource_groups": {"*": DEFAULT_GROUP}}, (2, (DEFAULT_GROUP,))),
        ({"replicas": 1}, (1, ("blue",))),
        ({"replicas": {"default.*": 4, f"default.{NAME}": 1}, "resource_groups": {"blue": "green"}}, (1, ("green",))),
        ({"replicas": {"default.*": 4}}, (4, ("blue", "green", "blue", "green"))),
    ],
)
def test_what_was_recorded_comes_back_by_the_mapping(
    deploy: Deploy, version: str, request_fields: dict[str, Any], expected: tuple[int, tuple[str, ...]]
) -> None:
    restoring, name = backed_up(deploy, version, ["blue", "green"], 2)
    load, warnings = restored(restoring, name, **request_fields)
    assert (load.replicas, sorted(load.resource_groups)) == (expected[0], sorted(expected[1]))
    assert warnings == []


@pytest.mark.feature(Feature.FEWER_NODES)
@pytest.mark.parametrize("version", ALL)
def test_where_a_group_or_its_nodes_are_gone_a_restore_takes_what_there_is_and_says_so(
    deploy: Deploy, version: str
) -> None:
    restoring, name = backed_up(deploy, version, ["blue", "blue", "green", "green"], 4)
    milvus = restoring.milvus
    milvus.must("DropResourceGroup", resource_group="blue")
    milvus.must("DropResourceGroup", resource_group="green")
    with_groups(milvus, green=1)
    load, warnings = restored(restoring, name)
    assert (load.replicas, sorted(load.resource_groups)) == (3, [DEFAULT_GROUP, DEFAULT_GROUP, "green"])
    assert [warning.partition(",")[0] for warning in warnings] == [
        "Resource group blue is not there or has no query node",
        "Resource group green has fewer query nodes than there were replicas",
    ]
    assert all(f"default.{NAME}" in warning for warning in warnings)


@pytest.mark.versions(ALL[-1])
@pytest.mark.parametrize("version", ALL)
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"replicas": 3}, ResourceGroupError, "cannot have 3 replicas in resource group blue, which has 2"),
        ({"resource_groups": {"blue": "red"}}, ResourceGroupError, "resource group red, which has no query node"),
        ({"resource_groups": {"bleu": "green"}}, InvalidRequestError, "`resource_groups` names bleu"),
        ({"replicas": {"default.other": 2}}, InvalidRequestError, "`replicas` names default.other"),
    ],
)
def test_what_was_asked_for_and_cannot_be_is_refused_before_anything_is_made(
    deploy: Deploy, version: str, wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    restoring, name = backed_up(deploy, version, ["blue"], 2)
    with pytest.raises(error, match=message):
        restored(restoring, name, **wrong)
    assert [found.name for found in restoring.server.core.catalog.collections()] == [NAME]


# The archive is of 2.3.
@pytest.mark.parametrize("version", ALL[1:])
def test_an_archive_that_records_no_groups_is_loaded_where_the_request_says(deploy: Deploy, version: str) -> None:
    restoring = deploy(version, query_nodes=1)
    # Of all archives only those of 2.3 have collections that were loaded.
    restoring.upload(GOLDEN / "golden_0516")
    with_groups(restoring.milvus, green=2)
    request = {"backup_name": "golden_0516", "replicas": 2, "resource_groups": {"*": "green"}, "allow_version": True}
    assert restoring.restore(request)["status"] == "complete"
    loads = [found.load for found in restoring.server.core.catalog.collections() if found.load is not None]
    assert {(load.replicas, load.resource_groups) for load in loads} == {(2, ("green",))}
    assert loads


def test_what_was_about_to_be_loaded_when_it_was_backed_up_is_loaded(deploy: Deploy) -> None:
    restoring = deploy("2.5.27")
    restoring.upload(GOLDEN / "golden_0516")
    for name in ("full_meta.json", "collection_meta.json", "partition_meta.json"):
        meta = f"team/golden_0516/meta/{name}"
        text = restoring.s3.get_object(Bucket=BACKUPS, Key=meta)["Body"].read().decode()
        in_between = text.replace('"Loaded"', '"Loading"')
        assert in_between != text
        restoring.s3.put_object(Bucket=BACKUPS, Key=meta, Body=in_between.encode())
    assert restoring.restore({"backup_name": "golden_0516"})["status"] == "complete"
    assert any(found.load is not None for found in restoring.server.core.catalog.collections())


def expiring(deploy: Deploy, seconds: float) -> tuple[Restoring, str, Any]:
    """Return a server with a backup of a loaded collection of four rows and a delete, and its settings at that time."""
    restoring = deploy("2.5.27")
    milvus, core = restoring.milvus, restoring.server.core
    milvus.make(NAME, *base_fields())
    milvus.insert(NAME, range(5))
    milvus.flush(NAME)
    milvus.delete(NAME, [0])
    milvus.flush(NAME)
    params = [{"key": "index_type", "value": "FLAT"}, {"key": "metric_type", "value": "L2"}]
    milvus.must("CreateIndex", collection_name=NAME, field_name="v", extra_params=params)
    milvus.must("LoadCollection", collection_name=NAME, replica_number=1)
    before = core.settings
    core.settings = dataclasses.replace(before, entity_expiration=seconds)
    name = f"expiring_{restoring.server.bucket.replace('-', '_')}"
    restoring.back_up(name)
    return restoring, name, before


def test_where_rows_expire_by_a_setting_of_the_target_they_can_be_restored_without_a_count(deploy: Deploy) -> None:
    restoring, name, before = expiring(deploy, 0.0)
    restoring.server.core.settings = dataclasses.replace(before, entity_expiration=0.01)
    (told,) = restoring.restore({"backup_name": name, "suffix": "_new"})["collections"]
    assert (told["status"], told["error"]) == ("failed", RowCountMismatchError.__name__)
    assert "a query finds 0; the others may have expired, if the target has common.entityExpiration" in told["message"]
    assert restoring.restore({"backup_name": name, "suffix": "_new", "load": False})["status"] == "complete"


def test_where_rows_had_expired_by_a_setting_of_the_source_they_can_be_restored_without_a_count(deploy: Deploy) -> None:
    restoring, name, before = expiring(deploy, 0.01)
    restoring.server.core.settings = before
    (told,) = restoring.restore({"backup_name": name, "suffix": "_new"})["collections"]
    assert (told["status"], told["error"]) == ("failed", RowCountMismatchError.__name__)
    assert "rows that had expired, if the source has common.entityExpiration" in told["message"]
    key = BackupLayout(PREFIX, name).manifest
    moment = json.loads(restoring.s3.get_object(Bucket=BACKUPS, Key=key)["Body"].read())["moment"]
    report = restoring.restore({"backup_name": name, "suffix": "_new", "as_of": as_datetime(moment).isoformat()})
    assert report["status"] == "complete"
    assert [c["row_count"] for c in report["collections"]] == [4]
