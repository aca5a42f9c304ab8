"""Partitions, partition keys, and collections that are there already."""

import pytest
from pymilvus import DataType

from milvus_vault.errors import CollectionExistsError
from tests.restore.conftest import Deploy
from tests.support.milvus_server.versions import ALL, NEWER, OBSERVED
from tests.support.restoring import Restoring
from tests.threads.helpers import client_of, live

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

PARTITIONS = ("_default", "north", "south", "west")


def partitioned(restoring: Restoring, *, fills: bool = True) -> Restoring:
    """Make a collection of several partitions, all but the last with rows."""
    client = client_of(restoring)
    client.create_collection("c", dimension=2, auto_id=False)
    for number, partition in enumerate(PARTITIONS):
        if number:
            client.create_partition("c", partition)
        if fills and partition != PARTITIONS[-1]:
            rows = [{"id": 100 * number + row, "vector": [row, 0.5]} for row in range(10)]
            client.insert("c", rows, partition_name=partition)
    client.flush("c")
    client.close()
    return restoring


@pytest.mark.thread("milvus-backup#199", "milvus-backup#750", "milvus-backup#751")
@pytest.mark.parametrize("version", ALL)
def test_each_partition_is_imported_by_a_job_of_its_own_and_has_its_rows_again(deploy: Deploy, version: str) -> None:
    source = partitioned(deploy(version))
    name = f"partitions_{version.replace('.', '_')}"
    source.back_up(name)
    target = deploy(version)
    report = target.restore({"backup_name": name, "allow_version": True})
    assert [found["message"] for found in report["collections"]] == [""]
    jobs = list(target.server.service.imports.all())
    assert sorted(job.partition for job in jobs) == sorted(PARTITIONS[:-1])
    for partition in PARTITIONS:
        assert live(target, "c", partition=partition) == live(source, "c", partition=partition)


@pytest.mark.thread("milvus-backup#317")
@pytest.mark.parametrize("version", OBSERVED)
def test_rows_that_a_key_spread_over_partitions_are_in_the_same_partitions_again(deploy: Deploy, version: str) -> None:
    source = deploy(version)
    client = client_of(source)
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("tenant", DataType.INT64, is_partition_key=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection("c", schema=schema, num_partitions=10)
    client.insert("c", [{"id": number, "tenant": number % 7, "v": [number, 0.5]} for number in range(50)])
    client.flush("c")
    client.close()
    name = f"tenants_{version.replace('.', '_')}"
    source.back_up(name)
    target = deploy(version)
    report = target.restore({"backup_name": name, "allow_version": True})
    assert [found["message"] for found in report["collections"]] == [""]
    partitions = list(source.server.core.catalog.collection("default", "c").partitions)
    assert len(partitions) == 10
    for partition in partitions:
        assert live(target, "c", partition=partition) == live(source, "c", partition=partition)


@pytest.mark.thread("milvus-backup#744")
@pytest.mark.parametrize("version", NEWER)
def test_rows_are_not_merged_into_a_collection_that_has_some(deploy: Deploy, version: str) -> None:
    source = partitioned(deploy(version))
    name = f"merge_{version.replace('.', '_')}"
    source.back_up(name)
    with pytest.raises(CollectionExistsError, match="has 30 row"):
        source.restore({"backup_name": name, "skip_create": True})
    target = partitioned(deploy(version), fills=False)
    assert target.restore({"backup_name": name, "skip_create": True})["status"] == "complete"
    assert live(target, "c") == live(source, "c")
